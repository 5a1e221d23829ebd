"""Scores against lesions: the lesions' own map must win, noise must not, and layers alone must earn nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import tl_fbn as fbn
from tests.helpers.gradients import UNITS, planted_model
from tl_fbn.intervention.studies.score_validation import sampled_units


@pytest.fixture(scope="module")
def planted() -> tuple[Any, fbn.Battery, dict[str, fbn.UnitMap]]:
    model, items, positions = planted_model(UNITS)
    battery = fbn.Battery.from_pairs({"planted": [(tuple(ids[:6]), (2,)) for ids in items[10:]]})
    space = fbn.Scanner(model).space
    layers = space.layer_of.astype(float)
    scores = {
        "gradient x activation": fbn.attribution.gradient_x_activation(
            model, items[:10], positions[:10], progress=False
        ),
        "noise": fbn.attribution.random_scores(model, seed=3),
        "layer alone": fbn.UnitMap(space, layers + 1e-6 * np.random.default_rng(0).random(96), "attribution"),
    }
    return model, battery, scores


def test_the_table(planted: tuple[Any, fbn.Battery, dict[str, fbn.UnitMap]], tmp_path: Path) -> None:
    model, battery, scores = planted
    few = {"n_groups": 4, "n_controls": 4}  # of the first, only the lesions of single units are used
    first = fbn.validate_scores(model, scores, battery, "planted", seed=0, top=5, group=5, **few, progress=False)
    truth = {**scores, "lesions": first.effect_map}
    found = fbn.validate_scores(
        model, truth, battery, "planted", seed=0, top=5, group=5, n_groups=60, n_controls=60, progress=False
    )
    table = found.to_dataframe().set_index("score")
    assert table.index[0] == "lesions" and table.loc["lesions", "spearman"] == pytest.approx(1)
    assert table.loc["lesions", "recall"] == 1 and table.loc["lesions", "p"] < 0.02
    own = table.loc["gradient x activation"]
    assert own["recall"] == 1 and own["spearman"] > 0.3 and own["spearman_p"] < 0.01 and own["group_spearman"] > 0.4
    assert own["top_drop"] > own["control_p95"] and own["p"] < 0.02
    noise = table.loc["noise"]
    assert abs(noise["spearman"]) < 0.35 and noise["recall"] <= 0.4 and noise["p"] > 0.05
    assert noise["recall_by_chance"] == pytest.approx(5 / 96, abs=0.05)
    layer = table.loc["layer alone"]
    assert layer["spearman"] - layer["spearman_by_chance"] < 0.2 and layer["spearman_p"] > 0.01
    assert found.best("recall") in ("lesions", "gradient x activation") and found.best() == "lesions"
    expected = stats.spearmanr(scores["noise"].values, first.effects)[0]
    assert noise["spearman"] == pytest.approx(expected, abs=1e-12)
    found.save(tmp_path / "v.safetensors")
    again = fbn.studies.Validation.load(tmp_path / "v.safetensors")
    assert again.to_dataframe().equals(found.to_dataframe())
    assert "planted" in repr(again) and "lesions" in again._repr_html_()
    assert again._report_sections_()[0]["table"].equals(found.to_dataframe())


def test_effects_are_the_drops_of_single_lesions(planted: tuple[Any, fbn.Battery, dict[str, fbn.UnitMap]]) -> None:
    model, battery, scores = planted
    found = fbn.validate_scores(
        model, scores, battery, "planted", seed=0, n_groups=0, n_controls=1, n_units=20, progress=False
    )
    tried = np.flatnonzero(np.isfinite(found.effects))
    assert len(tried) == 20 and [int((found.space.layer_of[tried] == layer).sum()) for layer in (0, 1)] == [10, 10]
    before = battery.evaluate(model).log_likelihood[0]
    for unit in tried[:5]:
        with fbn.inhibit(model, fbn.Network.from_indices(found.space, [int(unit)])):
            assert before - battery.evaluate(model).log_likelihood[0] == pytest.approx(found.effects[unit], abs=1e-9)
    table = found.to_dataframe()
    assert np.isnan(table["group_spearman"]).all() and np.isfinite(table["spearman"]).all()


def test_a_sample_takes_as_large_a_share_of_every_layer() -> None:
    space = fbn.UnitSpace("mlp.neurons", (100, 0, 300, 40))
    chosen = sampled_units(space, 44, np.random.default_rng(0))
    assert len(set(chosen)) == 44
    counts = np.bincount(space.layer_of[chosen], minlength=4)
    assert np.abs(counts - [10, 0, 30, 4]).max() <= 1


def test_refusals(planted: tuple[Any, fbn.Battery, dict[str, fbn.UnitMap]]) -> None:
    model, battery, scores = planted
    options: dict[str, Any] = {"seed": 0, "progress": False}
    with pytest.raises(ValueError, match="got no scores"):
        fbn.validate_scores(model, {}, battery, "planted", **options)
    with pytest.raises(ValueError, match="no task other in this battery"):
        fbn.validate_scores(model, scores, battery, "other", **options)
    with pytest.raises(ValueError, match="metric must be 'exact_match' or 'log_likelihood'; got 'accuracy'"):
        fbn.validate_scores(model, scores, battery, "planted", metric="accuracy", **options)
    with pytest.raises(ValueError, match="n_units=1 of 96"):
        fbn.validate_scores(model, scores, battery, "planted", n_units=1, **options)
    holes = fbn.UnitMap(scores["noise"].space, np.full(96, np.nan), "t")
    with pytest.raises(ValueError, match="'holes' has no finite value for 96 of 96 units"):
        fbn.validate_scores(model, {"holes": holes}, battery, "planted", **options)
    with pytest.raises(ValueError, match=r"by must be 'spearman', 'recall', 'group_spearman' or 'top_drop'; got 'p'"):
        fbn.validate_scores(model, scores, battery, "planted", n_units=5, n_groups=0, n_controls=1, **options).best("p")
    _, items, positions = planted_model(UNITS)
    leaked = {
        "leaked": fbn.attribution.gradient_x_activation(
            model, [ids[:7] for ids in items[10:]], positions[10:], progress=False
        )
    }
    with pytest.raises(ValueError, match="was found on"):
        fbn.validate_scores(model, leaked, battery, "planted", **options)
