"""Aggregates against numpy, and how steady rankings are told from unsteady ones."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest

import tl_fbn as fbn
from tl_fbn.attribution.aggregation import ItemScores, Sums

SPACE = fbn.UnitSpace("mlp.neurons", (60, 40))


def some(n_items: int = 30, *, seed: int = 0, steady: float = 1.0) -> ItemScores:
    rng = np.random.default_rng(seed)
    values = steady * rng.normal(size=100) + rng.normal(size=(n_items, 100))
    return ItemScores(SPACE, values.astype(np.float32), {"prompts": ["p"]})


def test_aggregates_are_numpys() -> None:
    scores = some()
    values = scores.values.astype(float)
    expected = {
        "sum_abs": np.abs(values).sum(0),
        "mean_abs": np.abs(values).mean(0),
        "abs_mean": np.abs(values.mean(0)),
        "mean": values.mean(0),
        "t": values.mean(0) / (values.std(0, ddof=1) / np.sqrt(30)),
    }
    for aggregate, wanted in expected.items():
        found = scores.map(aggregate)  # type: ignore[arg-type]
        np.testing.assert_allclose(found.values, wanted, rtol=1e-9)
        assert found.kind == ("t" if aggregate == "t" else "attribution") and found.provenance["aggregate"] == aggregate
        assert found.provenance["prompts"] == ["p"]
    parts = Sums(100)
    for part in np.array_split(scores.values, 4):
        parts.add(part)
    np.testing.assert_allclose(parts.value("t"), expected["t"], rtol=1e-9)


def test_t_of_scores_that_never_vary() -> None:
    scores = ItemScores(SPACE, np.tile(np.r_[0.0, 0.3, np.ones(98)].astype(np.float32), (3, 1)))
    t = scores.map("t").values
    assert t[0] == 0 and np.isposinf(t[1:]).all()


def test_halves_agree_as_far_as_items_do() -> None:
    steady, noise = some(40, steady=3.0), some(40, steady=0.0)
    for aggregate in ("mean", "t"):
        table = steady.split_half(0.1, seed=0, aggregate=aggregate)  # type: ignore[arg-type]
        assert (
            len(table) == 20
            and table["spearman"].mean() > 0.9
            and table["jaccard"].mean() > 5 * table["jaccard_by_chance"].mean()
        )
    chance = noise.split_half(0.1, seed=0, n_splits=200, aggregate="mean")
    assert abs(chance["spearman"].mean()) < 0.1
    assert chance["jaccard"].mean() == pytest.approx(chance["jaccard_by_chance"].mean(), abs=0.03)
    assert steady.split_half(seed=1).equals(steady.split_half(seed=1))
    assert not steady.split_half(seed=1).equals(steady.split_half(seed=2))


def test_saving_and_showing(tmp_path: Path) -> None:
    scores = some(4)
    scores.save(tmp_path / "s.safetensors")
    again = ItemScores.load(tmp_path / "s.safetensors")
    assert (
        np.array_equal(again.values, scores.values) and again.space == SPACE and again.provenance == {"prompts": ["p"]}
    )
    assert len(again) == 4 and repr(again).startswith("ItemScores of 4 items") and "layer 1" in again._repr_html_()
    assert again.to_dataframe().shape == (4, 3)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="needs at least two items; got 1"):
        some(1).map("t")
    with pytest.raises(ValueError, match="at least 2 items and one split; got 1 items"):
        some(1).split_half(seed=0)
    with pytest.raises(ValueError, match="at least 4 items"):
        some(3).split_half(seed=0, aggregate="t")
    with pytest.raises(
        ValueError, match="aggregate must be 'sum_abs', 'mean_abs', 'abs_mean', 'mean' or 't'; got 'max'"
    ):
        inspect.unwrap(ItemScores.map)(some(), "max")
