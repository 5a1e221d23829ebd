"""Tasks from files: disjoint halves, shots from the own half, the same tokens for designs, gradients and batteries."""

from __future__ import annotations

import json

import numpy as np
import pytest

import tl_fbn as fbn
from tests.oracle.templates import CHATML, character_tokenizer
from tl_fbn.intervention.behaviour.task_rows import key_of

WORDS = [f"{first}{second}{third}" for first in "bdfgk" for second in "aeo" for third in "lmnt"]
PLURAL = [(word, f"{word}s") for word in WORDS]
UPPER = [{"input": word, "output": word.upper(), "instruction": "Shout."} for word in WORDS]


@pytest.fixture
def tasks() -> fbn.Tasks:
    return fbn.Tasks({"plural": PLURAL, "upper": UPPER}, shots=3)


def words_of(prompt: str) -> list[str]:
    """The inputs that a prompt shows, in order."""
    return [line.removeprefix("Q: ") for line in prompt.splitlines() if line.startswith("Q: ")]


def test_every_row_is_asked_once_behind_shots_of_its_own_half_and_never_itself(tasks):
    for half, other in (("discovery", "evaluation"), ("evaluation", "discovery")):
        for name in tasks.names:
            own = {key_of(row) for row in tasks.rows(name, half)}
            others = {key_of(row) for row in tasks.rows(name, other)}
            assert not own & others and len(own) + len(others) == len(WORDS)
            asked = []
            for prompt in tasks.prompts(half, answers=False)[name]:
                *shots, question = words_of(prompt)
                assert len(set(shots)) == 3 and question not in shots and set(shots) <= own
                asked.append(question)
            assert sorted(asked) == sorted(own)


def test_a_prompt_reads_as_it_should(tasks):
    plain = tasks.select(["plural"]).prompts(n=1)["plural"][0]
    first, second, third, question = words_of(plain)
    assert plain == "\n\n".join(f"Q: {word}\nA: {word}s" for word in (first, second, third, question))
    assert tasks.prompts(n=1, answers=False)["plural"] == [plain.removesuffix(f" {question}s")]
    assert tasks.prompts(n=1)["upper"][0].startswith("Shout.\n\nQ: ")
    chat = tasks.chats(n=1)["upper"][0]
    assert [message["role"] for message in chat] == ["user", "assistant"] * 4
    assert chat[0]["content"].startswith("Shout.\n") and chat[-1]["content"] == chat[-2]["content"].upper()


def test_fixed_heads_begin_alike_and_are_not_asked():
    tasks = fbn.Tasks({"plural": PLURAL}, shots=4, head="fixed")
    prompts = tasks.prompts("evaluation", answers=False)["plural"]
    heads = {prompt.rpartition("Q: ")[0] for prompt in prompts}
    assert len(heads) == 1 and len(prompts) == len(tasks.rows("plural", "evaluation")) - 4
    head = set(words_of(heads.pop()))
    assert not head & {words_of(prompt)[-1] for prompt in prompts}


def test_the_battery_asks_the_other_half_and_items_mark_the_answers(tasks, demo_model):
    battery = tasks.battery(n=5)
    for name, task in battery.tasks.items():
        rows = tasks.rows(name, "evaluation")[:5]
        assert [words_of(str(item.prompt))[-1] for item in task.items] == [row.input for row in rows]
        assert [item.alternatives for item in task.items] == [(row.output,) for row in rows]
    formal = fbn.demo.tasks(n=8)
    for name, (items, positions) in formal.items(demo_model, n=4).items():
        for row, ids, scored in zip(formal.rows(name), items, positions, strict=False):
            assert demo_model.tokenizer.decode([ids[at] for at in scored]) == row.output
            assert scored == list(range(scored[0], len(ids)))


def test_gradients_at_marked_answers_are_those_of_the_texts(demo_model):
    tasks = fbn.demo.tasks(n=4).select(["sort"])
    items, positions = tasks.items(demo_model)["sort"]
    marked = fbn.attribution.gradient_x_activation(demo_model, items, positions, progress=False)
    texts = tasks.prompts()["sort"]
    n_answer = [len(row.output.split()) for row in tasks.rows("sort")]
    assert [len(one) for one in positions] == n_answer  # a letter is a token
    of_texts = fbn.attribution.gradient_x_activation(demo_model, texts, positions, progress=False)
    assert np.allclose(marked.values, of_texts.values, rtol=1e-4, atol=1e-10) and np.abs(marked.values).max() > 1e-7


