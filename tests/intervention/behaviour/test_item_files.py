"""Files of items: three formats, every way to name the right answer, templates, and one clear error a bad line."""

from __future__ import annotations

import json

import pytest

from tests.helpers.paths import BLIMP
from tl_fbn.intervention.behaviour.battery import Battery, BatteryItem


@pytest.fixture
def written(tmp_path):
    """Writes objects, or lines as they are, and gives the path."""

    def write(*lines, name="items"):
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join((x if isinstance(x, str) else json.dumps(x, ensure_ascii=False)) + "\n" for x in lines))
        return path

    return write


def only(battery: Battery):
    (task,) = battery.tasks.values()
    return task


def test_minimal_pairs_are_read(written):
    path = written(*({"sentence_good": f"g {i}", "sentence_bad": f"b {i}", "UID": "mine"} for i in range(3)))
    battery = Battery.from_jsonl(path)
    assert list(battery.tasks) == ["mine"]
    assert battery.tasks["mine"].items[2] == BatteryItem("", ("g 2", "b 2"))
    assert len(Battery.from_jsonl(path, name="x", n=2).tasks["x"].items) == 2
    with pytest.raises(ValueError, match=r"line 1 is no minimal pair .*sentence_good and sentence_bad"):
        Battery.from_jsonl(written({"sentence_good": "g"}))
    with pytest.raises(ValueError, match="has no lines"):
        Battery.from_jsonl(written())


@pytest.mark.parametrize(
    "line",
    [
        {"question": "q", "choices": ["p", "r", "s"], "answer": 1},
        {"prompt": "q", "options": ["p", "r", "s"], "answer": "B"},
        {"prompt": "q", "options": ["p", "r", "s"], "answer": "b"},
        {"question": "q", "choices": ["p", "r", "s"], "answer": "r"},
        {"question": "q", "choices": ["p", "r", "s"], "answerKey": "1"},
        {"question": "q", "choices": {"text": ["p", "r", "s"], "label": ["A", "B", "C"]}, "answerKey": "B"},
        {"question": "q", "choices": {"text": ["p", "r", "s"], "label": ["1", "2", "3"]}, "answerKey": "2"},
        {"question": "q", "choices": {"text": ["p", "r", "s"], "label": ["1", "2", "3"]}, "answer": 2},
        {
            "question": "q",
            "choices": [{"text": t, "label": x} for t, x in zip("prs", "XYZ", strict=True)],
            "answer": "Y",
        },
    ],
)
def test_the_right_alternative_is_named_in_many_ways(written, line):
    task = only(Battery.from_jsonl(written(line)))
    assert task.name == "items" and task.kind == "choice"
    assert task.items[0] == BatteryItem("q", ("r", "p", "s"), (), 1)


def test_a_text_goes_before_a_letter_and_a_label_before_a_text(written):
    assert (
        only(Battery.from_jsonl(written({"question": "q", "choices": ["B", "A"], "answer": "A"}))).items[0].place == 1
    )
    labelled = {"question": "q", "choices": {"text": ["2", "1"], "label": ["1", "2"]}, "answer": "2"}
    assert only(Battery.from_jsonl(written(labelled))).items[0].alternatives == ("1", "2")


def test_questions_with_answers_are_read(written):
    lines = [
        {"question": "q", "answer": "a"},
        {"prompt": "q", "answers": ["a", "b", "a"]},
        {"question": "q", "answers": {"text": ["a", "b"], "answer_start": [1, 2]}},
        {"question": "q", "answer": 7},
    ]
    task = only(Battery.from_jsonl(written(*lines)))
    assert task.kind == "answer"
    assert [item.alternatives for item in task.items] == [("a",), ("a", "b"), ("a", "b"), ("7",)]


