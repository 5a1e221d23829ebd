"""Sentences on lesions and doses: method, controls, items, metric, and the formula of p once."""

from __future__ import annotations

from tests.helpers.pages import methods_of
from tests.helpers.results import dose, study
from tl_fbn.reporting.page import methods_text as accounts


def test_lesions_say_method_controls_items_metric_and_the_formula_of_p() -> None:
    words = methods_of(study())
    for said in (
        "set to their mean at last positions",
        "4 items each",
        "exact match (answers teacher-forced; of choices and pairs, whether the right one is the likeliest)",
        "5 random control networks",
        accounts.P,
        "control seed 3",
    ):
        assert said in words
    assert "for 1 of 2 networks, and unknown for the others" in words


def test_doses_say_what_kind_they_are() -> None:
    assert "activations multiplied by gains of 0, 1 and 2 at all positions" in methods_of(dose())


def test_the_formula_of_p_is_given_once() -> None:
    words = methods_of(study(), dose())
    assert words.count(accounts.P) == 1 and "p likewise" in words
