"""Tables of Shapley values: two networks by hand, item by item, and what a file gives back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import tl_fbn as fbn
from tests.helpers.results import shapley_values
from tl_fbn.intervention.studies import intervals


@pytest.fixture(scope="module")
def by_item() -> tuple[np.ndarray, ...]:
    """Of the items of the second task: score with nobody, N0, N1 and both kept."""
    return tuple(shapley_values().items[:, 4:])


def test_values_by_hand(by_item) -> None:
    nobody, first, second, both = by_item
    found = shapley_values()
    # the mean of coming first and coming second
    own = ((first - nobody) + (both - second)) / 2
    line = found.to_dataframe().query("task == 'b' and network == 'N0'").iloc[0]
    assert line["value"] == found.values[0, 1] == pytest.approx(own.mean())
    assert (line["low"], line["high"]) == pytest.approx(intervals.of_change(own))
    assert line["lesioned_alone"] == pytest.approx((both - second).mean())
    assert line["kept_alone"] == pytest.approx((first - nobody).mean())
    assert line["permutation_error"] == 0 and line["permutation_low"] == line["permutation_high"] == line["value"]


def test_interactions_by_hand(by_item) -> None:
    nobody, first, second, both = by_item
    found = shapley_values()
    together = both - first - second + nobody
    line = found.pairs().query("task == 'b'").iloc[0]
    assert (line["network"], line["other"]) == ("N0", "N1")
    assert found.interactions is not None
    assert line["interaction"] == found.interactions[1, 0, 1] == pytest.approx(together.mean())
    # items are within -2 and 2, and the interval is for changes within -1 and 1
    assert (line["low"] / 2, line["high"] / 2) == pytest.approx(intervals.of_change(together / 2))
    assert np.isnan(found.interactions[:, 0, 0]).all()


def test_the_whole_by_hand(by_item) -> None:
    nobody, _, _, both = by_item
    found = shapley_values()
    line = found.summary().iloc[1]
    assert (line["untouched"], line["silenced"]) == (both.mean(), nobody.mean())
    assert line["whole"] == pytest.approx((both - nobody).mean()) == pytest.approx(found.values[:, 1].sum())
    assert (line["low"], line["high"]) == pytest.approx(intervals.of_change(both - nobody))
    assert line["largest"] == found.networks[int(found.values[:, 1].argmax())]
    assert line["largest_value"] == found.values[:, 1].max()


def test_intervals_over_permutations_are_students() -> None:
    orders = np.array([[0, 1], [1, 0], [1, 0], [0, 1]])
    found = replace(shapley_values(), permutations=orders, metric="log_likelihood")
    # two networks have two orders, and each pair holds both: no error is left
    assert found.errors == pytest.approx(np.zeros((2, 2)))
    assert found.values == pytest.approx(shapley_values().values)
    three = replace(
        found,
        networks=("N0", "N1", "N2"),
        coalitions=(np.arange(8)[:, None] >> np.arange(3) & 1).astype(bool),
        items=np.random.default_rng(2).normal(size=(8, 8)),
        permutations=np.array([[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1]]),
    )
    line = three.to_dataframe().iloc[1]  # N0 is first or last in all four
    away = stats.t.ppf(0.975, 1) * line["permutation_error"]
    assert line["permutation_error"] > 0 and line["permutation_high"] - line["value"] == pytest.approx(away)
    assert three.pairs().empty and len(three.pairs().columns) == 6
    assert "estimated from 4 antithetic permutations" in repr(three)


def test_a_file_is_the_result(tmp_path: Path) -> None:
    found = shapley_values()
    found.save(tmp_path / "s.safetensors")
    again = fbn.studies.ShapleyValues.load(tmp_path / "s.safetensors")
    for table in ("to_dataframe", "pairs", "summary"):
        assert getattr(again, table)().equals(getattr(found, table)())
    assert repr(again) == repr(found) and "all 4 sets of networks" in repr(again)
    assert "kept_alone" in again._repr_html_() and again.permutations is None


def test_what_is_said_of_it() -> None:
    found = shapley_values()
    assert "no test against chance" in found._methods_()[0] and "set to zero at all positions" in found._methods_()[0]
    sections = found._report_sections_()
    assert [len(one["table"]) for one in sections] == [4, 2, 2]
    assert all("no test against chance" in one["text"] for one in sections[:2])
