"""Prompts, chats and items from files; bad lines are named by number."""

from __future__ import annotations

import json

import pytest

import tl_fbn as fbn
from tests.helpers.cli import refused
from tl_fbn.cli import input_files


def test_prompts_and_chats_from_lines(tmp_path):
    chat = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]
    lines = [{"condition": "a", "prompt": "p q"}, {"condition": "b", "messages": chat}]
    file = tmp_path / "p.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    assert input_files.read_conditions(str(file)) == {"a": ["p q"], "b": [chat]}
    file.write_text("\n".join(map(json.dumps, [{"messages": chat}, chat, {"text": "t\u2028u"}, "v"])))
    assert input_files.read_chats(str(file)) == [chat, chat, "t\u2028u", "v"]
    assert input_files.read_chats(str(file), 2) == [chat, chat]
    assert input_files.read_conditions("demo:sort,rest")["sort"] == fbn.prompts("sort")
    assert input_files.read_chats("demo:add") == fbn.chats("add")
    assert (input_files.name_of("demo:add"), input_files.name_of("a/b.jsonl")) == ("add", "b")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"mess', "line 2 is no JSON"),
        ('{"messages": []}', "line 2 holds [], no chat"),
        ('{"messages": [{"role": "user"}]}', "no chat"),
        ("3", "line 2 holds 3, no chat"),
        ('""', "line 2 is an empty text"),
        ('{"txt": "x"}', "no chat"),
    ],
)
def test_bad_lines_are_named_by_number(line, words, tmp_path):
    file = tmp_path / "c.jsonl"
    file.write_text(f'"fine"\n{line}\n')
    said = refused("cgvst", "demo", file)
    assert words in said
    assert '{"messages": [{"role": "user", "content": "text"}' in said


def test_files_that_are_no_text_or_empty(tmp_path):
    file = tmp_path / "c.jsonl"
    file.write_bytes(b"\xff\xfe\x00")
    assert "is no text in UTF-8" in refused("cgvst", "demo", file)
    assert "is no text in UTF-8" in refused("scan", "demo", file, "-o", tmp_path / "r")
    file.write_text("\n \n")
    assert "has no lines" in refused("cgvst", "demo", file)
    file.write_text('{"prompt": "x"}')
    assert "line 1 names no condition" in refused("scan", "demo", file, "-o", tmp_path / "r")


def items_of(path, *questions):
    path.write_text("\n".join(json.dumps({"question": one, "answer": "x y"}) for one in questions))
    return str(path)


def test_batteries_of_several_files_are_one(tmp_path):
    first, second = items_of(tmp_path / "one.jsonl", "a", "b", "c"), items_of(tmp_path / "two.jsonl", "d")
    battery = input_files.read_battery([first, second, "demo"], n=2)
    assert {name: len(task.items) for name, task in battery.tasks.items()} == {"one": 2, "two": 1} | dict.fromkeys(
        ("copy", "reverse", "sort", "shift", "upper", "count", "add"), 2
    )
    assert [item.prompt for item in battery.tasks["one"].items] == ["a", "b"]
    some = input_files.read_battery([first, "demo"], n=None, tasks=["sort", "one"])
    assert {name: len(task.items) for name, task in some.tasks.items()} == {"sort": 100, "one": 3}
    (tmp_path / "other").mkdir()
    twice = items_of(tmp_path / "other" / "one.jsonl", "e")
    with pytest.raises(ValueError, match=r"other/one\.jsonl has a task 'one', and so has another battery"):
        input_files.read_battery([first, twice], n=None)
    with pytest.raises(FileNotFoundError, match=r'no file at nowhere; give a \.jsonl file of items, or "demo"'):
        input_files.read_battery(["nowhere"], n=None)
    (tmp_path / "bytes.jsonl").write_bytes(b"\xff")
    with pytest.raises(ValueError, match="is no text in UTF-8"):
        input_files.read_battery([str(tmp_path / "bytes.jsonl")], n=None)


def test_tables_of_prompts_and_names_of_the_packages_own(tmp_path):
    file = tmp_path / "p.tsv"
    file.write_text("condition\tprompt\na\tp q\nb\tr\na\ts\n")
    assert input_files.read_conditions(str(file)) == {"a": ["p q", "s"], "b": ["r"]}
    for wrong in ("demo:", "demo: , "):
        with pytest.raises(ValueError, match=r"names no task; give e\.g\. demo:sort,reverse"):
            input_files.read_conditions(wrong)
    with pytest.raises(
        ValueError, match=r"demo:sort,add names 2 tasks; give one argument a task, e\.g\. demo:sort demo:add"
    ):
        input_files.read_chats("demo:sort,add")
    assert input_files.read_chats("demo:sort", 3) == fbn.chats("sort")[:3]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({"prompt": "x"}, "line 1 names no condition"),
        ({"condition": "", "prompt": "x"}, "line 1 names no condition"),
        ({"condition": "a"}, "line 1 has neither a prompt nor messages"),
        ({"condition": "a", "prompt": "  "}, "line 1 has neither a prompt nor messages"),
        ({"condition": "a", "messages": [{"role": "user", "content": 3}]}, "line 1 holds .*no chat"),
        (["a", "x"], "line 1 names no condition"),
    ],
)
def test_lines_of_prompts_that_are_none(line, words, tmp_path):
    file = tmp_path / "p.jsonl"
    file.write_text(json.dumps(line))
    with pytest.raises(ValueError, match=words):
        input_files.read_conditions(str(file))


def test_conditions_of_a_file_that_differ_in_case_only_are_refused(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text('{"condition": "Sort", "prompt": "a"}\n{"condition": "sort", "prompt": "b"}\n')
    with pytest.raises(ValueError, match=r"p\.jsonl: the conditions 'Sort' and 'sort' differ in upper and lower case"):
        input_files.read_conditions(str(path))
