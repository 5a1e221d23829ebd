"""What studies of behaviour say in common: the change of activity, and the number of items."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from tl_fbn.intervention.hooks.replacements import ReplacementMethod
from tl_fbn.intervention.studies.item_statistics import METRICS
from tl_fbn.intervention.studies.study_prose import METHOD_IN_WORDS, METRIC_IN_WORDS, items_in_words, method_in_words


def test_every_method_and_metric_has_words() -> None:
    assert set(METHOD_IN_WORDS) >= set(get_args(ReplacementMethod))
    assert set(METRIC_IN_WORDS) == set(METRICS)


def test_a_method_is_named_or_not_recorded() -> None:
    assert method_in_words({"method": "zero"}) == "set to zero"
    assert method_in_words({"method": "halved"}) == "halved"
    assert method_in_words({}) == "not recorded"


@pytest.mark.parametrize(
    ("counts", "words"), [([4, 4], "4 items each"), ([9, 4, 7], "4 to 9 items each"), ([3], "3 items each")]
)
def test_items_of_tasks(counts: list[int], words: str) -> None:
    assert items_in_words(np.array(counts)) == words
