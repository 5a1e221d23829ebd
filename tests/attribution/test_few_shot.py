"""Few-shot chats: what they hold, where they come from, and what is left out."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest

import tl_fbn as fbn
from tests.oracle.templates import CHATML, DEMO, character_tokenizer
from tl_fbn.attribution.few_shot import Chats

ROWS = [("Add.", f"{n} 1", str(n + 1)) for n in range(8)]


def test_every_row_is_asked_once_and_never_demonstrated_to_itself() -> None:
    chats = fbn.few_shot_chats(ROWS, n_shots=3, seed=0)
    assert len(chats) == 8 and isinstance(chats, Chats)
    for row, chat in zip(ROWS, chats, strict=True):
        assert [message["role"] for message in chat] == ["user", "assistant"] * 4
        assert (chat[-2]["content"], chat[-1]["content"]) == row[1:]
        shots = [message["content"].removeprefix("Add.\n") for message in chat[:-2] if message["role"] == "user"]
        assert len(set(shots)) == 3 and row[1] not in shots
        assert chat[0]["content"].startswith("Add.\n") and not chat[2]["content"].startswith("Add.")
    assert chats.chats == fbn.few_shot_chats(ROWS, n_shots=3, seed=0).chats
    assert chats.chats != fbn.few_shot_chats(ROWS, n_shots=3, seed=1).chats
    used = {
        message["content"].removeprefix("Add.\n") for chat in chats for message in chat if message["role"] == "user"
    }
    assert used == {row[1] for row in ROWS}
    assert repr(chats) == "8 chats of 3 shots and a question"


def test_a_question_that_is_in_the_rows_twice_is_not_among_its_own_demonstrations() -> None:
    rows = [*ROWS[:4], *ROWS[:4], ("Add.", " 0 1 ", "another answer")]
    for seed in range(20):
        for chat in fbn.few_shot_chats(rows, n_shots=3, seed=seed):
            asked = [m["content"].removeprefix("Add.\n").strip() for m in chat if m["role"] == "user"]
            assert len(asked) == len(set(asked)) == 4
    with pytest.raises(ValueError, match=r"4 shots .* need at least 5 rows; got 9, 4 of them with different questions"):
        fbn.few_shot_chats(rows, n_shots=4, seed=0)


def test_where_the_instruction_goes() -> None:
    every = fbn.few_shot_chats(ROWS, n_shots=1, seed=0, instruction="every", n=2)
    assert len(every) == 2 and all(m["content"].startswith("Add.\n") for m in every[0] if m["role"] == "user")
    system = fbn.few_shot_chats(ROWS, n_shots=1, seed=0, instruction="system")
    assert system[0][0] == {"role": "system", "content": "Add."} and "Add" not in system[0][1]["content"]
    bare = fbn.few_shot_chats([("", a, b) for _, a, b in ROWS], n_shots=0, seed=0, instruction="system")
    assert [message["role"] for message in bare[0]] == ["user", "assistant"]


def test_long_chats_are_left_out_and_counted() -> None:
    tokenizer = character_tokenizer(DEMO)
    rows = [*ROWS, ("Add.", "9" * 60, "1")]
    chats = fbn.few_shot_chats(rows, n_shots=0, seed=0, tokenizer=tokenizer, max_tokens=40)
    assert len(chats) == 8 and chats.about["skipped_as_too_long"] == 1
    assert "1 left out, longer than 40 tokens" in repr(chats)
    longest = max(len(fbn.token_layout(tokenizer, chat).ids) for chat in chats)
    assert len(fbn.few_shot_chats(rows, n_shots=0, seed=0, tokenizer=tokenizer, max_tokens=longest)) == 8
    with pytest.raises(ValueError, match="all 9 chats are longer than max_tokens=5"):
        fbn.few_shot_chats(rows, n_shots=0, seed=0, tokenizer=tokenizer, max_tokens=5)


def test_readers(tmp_path: Path) -> None:
    task = {
        "Definition": ["Do", "it."],
        "Instances": [{"input": "a", "output": ["b", "c"]}, {"input": "d", "output": "e"}],
    }
    (tmp_path / "task.json").write_text(json.dumps(task))
    expected = [fbn.attribution.Example("Do\nit.", "a", "b"), fbn.attribution.Example("Do\nit.", "d", "e")]
    assert fbn.read_examples(tmp_path / "task.json") == expected
    (tmp_path / "rows.jsonl").write_text(
        '{"instruction": "Do\\nit.", "input": "a", "output": "b"}\n\n{"input": "d", "output": "e"}\n'
    )
    assert fbn.read_examples(tmp_path / "rows.jsonl") == [expected[0], fbn.attribution.Example("", "d", "e")]
    (tmp_path / "rows.csv").write_text('\ufeffinput,output\n"a, b",c\nd,e\n', encoding="utf-8")
    assert fbn.read_examples(tmp_path / "rows.csv", instruction="X", n=1) == [fbn.attribution.Example("X", "a, b", "c")]
    (tmp_path / "rows.tsv").write_text("output\tinput\tinstruction\nb\ta\tDo\n")
    assert fbn.read_examples(tmp_path / "rows.tsv") == [fbn.attribution.Example("Do", "a", "b")]


def test_a_written_line_break_in_a_table_is_one(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("instruction,input,output,note\n" + r"Sort.\nNow:,c\na,a\nc,x\ny" + "\n")
    with pytest.warns(UserWarning, match=r"rows\.csv holds .n as two characters: in 3 of its cells"):
        assert fbn.read_examples(path) == [fbn.attribution.Example("Sort.\nNow:", "c\na", "a\nc")]


def test_a_plain_list_in_a_json_file(tmp_path: Path) -> None:
    path = tmp_path / "word.json"
    path.write_text(
        '[{"input": "cat", "output": "cats"}, {"instruction": "Do", "input": "dog", "output": ["dogs", "x"]}]'
    )
    expected = [fbn.attribution.Example("", "cat", "cats"), fbn.attribution.Example("Do", "dog", "dogs")]
    assert fbn.read_examples(path) == expected
    path.write_text('[["cat", "cats"], ["dog", ["dogs", "x"]]]')
    assert fbn.read_examples(path, instruction="Do")[1] == expected[1]


def test_chats_of_one_turn_become_shots_and_a_battery(demo_model: Any) -> None:
    rows = fbn.chats("sort", n=40)
    found = fbn.few_shot_chats(rows[:20], n_shots=2, seed=0)
    battery = fbn.Battery.from_chats({"sort": fbn.few_shot_chats(rows[20:], n_shots=2, seed=0)}, demo_model)
    assert battery.evaluate(demo_model).exact_match[0] > 0.9  # the model reads rows of several examples
    item = battery.tasks["sort"].items[0]
    assert demo_model.tokenizer.decode(item.prompt).endswith("[/INST]")
    network = fbn.cgvst(demo_model, found, progress=False).top(20)
    fbn.lesion_study(demo_model, {"sort": network}, battery, seed=0, n_controls=1, progress=False)
    # a question that was a demonstration when the network was found is caught
    leaked = fbn.Battery.from_chats({"sort": rows[:3]}, demo_model)
    with pytest.raises(ValueError, match="was found on"):
        fbn.lesion_study(demo_model, {"sort": network}, leaked, seed=0, n_controls=1, progress=False)


def test_a_battery_of_chats_scores_the_last_answer_only() -> None:
    tokenizer = character_tokenizer(CHATML)
    chat = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
        {"role": "assistant", "content": "de"},
    ]
    item = fbn.Battery.from_chats({"t": [chat]}, tokenizer).tasks["t"].items[0]
    assert tokenizer.decode(item.alternatives[0]) == "de" or tokenizer.convert_ids_to_tokens(item.alternatives[0]) == [
        "d",
        "e",
    ]
    assert tokenizer.convert_ids_to_tokens(item.prompt)[-2:] == ["t", "\n"]
    with pytest.raises(ValueError, match="does not end with a message of the assistant"):
        fbn.Battery.from_chats({"t": [chat[:3]]}, tokenizer)


def test_refusals_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="5 shots and a question need at least 6 rows; got 3"):
        fbn.few_shot_chats(ROWS[:3], seed=0)
    with pytest.raises(ValueError, match="example 0 is"):
        fbn.few_shot_chats([("a", "b")], seed=0, n_shots=0)
    with pytest.raises(ValueError, match="an example is one turn"):
        fbn.few_shot_chats([[{"role": "user", "content": "a"}]], seed=0, n_shots=0)
    with pytest.raises(ValueError, match="give tokenizer="):
        fbn.few_shot_chats(ROWS, seed=0, max_tokens=5)
    with pytest.raises(ValueError, match="instruction must be 'first', 'every' or 'system'; got 'last'"):
        inspect.unwrap(fbn.few_shot_chats)(ROWS, seed=0, instruction="last")
    with pytest.raises(FileNotFoundError, match="no file at"):
        fbn.read_examples(tmp_path / "none.json")
    for name, text, message in (
        ("x.txt", "", "endings that can be read"),
        (
            "x.json",
            "{}",
            r"x\.json is \{\}, no list and no Natural-Instructions task; it holds a list of objects with .*pairs",
        ),
        ("x.json", '"ab"', "x.json is 'ab', no list and no Natural-Instructions task; it holds a list of objects"),
        (
            "x.json",
            '[["a", "b"], ["a"]]',
            r"row 1 is \['a'\]; it holds a list of objects .*a list of \[input, output\] pai",
        ),
        ("x.json", '[{"input": "a"}]', r"row 0 is \{'input': 'a'\}; it holds a list of objects"),
        ("x.json", '[["a", 2]]', "row 0 is .*; an example has an instruction"),
        ("x.json", "[]", "has no rows"),
        ("x.json", '{"Definition": "a", "Instances": []}', "has no rows"),
        ("x.json", '{"Definition": "a", "Instances": [{"input": "a", "output": []}]}', "instance 0 is"),
        ("x.jsonl", "nonsense", "line 1 is no JSON"),
        ("x.jsonl", "[1]", "line 1 is a list"),
        ("x.csv", "a,b\n1,2\n", "it needs input and output"),
        ("x.csv", "input,output\n,2\n", "line 2 is"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(ValueError, match=message):
            fbn.read_examples(tmp_path / name)
