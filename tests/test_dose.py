"""Dose and response: curves by hand, nested sizes, matched controls, and the embedded model's own curve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import tl_fbn as fbn
from tests.test_cgvst import planted_model

UNITS = {0: [3, 11, 30], 1: [7, 40]}


@pytest.fixture(scope="module")
def planted() -> tuple[Any, fbn.Battery, fbn.UnitMap]:
    model, items, positions = planted_model(UNITS)
    rng = np.random.default_rng(5)
    others = [tuple(rng.integers(3, 49, 6).tolist()) for _ in range(8)]
    pairs = {"planted": [(tuple(ids[:6]), (2,)) for ids in items[10:]], "other": [(ids, (4,)) for ids in others]}
    scores = fbn.gradient_x_activation(model, items[:10], positions[:10], progress=False)
    return model, fbn.Battery.from_pairs(pairs), scores


def test_gains_by_hand(planted: tuple[Any, fbn.Battery, fbn.UnitMap], tmp_path: Path) -> None:
    model, battery, scores = planted
    network = scores.top(5)
    found = fbn.dose_response(model, network, battery, seed=0, n_controls=25, metric="log_likelihood", progress=False)
    table = found.to_dataframe()
    assert list(table.columns[:5]) == ["network", "gain", "units", "task", "metric"] and len(table) == 14
    plain = battery.evaluate(model).set_index("task")["log_likelihood"]
    for line in table.itertuples():
        with fbn.amplify(model, network, gain=line.gain):
            value = battery.evaluate(model).set_index("task")["log_likelihood"][line.task]
        assert line.value == pytest.approx(value, abs=1e-9) and line.baseline == pytest.approx(plain[line.task])
        assert line.low - 1e-9 <= line.value <= line.high + 1e-9
        if line.gain == 1:
            assert line.value == pytest.approx(line.baseline, abs=1e-12)
    own = table[table["task"] == "planted"].set_index("gain")
    assert own.loc[0.0, "value"] < own.loc[0.0, "control_p05"] < own.loc[0.0, "baseline"] + 1e-6
    assert own.loc[0.5, "value"] > own.loc[0.0, "value"]
    found.save(tmp_path / "d.safetensors")
    again = fbn.DoseResponse.load(tmp_path / "d.safetensors")
    assert again.to_dataframe().equals(table) and again.summary().equals(found.summary())
    assert "7 gains from -1 to 3" in repr(again) and "monotonicity" in again._repr_html_()


def test_area_and_monotonicity_by_hand(planted: tuple[Any, fbn.Battery, fbn.UnitMap]) -> None:
    model, battery, scores = planted
    gains = (0.0, 0.25, 0.5, 1.0)
    found = fbn.dose_response(
        model, scores.top(5), battery, seed=0, gains=gains, n_controls=30, metric="log_likelihood", progress=False
    )
    own = found.to_dataframe().query("task == 'planted'")
    summary = found.summary().set_index("task").loc["planted"]
    change = (own["value"] - own["baseline"]).to_numpy()
    assert summary["area"] == pytest.approx(np.trapezoid(change, gains))
    assert summary["monotonicity"] == pytest.approx(stats.spearmanr(np.abs(np.array(gains) - 1), own["value"])[0])
    assert summary["area_low"] <= summary["area"] <= summary["area_high"] < 0
    assert summary["p"] == pytest.approx(1 / 31) and summary["monotonicity"] < -0.9


def test_sizes_are_nested_and_their_controls_too(planted: tuple[Any, fbn.Battery, fbn.UnitMap]) -> None:
    model, battery, scores = planted
    sizes = (1 / 96, 3 / 96, 5 / 96, 30 / 96)
    found = fbn.dose_response(
        model, scores, battery, seed=0, sizes=sizes, n_controls=25, metric="log_likelihood", progress=False
    )
    assert found.kind == "size" and found.units.tolist() == [1, 3, 5, 30]
    table = found.to_dataframe().query("task == 'planted'")
    for size, value in zip(sizes, table["value"], strict=True):
        with fbn.inhibit(model, scores.top(size)):
            assert battery.evaluate(model).log_likelihood[0] == pytest.approx(value, abs=1e-9)
    assert table["value"].is_monotonic_decreasing and (table["value"] < table["control_median"]).all()
    assert found.summary().set_index("task").loc["planted", "p"] < 0.04
    default = fbn.dose_response(model, scores, battery, seed=0, n_controls=1, progress=False)
    assert default.doses.tolist() == [0.03, 0.1]  # smaller shares of 96 units hold none


def test_a_tasks_own_curve_on_the_embedded_model(demo_model: Any) -> None:
    maps = {
        task: fbn.cgvst(
            demo_model, fbn.chats(task, n=60), tokens="answer", variant="grad_x_act", progress=False, batch_size=64
        )
        for task in ("upper", "add", "count", "reverse")
    }
    network = fbn.specific_scores(maps)["add"].top(0.05, name="add")
    battery = fbn.demo.battery(n=25).select(["add", "upper"])
    found = fbn.dose_response(demo_model, network, battery, gains=(0, 0.5, 1), seed=0, n_controls=20, progress=False)
    summary = found.summary().set_index("task")
    assert summary.loc["add", "p"] < 0.05 and summary.loc["add", "area_high"] < summary.loc["upper", "area_low"]
    html = fbn.Report("R", found).to_html()
    assert "Dose response" in html and "gain of 1 is the untouched model" in html


def test_refusals(planted: tuple[Any, fbn.Battery, fbn.UnitMap], demo_model: Any) -> None:
    model, battery, scores = planted
    options: dict[str, Any] = {"seed": 0, "progress": False}
    with pytest.raises(ValueError, match="gains= are for a network"):
        fbn.dose_response(model, scores, battery, gains=(0, 1), **options)
    with pytest.raises(ValueError, match="sizes= are for a map"):
        fbn.dose_response(model, scores.top(3), battery, sizes=(0.1, 0.2), **options)
    with pytest.raises(ValueError, match="each of at least one unit"):
        fbn.dose_response(model, scores, battery, sizes=(0.001, 0.2), **options)
    for gains in ((1.0,), (1.0, 0.0), (0.0, float("nan"))):
        with pytest.raises(ValueError, match="at least two finite numbers, ascending"):
            fbn.dose_response(model, scores.top(3), battery, gains=gains, **options)
    with pytest.raises(ValueError, match="n_controls=0"):
        fbn.dose_response(model, scores.top(3), battery, n_controls=0, **options)
    with pytest.raises(ValueError, match="metric='accuracy' cannot"):
        fbn.dose_response(model, scores.top(3), battery, metric="accuracy", **options)
    leaked = fbn.cgvst(demo_model, fbn.chats("sort", n=5), progress=False).top(5)
    with pytest.raises(ValueError, match="was found on"):
        fbn.dose_response(
            demo_model, leaked, fbn.Battery.from_chats({"sort": fbn.chats("sort", n=5)}, demo_model), **options
        )
