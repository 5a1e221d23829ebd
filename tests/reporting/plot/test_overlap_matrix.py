"""Overlap with its null: the drawn quantile and the exact p agree with random sets. Without seed: test_figures."""

from __future__ import annotations

import numpy as np
import pytest

from tl_fbn.analysis.networks.overlap import overlap
from tl_fbn.reporting.plot._overlap_matrix import dice_table, overlap_matrix
from tl_fbn.units import Network, UnitSpace

pytest.importorskip("plotly")

SPACE = UnitSpace("mlp.neurons", (60, 40))


def sets() -> dict[str, Network]:
    """Two that share half of their units, and one apart from both."""
    return {
        "a": Network.from_indices(SPACE, range(10), name="a"),
        "b": Network.from_indices(SPACE, range(5, 15), name="b"),
        "c": Network.from_indices(SPACE, range(60, 70), name="c"),
    }


def test_stars_stand_where_more_is_shared_than_by_chance() -> None:
    figure = overlap_matrix(sets(), seed=0)
    observed, chance = figure.data
    assert observed.text[0][1] == observed.text[1][0] == "0.50*"
    assert observed.text[0][2] == "0.00" and observed.text[0][0] == ""
    assert "uncorrected" in figure.layout.annotations[0].text
    assert figure.layout.title.text.startswith("1 of 3 pairs overlap more than chance")
    assert "at most 0.15" in figure.layout.title.text
    table = dice_table(sets(), seed=0)
    assert np.asarray(chance.z)[0, 1] == table["chance_95"][0]
    assert np.asarray(chance.z)[0, 2] == 0  # of different layers, sets share nothing by chance


def test_the_null_is_that_of_random_sets_in_the_same_layers() -> None:
    rng = np.random.default_rng(0)
    drawn = [len(set(rng.permutation(60)[:10]) & set(range(10))) / 10 for _ in range(4000)]
    line = dice_table(sets(), seed=3, n_draws=4000).iloc[0]
    assert line["chance_95"] == pytest.approx(np.quantile(drawn, 0.95), abs=0.11)  # one unit
    assert line["p"] == overlap(*list(sets().values())[:2], seed=0).p
    assert line["p"] == pytest.approx(np.mean(np.array(drawn) >= 0.5), abs=0.01)


def test_without_a_seed_nothing_is_drawn() -> None:
    assert list(dice_table(sets())) == ["a", "b", "shared", "dice", "chance"]
    assert len(overlap_matrix(sets()).data) == 1
    with pytest.raises(ValueError, match="n_draws=5"):
        overlap_matrix(sets(), seed=0, n_draws=5)