def test_a_template_makes_the_prompt(written):
    path = written({"context": "c", "question": "q", "choices": ["x", "y"], "answer": 1})
    item = only(Battery.from_jsonl(path, template="{context}\nQ: {question}\nA:")).items[0]
    assert item == BatteryItem("c\nQ: q\nA:", ("y", "x"), ("q",), 1)
    item = only(Battery.from_jsonl(path, scored="label")).items[0]
    assert item == BatteryItem("q\nA. x\nB. y\nAnswer:", ("B", "A"), ("q",), 1)
    with pytest.raises(ValueError, match=r"line 1 .*the template names 'passage'; fields: context, question, choices"):
        Battery.from_jsonl(path, template="{passage}")
    with pytest.raises(ValueError, match="cannot be filled"):
        Battery.from_jsonl(path, template="{question")
    qa = written({"question": "q", "answer": "a"}, name="qa")
    assert only(Battery.from_jsonl(qa, template="Q: {question} A:")).items[0] == BatteryItem("Q: q A:", ("a",), ("q",))


def test_empty_lines_marks_and_line_separators_do_no_harm(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_bytes('\ufeff{"question": "q\u2028r", "answer": "a"}\r\n\n'.encode() * 1)
    assert only(Battery.from_jsonl(path)).items[0].prompt == "q\u2028r"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "{",
            r"line 2 is no multiple choice \(no JSON: .*each line is a JSON object with question \(or prompt\), choices",
        ),
        ("[1]", r"it is \[1\], no JSON object"),
        ({"question": "q", "choices": ["a", "b"]}, "it has no answer or answerKey, only question, choices"),
        ({"choices": ["a", "b"], "answer": 0}, "it has no question or prompt, only choices, answer"),
        ({"question": " ", "choices": ["a", "b"], "answer": 0}, "its question is ' ', no text"),
        ({"question": "q", "choices": ["a"], "answer": 0}, "it offers 1 alternatives"),
        ({"question": "q", "choices": "ab", "answer": 0}, "its choices are 'ab', no list"),
        ({"question": "q", "choices": {"texts": []}, "answer": 0}, "its choices have the fields texts"),
        ({"question": "q", "choices": ["a", 3], "answer": 0}, "a choice is 3, no text"),
        ({"question": "q", "choices": ["a", "b"], "answer": 2}, "place 2; 2 alternatives have places 0 to 1"),
        ({"question": "q", "choices": ["a", "b"], "answer": -1}, "place -1"),
        ({"question": "q", "choices": ["a", "b"], "answer": "C"}, "its answer 'C' is none of the 2 alternatives"),
        ({"question": "q", "choices": ["a", "b"], "answer": True}, "its answer is True"),
        ({"question": "q", "choices": ["a", "b"], "answer": None}, "its answer is None"),
        ({"question": "q", "choices": ["a", "b", "a"], "answer": 0}, "'a' is offered twice"),
        (
            {"question": "q", "choices": {"text": ["a", "b"], "label": ["A"]}, "answer": 0},
            "2 alternatives and 1 labels",
        ),
        # two readings of one line
        (
            {"question": "q", "choices": ["1", "2", "3"], "answer": 1},
            "answer 1 is the text of .* place 0 and the place",
        ),
        (
            {"question": "q", "choices": ["b", "a"], "answer": "A"},
            "answer 'A' is the text of .* place 1 and the letter",
        ),
        (
            {"question": "q", "choices": {"text": ["a", "b"], "label": ["1", "2"]}, "answer": 0},
            "none of the labels 1, 2",
        ),
        ({"question": "q", "choices": ["a", "b"], "answer": "a", "answerKey": "B"}, "name two alternatives"),
        (
            {"question": "q", "choices": ["a", "b"], "options": ["b", "a"], "answer": 0},
            "its choices and its options differ",
        ),
        ({"question": "q", "prompt": "p", "choices": ["a", "b"], "answer": 0}, "its question and its prompt differ"),
        (
            {"question": "q", "choices": {"text": ["a", "b", "c"], "label": ["A", "A", "B"]}, "answer": "A"},
            "'A' comes twice",
        ),
        ({"question": "q", "choices": {"text": ["a", "b"], "label": ["A", "A "]}, "answer": "A"}, "'A' comes twice"),
        ({"question": "q", "choices": {"text": ["a", "b"], "label": ["A", None]}, "answer": "A"}, "a label is None"),
        ({"question": "q", "choices": ["a", "b", " a"], "answer": 0}, "'a' is offered twice"),
        ({"question": "q", "choices": ["a", "b"], "answer": 1.0}, "its answer is 1.0, no label, text, letter or place"),
        ('{"question": "q", "choices": ["a", "b"], "answer": 0, "answer": 1}', "the name 'answer' comes twice"),
        (r'{"question": "\ud800", "choices": ["a", "b"], "answer": 0}', "half of a surrogate pair"),
        ('{"question": ' + "[" * 5000 + "]" * 5000 + "}", "nested more than 100 deep"),
    ],
)
def test_every_bad_line_is_one_clear_error(written, line, message):
    good = {"question": "q", "choices": ["a", "b"], "answer": 0}
    with pytest.raises(ValueError, match=message) as caught:
        Battery.from_jsonl(written(good, line))
    assert "items.jsonl, line 2" in str(caught.value) and "is a JSON object with" in str(caught.value)