def test_describe_measures_the_half_that_is_not_tested(demo_model):
    tasks = fbn.demo.tasks(n=12).select(["sort", "add"])
    table = tasks.describe(demo_model)
    assert list(table["task"]) == ["sort", "add"] and (table["n"] == 12).all()
    expected = tasks.battery(half="discovery").evaluate(demo_model)
    assert np.allclose(table["exact_match"], expected["exact_match"])
    assert (table["exact_match"] > 0.9).all() and (table["tokens"] > table["answer_tokens"]).all()


def test_the_formal_tasks_are_those_of_the_battery(demo_model):
    tasks = fbn.demo.tasks(n=50)
    known = {str(item.prompt) for task in fbn.demo.battery(n=50).tasks.values() for item in task.items}
    assert {str(item.prompt) for task in tasks.battery().tasks.values() for item in task.items} == known
    shown = {text for name in tasks.names for text in fbn.prompts(name, n=50)}
    assert {prompt for prompts in tasks.prompts().values() for prompt in prompts} == shown


def test_rows_as_chats_take_the_models_template(tasks):
    chatty = fbn.Tasks({"plural": PLURAL}, shots=1, template="chat")
    assert chatty.prompts(n=1)["plural"] == chatty.chats(n=1)["plural"]
    assert chatty.prompts(n=1, answers=False)["plural"][0] == chatty.chats(n=1)["plural"][0][:-1]
    with pytest.raises(fbn.InputError, match="the model's template makes; give the model"):
        chatty.battery()
    battery = chatty.battery(character_tokenizer(CHATML), n=2)
    assert len(battery.tasks["plural"].items) == 2


def test_files_of_all_kinds_hold_tasks(tmp_path):
    pairs = [{"input": word, "output": f"{word}s"} for word in WORDS]
    (tmp_path / "lines.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    (tmp_path / "table.csv").write_text("input,output\n" + "\n".join(f"{word},{word}s" for word in WORDS))
    natural = {"Definition": ["Say the plural."], "Instances": [one | {"output": [one["output"]]} for one in pairs]}
    (tmp_path / "natural.json").write_text(json.dumps(natural))
    tasks = fbn.Tasks(sorted(tmp_path.iterdir()), shots=2)
    assert tasks.names == ("lines", "natural", "table")
    assert [row.input for row in tasks.rows("lines")] == [row.input for row in tasks.rows("table")]
    assert tasks.prompts(n=1)["natural"][0].startswith("Say the plural.\n\n")


def test_halves_that_a_user_brings_are_kept_and_must_be_apart():
    tasks = fbn.Tasks({"plural": PLURAL[:20]}, evaluation={"plural": PLURAL[20:40]}, shots=0)
    assert {row.input for row in tasks.rows("plural")} == set(WORDS[:20])
    assert {row.input for row in tasks.rows("plural", "evaluation")} == set(WORDS[20:40])
    with pytest.raises(fbn.InputError, match="2 rows of task 'plural' are in both halves, such as"):
        fbn.Tasks({"plural": PLURAL[:20]}, evaluation={"plural": PLURAL[18:40]}, shots=0)
    with pytest.raises(fbn.InputError, match="tasks has plural, and evaluation= has other"):
        fbn.Tasks({"plural": PLURAL[:20]}, evaluation={"other": PLURAL[20:]}, shots=0)


def test_what_may_be_wrong_is_said_once():
    with pytest.warns(UserWarning, match=r"all 60 outputs of yes are the same.*tasks.checks\(\) has the counts"):
        tasks = fbn.Tasks({"yes": [(word, "yes") for word in WORDS]})
    assert tasks.checks().loc[0, ["answers", "repeated"]].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shots": 40}, "'plural' has .* different questions for .*, and 40 drawn shots need at least 41"),
        ({"shots": 29, "head": "fixed"}, "29 fixed shots need at least 31"),
        ({"max_words": 1, "shots": 1}, None),
        ({"head": "first"}, "head must be"),
        ({"template": "Q: {question}"}, "has the fields question; it needs {input}"),
        ({"template": "A:"}, "has the fields none; it needs {input}"),
        ({"template": "{input"}, "cannot be read"),
        ({"shots": -1}, "shots=-1 is out of range; give an integer of at least 0"),
    ],
)
def test_bad_options_are_one_clear_error(options, message):
    if message is None:
        assert fbn.Tasks({"plural": PLURAL}, **options).names == ("plural",)
        return
    with pytest.raises(fbn.InputError, match=message):
        fbn.Tasks({"plural": PLURAL}, **options)


def test_what_is_asked_for_must_be_there(tasks):
    for call in (lambda: tasks.rows("verbs"), lambda: tasks.select(["verbs"])):
        with pytest.raises(fbn.InputError, match="no task 'verbs'; tasks: plural, upper"):
            call()
    with pytest.raises(fbn.InputError, match="half must be"):
        tasks.prompts("test")
    assert "plural" in tasks._repr_html_() and repr(tasks).startswith("Tasks: plural (")
