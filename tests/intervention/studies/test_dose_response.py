"""Dose and response: curves by hand, nested sizes, matched controls, and the embedded model's own curve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import tl_fbn as fbn
from tests.helpers.gradients import UNITS, planted_model
from tests.helpers.recordings import blocks
from tl_fbn.intervention.studies.controls import sham_networks


@pytest.fixture(scope="module")
def planted() -> tuple[Any, fbn.Battery, fbn.UnitMap]:
    model, items, positions = planted_model(UNITS)
    rng = np.random.default_rng(5)
    others = [tuple(rng.integers(3, 49, 6).tolist()) for _ in range(8)]
    pairs = {"planted": [(tuple(ids[:6]), (2,)) for ids in items[10:]], "other": [(ids, (4,)) for ids in others]}
    scores = fbn.attribution.gradient_x_activation(model, items[:10], positions[:10], progress=False)
    return model, fbn.Battery.from_pairs(pairs), scores


def test_gains_by_hand(planted: tuple[Any, fbn.Battery, fbn.UnitMap], tmp_path: Path) -> None:
    model, battery, scores = planted
    network = scores.top(5)
    found = fbn.dose_response(model, network, battery, seed=0, n_controls=10, metric="log_likelihood", progress=False)
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
    again = fbn.studies.DoseResponse.load(tmp_path / "d.safetensors")
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
    distance = np.abs(np.array(gains) - 1)
    rhos = np.array([stats.spearmanr(distance, one)[0] if np.ptp(one) else 0.0 for one in found.controls[:, :, 0]])
    as_steady = (rhos <= summary["monotonicity"] + 1e-12).sum()
    assert summary["monotonicity_p"] == pytest.approx((1 + as_steady) / 31) and 0 < as_steady < 30


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


def test_amounts_can_be_added(planted: tuple[Any, fbn.Battery, fbn.UnitMap], tmp_path: Path) -> None:
    model, battery, scores = planted
    options: dict[str, Any] = {"seed": 0, "n_controls": 3, "metric": "log_likelihood", "progress": False}
    network = scores.top(5, name="planted")
    raw = fbn.dose_response(model, network, battery, adds=(-1, 0, 1), positions="last", **options)
    assert raw.kind == "add" and raw.doses.tolist() == [-1, 0, 1] and "3 amounts from -1 to 1" in repr(raw)
    np.testing.assert_array_equal(raw.items[1], raw.baseline)
    assert (raw.controls[:, 1] == raw.controls[0, 1]).all() and (raw.controls[:, 0] != raw.controls[:, 2]).all()
    with fbn.amplify(model, network, add=1.0, positions="last"):
        by_hand = battery.evaluate(model)["log_likelihood"]
    table = raw.to_dataframe()
    np.testing.assert_allclose(table.loc[table["add"] == 1, "value"], by_hand, atol=1e-9)
    summary = raw.summary().set_index("task").loc["planted"]
    change = (table["value"] - table["baseline"])[table["task"] == "planted"]
    assert summary["area"] == pytest.approx(np.trapezoid(change, raw.doses) / 2)

    rng = np.random.default_rng(0)
    runs = [[rng.normal(size=(30, width)) * np.arange(1, width + 1) / width for width in network.space.widths]]
    reference = fbn.Recording.from_arrays(runs, events=[blocks(["a", "b"], 15)])
    signs = np.where(network.members, -1, 0).astype(np.int8)
    signs[network.indices[0]] = 1
    signed = fbn.Network(reference.space, network.members, signs, "planted")
    found = fbn.dose_response(model, signed, battery, adds_sd=(0, 2), reference=reference, **options)
    control = sham_networks(signed, 3, seed=0)[2]
    for one, values in ((signed, found.items[1]), (control, None)):
        with fbn.amplify(model, one, add_sd=2.0, reference=reference):
            scored = battery.score(model)
        if values is not None:
            np.testing.assert_allclose(np.concatenate([s.log_likelihood for s in scored.values()]), values, rtol=1e-9)
        else:
            means = [s.of("log_likelihood") for s in scored.values()]
            np.testing.assert_allclose(found.controls[2, 1], means, rtol=1e-9)
    found.save(tmp_path / "d.safetensors")
    assert fbn.studies.DoseResponse.load(tmp_path / "d.safetensors").summary().equals(found.summary())


def test_controls_of_a_signed_network_have_its_signs() -> None:
    space = fbn.UnitSpace("mlp.neurons", (20, 0, 30))
    members = np.zeros(50, dtype=bool)
    members[[0, 3, 5, 22, 23, 40, 49]] = True
    signs = np.zeros(50, dtype=np.int8)
    signs[[0, 3, 22, 49]] = [1, -1, -1, -1]
    controls = sham_networks(fbn.Network(space, members, signs), 50, seed=1)
    for control in controls:
        for span, expected in ((slice(0, 20), [-1, 0, 1]), (slice(20, 50), [-1, -1, 0, 0])):
            assert sorted(control.signs[span][control.members[span]]) == expected
    assert len({tuple(control.signs) for control in controls}) > 45
    plain = fbn.Network(space, members)
    assert sham_networks(plain, 3, seed=1) == fbn.matched_controls(plain, 3, seed=1)


def test_sizes_take_other_methods_and_positions(planted: tuple[Any, fbn.Battery, fbn.UnitMap]) -> None:
    model, battery, scores = planted
    rng = np.random.default_rng(0)
    runs = [[rng.normal(1, 1, size=(30, width)) for width in scores.space.widths]]
    reference = fbn.Recording.from_arrays(runs, events=[blocks(["a", "b"], 15)])
    mine = fbn.UnitMap(reference.space, scores.values, "score", {"task": "planted"})
    sizes, options = (3 / 96, 10 / 96), {"reference": reference, "positions": "last", "seed": 0}
    for method in ("mean", "noise"):
        found = fbn.dose_response(
            model,
            mine,
            battery,
            sizes=sizes,
            method=method,
            n_controls=1,
            metric="log_likelihood",
            progress=False,
            **options,
        )
        with fbn.inhibit(model, mine.top(10), method=method, **options):
            by_hand = battery.evaluate(model)["log_likelihood"]
        np.testing.assert_allclose(found.to_dataframe()["value"].iloc[[1, 3]], by_hand, atol=1e-9)
        assert found.provenance["method"] == method and found.provenance["positions"] == "last"


def test_a_tasks_own_curve_on_the_embedded_model(demo_model: Any) -> None:
    maps = {
        task: fbn.cgvst(demo_model, fbn.chats(task, n=40), tokens="answer", variant="grad_x_act", progress=False)
        for task in ("upper", "add", "count", "reverse")
    }
    network = fbn.specific_scores(maps)["add"].top(0.05, name="add")
    battery = fbn.demo.battery(n=25).select(["add", "upper"])
    found = fbn.dose_response(demo_model, network, battery, gains=(0, 0.5, 1), seed=0, n_controls=20, progress=False)
    summary = found.summary().set_index("task")
    assert summary.loc["add", "p"] < 0.05 and summary.loc["add", "area_high"] < 0
    assert summary.loc["upper", "area_low"] <= 0 <= summary.loc["upper", "area_high"]
    html = fbn.Report("R", found).to_html()
    assert "Dose response" in html and "gain of 1 is the untouched model" in html


def test_refusals(planted: tuple[Any, fbn.Battery, fbn.UnitMap], demo_model: Any) -> None:
    model, battery, scores = planted
    options: dict[str, Any] = {"seed": 0, "progress": False}
    with pytest.raises(ValueError, match="gains= are for a network"):
        fbn.dose_response(model, scores, battery, gains=(0, 1), **options)
    with pytest.raises(ValueError, match="sizes= are for a map"):
        fbn.dose_response(model, scores.top(3), battery, sizes=(0.1, 0.2), **options)
    with pytest.raises(ValueError, match="adds= are for a network"):
        fbn.dose_response(model, scores, battery, adds=(0, 1), **options)
    with pytest.raises(ValueError, match="one kind of dose; got gains=, adds="):
        fbn.dose_response(model, scores.top(3), battery, gains=(0, 1), adds=(0, 1), **options)
    with pytest.raises(ValueError, match="adds_sd= needs reference="):
        fbn.dose_response(model, scores.top(3), battery, adds_sd=(0, 1), **options)
    with pytest.raises(ValueError, match="for sizes=; gains have none"):
        fbn.dose_response(model, scores.top(3), battery, method="mean", **options)
    with pytest.raises(ValueError, match="each of at least one unit"):
        fbn.dose_response(model, scores, battery, sizes=(0.001, 0.2), **options)
    for gains in ((1.0,), (1.0, 0.0), (0.0, float("nan"))):
        with pytest.raises(ValueError, match=r"at least two finite numbers, ascending|must be a number; got nan"):
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