def test_bad_answers_and_unknown_formats(written):
    for answer in ([], [""], None, True, {"start": 1}):
        with pytest.raises(ValueError, match=r"line 1 is no question with an answer .*answer or answers"):
            Battery.from_jsonl(written({"question": "q", "answer": answer}))
    with pytest.raises(ValueError, match=r"both sentences are 'a'"):
        Battery.from_jsonl(written({"sentence_good": "a", "sentence_bad": "a"}))
    with pytest.raises(ValueError, match=r"line 1 is no item \(it has the fields x\); .*sentence_good.*; or .*choices"):
        Battery.from_jsonl(written({"x": 1}))
    with pytest.raises(ValueError, match="line 1 is no minimal pair"):
        Battery.from_jsonl(written({"question": "q", "answer": "a"}), format="pairs")


def test_choices_behind_questions_with_answers_are_not_lost(written):
    """The first line decides how a file is read; choices of later lines would go without a word."""
    path = written({"question": "q", "answer": "a"}, {"question": "q", "choices": ["a", "b"], "answer": "b"})
    with pytest.raises(ValueError, match=r"line 2 is no question with an answer \(it has choices, and lines before it"):
        Battery.from_jsonl(path)
    assert len(only(Battery.from_jsonl(path, format="qa")).items) == 2  # asked for
    with pytest.raises(ValueError, match=r"line 1 is no multiple choice \(it has no choices or options"):
        Battery.from_jsonl(path, format="choices")


def test_two_names_of_one_field_that_agree_are_read(written):
    line = {"question": "q", "prompt": "q", "choices": ["a", "b"], "answer": "b", "answerKey": "B"}
    assert only(Battery.from_jsonl(written(line))).items[0] == BatteryItem("q", ("b", "a"), (), 1)
    line = {"question": "q", "prompt": "p", "answer": "a"}
    assert only(Battery.from_jsonl(written(line), template="{prompt}: {question}")).items[0].prompt == "p: q"


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("n", [0, -1, 1.0, True, "2"])
def test_a_number_of_lines_is_a_whole_one(written, n):
    with pytest.raises(ValueError, match=r"^n(=| must be a whole number)"):
        Battery.from_jsonl(written({"question": "q", "answer": "a"}), n=n)


def test_choices_in_memory():
    ask = {"question": "q", "choices": ["a", "b"], "answer": "b"}
    tuples = [("q", ["a", "b"], 1), ((1, 2), [(3,), (4, 5)], 0)]
    battery = Battery.from_choices({"maps": [ask], "tuples": tuples})
    assert battery.tasks["maps"].items[0] == battery.tasks["tuples"].items[0] == BatteryItem("q", ("b", "a"), (), 1)
    assert battery.tasks["tuples"].items[1] == BatteryItem((1, 2), ((3,), (4, 5)), (), 0)
    with pytest.raises(ValueError, match=r"item 1 of task 't' is no multiple choice \(it has no answer"):
        Battery.from_choices({"t": [ask, {"question": "q", "choices": ["a", "b"]}]})
    with pytest.raises(ValueError, match=r"item 0 of task 't' .*\(prompt, alternatives, answer\)"):
        Battery.from_choices({"t": [("q", ["a", "b"])]})


@pytest.mark.skipif(not BLIMP.is_dir(), reason="shared models and data are not beside the repository")
def test_blimp_as_it_comes():
    for path in sorted(BLIMP.glob("*.jsonl")):
        task = only(Battery.from_jsonl(path))
        assert task.name == path.stem and task.chance == task.majority == 0.5
