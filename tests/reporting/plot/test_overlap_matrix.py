"""Overlap with its null: the drawn quantile and the exact p agree with random sets; overlap and chance by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.units import TOY
from tl_fbn.analysis.networks.overlap import overlap
from tl_fbn.reporting import plot as figures
from tl_fbn.reporting.plot import _overlap_matrix as networks
from tl_fbn.reporting.plot._overlap_matrix import dice_table, overlap_matrix
from tl_fbn.units import Atlas, Network, UnitSpace

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
    line = dice_table(sets(), seed=3, n_null=4000).iloc[0]
    assert line["chance_95"] == pytest.approx(np.quantile(drawn, 0.95), abs=0.11)  # one unit
    assert line["p"] == overlap(*list(sets().values())[:2], seed=0).p
    assert line["p"] == pytest.approx(np.mean(np.array(drawn) >= 0.5), abs=0.01)


def test_without_a_seed_nothing_is_drawn() -> None:
    assert list(dice_table(sets())) == ["a", "b", "shared", "dice", "chance"]
    assert len(overlap_matrix(sets()).data) == 1
    with pytest.raises(ValueError, match="n_null=5"):
        overlap_matrix(sets(), seed=0, n_null=5)


def test_dice_and_chance_match_hand_computation() -> None:
    a, b = Network.from_indices(TOY, [0, 1, 4, 5]), Network.from_indices(TOY, [1, 4, 6, 7, 8, 9])
    line = networks.dice_table({"a": a, "b": b}).iloc[0]
    assert (line["shared"], line["dice"]) == (2, pytest.approx(2 * 2 / 10))
    assert line["chance"] == pytest.approx(2 * (2 * 1 / 4 + 2 * 5 / 6) / 10)
    figure = figures.overlap_matrix({"a": a, "b": b})
    z = np.asarray(figure.data[0].z)
    assert z[0, 1] == z[1, 0] == pytest.approx(0.4)
    assert "0.433" in figure.layout.title.text
    assert "by chance 0.433" in figure.data[0].customdata[0][1]
    assert figure.data[0].text[0][1] == "0.40"


def test_chance_is_the_mean_over_layer_matched_random_sets() -> None:
    rng, space = np.random.default_rng(1), UnitSpace("mlp.neurons", (20, 10))
    sizes = {"a": (6, 5), "b": (10, 2)}

    def draw(counts: tuple[int, ...]) -> Network:
        parts = [rng.permutation(width) < n for width, n in zip(space.widths, counts, strict=True)]
        return Network(space, np.concatenate(parts))

    tables = [networks.dice_table({name: draw(counts) for name, counts in sizes.items()}) for _ in range(300)]
    dice = np.array([table["dice"].iloc[0] for table in tables])
    assert tables[0]["chance"].iloc[0] == pytest.approx(dice.mean(), abs=4 * dice.std() / np.sqrt(300))


def test_overlap_needs_two_networks_of_one_space() -> None:
    network = Network.from_indices(TOY, [0])
    with pytest.raises(ValueError, match="two networks or more; got 'a'"):
        figures.overlap_matrix({"a": network})
    with pytest.raises(ValueError, match=r"attn\.out"):
        figures.overlap_matrix({"a": network, "b": Network.from_indices(UnitSpace("attn.out", (10,)), [0])})


def test_empty_networks_have_no_dice() -> None:
    empty = Network.from_indices(TOY, [])
    figure = figures.overlap_matrix(Atlas.from_networks({"a": empty, "b": empty}))
    assert np.isnan(np.asarray(figure.data[0].z)).all()
    assert figure.data[0].text[0][1] == ""


def test_names_that_look_like_numbers_or_dates_keep_their_order() -> None:
    names = ["2024-01-02", "7", "2024-01-01"]
    figure = figures.overlap_matrix({name: Network.from_indices(TOY, [i]) for i, name in enumerate(names)})
    assert list(figure.layout.xaxis.ticktext) == names
    assert figure.data[0].x is None  # positions, not names
