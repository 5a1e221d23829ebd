"""Monitors: constructed outputs with known shares, loops against a definition by string search, flags."""

from __future__ import annotations

import numpy as np
import pytest

from tl_fbn.intervention.behaviour.item_tokens import padded
from tl_fbn.intervention.behaviour.output_checks import constant_share, loops, monitor
from tl_fbn.intervention.behaviour.tasks import BatteryItem, Scores, Task


def answers(*given: tuple[int, ...]) -> Task:
    return Task("t", "answer", tuple(BatteryItem((0,), (answer,)) for answer in given))


def scored(task: Task, outputs: list[tuple[int, ...]]) -> Scores:
    right = [item.alternatives[0] for item in task.items]
    exact = np.array([output == answer for output, answer in zip(outputs, right, strict=True)])
    known = list(dict.fromkeys(tuple(map(int, answer)) for answer in right))
    return Scores(exact, np.zeros(len(right)), padded(outputs), padded(known))


def is_loop(tokens: list[int]) -> bool:
    """By the words of the definition: some ending of at least half repeats a block of up to 8 at least three times."""
    n = len(tokens)
    for size in range(1, 9):
        for length in range(max(3 * size, (n + 1) // 2), n + 1):
            ending = tokens[n - length :]
            if ending == (ending[:size] * length)[:length]:
                return True
    return False


def test_loops_equal_the_definition():
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, 2, rng.integers(0, 14)).tolist() for _ in range(400)]
    rows += [[*rng.integers(0, 9, 6).tolist(), *(rng.integers(0, 9, 4).tolist() * 5)] for _ in range(20)]
    found = loops(padded(rows))
    assert found.tolist() == [is_loop(row) for row in rows]
    assert 20 < found.sum() < 300


@pytest.mark.parametrize(
    ("tokens", "loop"),
    [
        ([1, 1, 1], True),
        ([1, 1], False),
        ([1, 2, 1, 2, 1], False),
        ([1, 2, 1, 2, 1, 2], True),
        ([1, 2, 1, 2, 1, 2, 1], True),
        ([5, 6, 7, 1, 1, 1], True),
        ([5, 6, 7, 8, 1, 1, 1], False),
        ([1, 1, 1, 5, 6, 7], False),
    ],
)
def test_known_loops(tokens, loop):
    assert loops(padded([tokens])).tolist() == [loop]


def test_constant_output_of_several_lengths():
    assert constant_share(padded([(1, 2), (1,), (1, 2, 3), (4,)])) == 0.75
    assert constant_share(padded([(1,), (1,), (2,)])) == pytest.approx(2 / 3)
    assert np.isnan(constant_share(padded([])))


def test_a_closed_set_of_answers():
    task = answers(*[(1,), (2,)] * 10)
    half = scored(task, [(1,)] * 10 + [(9,)] * 10)
    found = monitor(task, half)
    assert (found.chance, found.majority, found.constant, found.parsed) == (0.5, 0.5, 0.5, 0.5)
    assert np.isnan(found.repetition) and found.flag == "no better than the majority"
    assert monitor(task, scored(task, [(1,), (2,)] * 10)).flag == ""
    assert (
        monitor(task, scored(task, [(9,)] * 20)).flag
        == "constant output; no better than the majority; mostly unparsable"
    )


def test_a_closed_set_counts_answers_as_far_as_both_go():
    task = answers(*[(1,), (2, 3)] * 10)
    assert monitor(task, scored(task, [(2,), (1, 7)] * 10)).parsed == 1  # "2 3" begun, "1" and what came after it
    assert monitor(task, scored(task, [(3,), (2, 2)] * 10)).parsed == 0


def test_an_open_set_of_answers_is_known_by_its_tokens():
    task = answers(*[(1 + i % 5, 1 + i // 5) for i in range(20)])
    assert monitor(task, scored(task, [(5, 5)] * 19 + [(5, 6)])).parsed == 0.95


def test_right_answers_are_no_loops():
    task = answers(*[(i, i, i) for i in range(20)])
    assert monitor(task, scored(task, [(i, i, i) for i in range(20)])).repetition == 0
    found = monitor(task, scored(task, [(7, 7, 7)] * 20))
    assert found.repetition == 0.95
    assert found.flag == "constant output; no better than the majority; mostly repetition"


def test_a_skewed_task_is_not_constant_because_its_answers_are():
    task = answers(*[(1,)] * 95, *[(2,)] * 5)
    right = scored(task, [(1,)] * 95 + [(2,)] * 5)
    assert monitor(task, right).constant == 0.95 and monitor(task, right).flag == ""
    assert monitor(task, scored(task, [(1,)] * 100)).flag == "constant output; no better than the majority"


def test_choices_are_constant_by_label_or_place():
    def choice(*items: tuple[tuple[str, ...], int]) -> Task:
        made = [BatteryItem("q", (a[p], *a[:p], *a[p + 1 :]), (), p) for a, p in items]
        return Task("t", "choice", tuple(made))

    free = choice(*[((f"a{i}", f"b{i}", f"c{i}"), i % 3) for i in range(30)])
    first = np.array([[0] if i % 3 == 0 else [1] for i in range(30)])  # always place 0 of the source
    scores = Scores(first[:, 0] == 0, np.zeros(30), first)
    assert monitor(free, scores).constant == 1 and "constant output" in monitor(free, scores).flag
    assert monitor(free, Scores(np.ones(30, bool), np.zeros(30), np.zeros((30, 1), int))).constant == pytest.approx(
        1 / 3
    )
    labels = choice(*[(("yes", "no"), i % 2) if i % 4 < 2 else (("no", "yes"), i % 2) for i in range(40)])
    yes = np.array([[0] if item.alternatives[0] == "yes" else [1] for item in labels.items])
    assert monitor(labels, Scores(yes[:, 0] == 0, np.zeros(40), yes)).constant == 1
    pairs = Task("t", "choice", tuple(BatteryItem("", (f"a{i}", f"b{i}")) for i in range(30)))
    always_right = monitor(pairs, Scores(np.ones(30, bool), np.zeros(30), np.zeros((30, 1), int)))
    assert np.isnan(always_right.constant) and always_right.flag == "" and always_right.parsed == 1
    undefined = monitor(pairs, Scores(np.zeros(30, bool), np.full(30, np.nan), np.full((30, 1), -1)))
    assert undefined.parsed == 0 and undefined.flag == "no better than the majority; mostly unparsable"


def test_texts_are_constant_by_their_tokens():
    task = Task("t", "text", (BatteryItem("", ("a b c",)), BatteryItem("", ("d e",))))
    outputs = padded([(1, 1, 1), (1, 2)])
    found = monitor(task, Scores(np.zeros(0, bool), np.zeros(2), outputs))
    assert found.constant == 0.8 and np.isnan(found.parsed) and found.flag == ""
