"""Tasks without a model: chance, majority, closed sets of answers, places in the source."""

from __future__ import annotations

import numpy as np
import pytest

from tl_fbn.intervention.behaviour.battery import Battery
from tl_fbn.intervention.behaviour.tasks import BatteryItem, Scores, Task


def test_chance_and_majority_of_answers():
    task = Battery.from_pairs({"t": [("a", "x"), ("b", "x"), ("c", "x"), ("d", "y")]}).tasks["t"]
    assert task.majority == 0.75
    assert task.chance == pytest.approx(0.75**2 + 0.25**2)


def test_several_accepted_answers_raise_both():
    task = Battery.from_pairs({"t": [("a", ["x", "y"]), ("b", ["y", "x"]), ("c", ["z", "y"]), ("d", "w")]}).tasks["t"]
    assert task.majority == 0.75  # "y" is accepted three times
    firsts, accepted = ["x", "y", "z", "w"], [{"x", "y"}, {"x", "y"}, {"z", "y"}, {"w"}]
    assert task.chance == np.mean([[first in each for first in firsts] for each in accepted])


def test_majority_of_choices_is_the_best_constant_guess():
    free = [("a", ["p", "q"], 0), ("b", ["r", "s"], 0), ("c", ["t", "u"], 0), ("d", ["v", "w"], 1)]
    by_place = Battery.from_choices({"t": free}).tasks["t"]
    assert (by_place.chance, by_place.majority, by_place.labels) == (0.5, 0.75, ())
    shuffled = [("a", ["yes", "no"], 0), ("b", ["no", "yes"], 1), ("c", ["yes", "no"], 0), ("d", ["no", "yes"], 0)]
    by_label = Battery.from_choices({"t": shuffled}).tasks["t"]
    assert by_label.majority == 0.75  # "yes" is right three times, the first place three times too
    assert set(by_label.labels) == {"yes", "no"}
    only_label = [("a", ["yes", "no"], 0), ("b", ["no", "yes"], 1), ("c", ["yes", "no"], 0), ("d", ["no", "yes"], 1)]
    assert Battery.from_choices({"t": only_label}).tasks["t"].majority == 1.0


def test_pairs_have_no_place_to_guess():
    task = Task("t", "choice", tuple(BatteryItem("", (f"good {i}", f"bad {i}")) for i in range(6)))
    assert task.majority == task.chance == 0.5


def test_a_closed_set_repeats_its_answers():
    assert Battery.from_pairs({"t": [(str(i), "ab"[i % 2]) for i in range(8)]}).tasks["t"].labels == ("a", "b")
    assert Battery.from_pairs({"t": [(str(i), "ab"[i % 2]) for i in range(7)]}).tasks["t"].labels == ()
    assert Battery.from_texts({"t": ["a", "a"]}).tasks["t"].labels == ()


@pytest.mark.parametrize("place", range(4))
def test_places_are_those_of_the_source(place):
    source = ["a", "b", "c", "d"]
    item = Battery.from_choices({"t": [("q", source, place)]}).tasks["t"].items[0]
    assert [source[item.place_of(i) or 0] for i in range(4)] == list(item.alternatives)
    assert BatteryItem("", ("a", "b")).place_of(1) is None


def test_scores_may_be_made_without_outputs():
    scores = Scores(np.array([True, False]), np.array([-1.0, -3.0]))
    assert (scores.of("exact_match"), scores.of("log_likelihood")) == (0.5, -2.0)
    assert np.isnan(scores.perplexity) and np.isnan(scores.of("perplexity"))
