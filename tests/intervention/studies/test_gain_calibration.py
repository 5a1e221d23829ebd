"""Calibrated amplification: a network whose gain helps is found on other items, chance stays chance, items never leak,
tolerance holds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers.gradients import UNITS, planted_model
from tests.helpers.models import tiny_model
from tests.helpers.recordings import blocks
from tl_fbn.intervention.behaviour.tasks import BatteryItem, Task
from tl_fbn.intervention.studies.gain_calibration import calibrate_gain, split_items
from tl_fbn.intervention.studies.gain_calibration_results import GainCalibration

OPTIONS: dict[str, Any] = {"seed": 0, "progress": False, "n_bootstrap": 200}


@pytest.fixture(scope="module")
def planted() -> tuple[Any, fbn.Battery, fbn.Network]:
    """Behind token 1 five neurons write the answer, too weakly: more of them is better there, and somewhat worse
    elsewhere.
    """
    model = planted_model(UNITS)[0]
    rng = np.random.default_rng(5)
    asked = [(*rng.integers(3, 49, 5).tolist(), 1) for _ in range(20)]
    others = [tuple(rng.integers(3, 49, 6).tolist()) for _ in range(12)]
    battery = fbn.Battery.from_pairs(
        {"other": [(ids, (4,)) for ids in others], "planted": [(ids, (2,)) for ids in asked]}
    )
    space = fbn.Scanner(model).space
    units = [(layer, unit) for layer, which in UNITS.items() for unit in which]
    return model, battery, fbn.Network.from_indices(space, units, name="planted")


@pytest.fixture(scope="module")
def found(planted: tuple[Any, fbn.Battery, fbn.Network]) -> GainCalibration:
    model, battery, network = planted
    return calibrate_gain(model, network, battery, gains=(0.5, 2), n_controls=24, controls="both", **OPTIONS)


def test_an_amplification_that_helps_is_found_on_other_items(found: GainCalibration) -> None:
    line = found.summary().iloc[0]
    assert found.chosen == 2 and found.amounts.tolist() == [0.5, 1, 2] and found.tasks == ("planted", "other")
    assert 0 < line["low"] <= line["change"] <= line["high"]
    assert line["p"] == pytest.approx(1 / 25) and line["helps"] and line["within_tolerance"]
    assert line["p_chosen"] == pytest.approx(1 / 25) and line["control_median"] < line["change"] / 10
    table = found.to_dataframe().set_index("gain")
    assert table.loc[0.5, "high"] < 0 < table.loc[2.0, "low"] and table.loc[1.0, "change"] == 0
    assert table["chosen"].tolist() == [False, False, True]
    other = found.held_out().iloc[1]
    assert not other["target"] and other["change"] == line["worst_change"] < 0


def test_numbers_are_those_of_the_intervention_by_hand(
    found: GainCalibration, planted: tuple[Any, fbn.Battery, fbn.Network]
) -> None:
    model, battery, network = planted
    calibration, heldout = split_items(battery.select(["planted", "other"]), seed=0)
    for half, table in ((calibration, found.to_dataframe()), (heldout, found.held_out())):
        before = half.evaluate(model).set_index("task")["log_likelihood"]
        with fbn.amplify(model, network, gain=2.0):
            by_hand = half.evaluate(model).set_index("task")["log_likelihood"] - before
        with found.intervention(model):
            again = half.evaluate(model).set_index("task")["log_likelihood"] - before
        assert table.iloc[-1 if half is calibration else 0]["change"] == pytest.approx(by_hand["planted"], abs=1e-6)
        np.testing.assert_array_equal(by_hand, again)
    assert found.held_out()["change"].iloc[1] == pytest.approx(by_hand["other"], abs=1e-6)
    accuracy = found.held_out(metric="exact_match")
    assert accuracy["before"].iloc[0] == pytest.approx(heldout.evaluate(model).set_index("task").exact_match["planted"])


def test_controls_are_calibrated_the_same_way(
    found: GainCalibration, planted: tuple[Any, fbn.Battery, fbn.Network]
) -> None:
    model, battery, network = planted
    changes = found.controls["calibrated"]
    idle = found.control_amounts == 1
    assert idle.any() and not idle.all()
    assert (changes[idle] == 0).all() and (changes[~idle, 0, 1] != 0).all()
    kept = fbn.matched_controls(network, 24, seed=0)
    place = int(np.flatnonzero(~idle)[0])  # what one control found is what it finds on its own
    alone = calibrate_gain(model, kept[place], battery, task="planted", gains=(0.5, 2), n_controls=1, **OPTIONS)
    assert alone.chosen == found.control_amounts[place]
    assert alone.held_out()["change"].to_numpy() == pytest.approx(changes[place, :, 1], abs=1e-12)


def test_it_is_saved_and_shown(found: GainCalibration, tmp_path: Path) -> None:
    found.save(tmp_path / "c.safetensors")
    again = GainCalibration.load(tmp_path / "c.safetensors")
    assert again.summary().equals(found.summary()) and again.to_dataframe().equals(found.to_dataframe())
    assert again.held_out(control="chosen").equals(found.held_out(control="chosen")) and again.network == found.network
    assert "gain 2, held-out log_likelihood +" in repr(again) and "control_p95" in again._repr_html_()
    html = fbn.Report("R", found).to_html()
    assert "Calibrated amplification: planted" in html and "Amounts tried: planted" in html
    with pytest.raises(ValueError, match=r"control must be one of this calibration's, .*; got 'activity'"):
        found.held_out(control="activity")


def test_the_tolerance_bounds_the_amount(planted: tuple[Any, fbn.Battery, fbn.Network]) -> None:
    model, battery, network = planted
    few: dict[str, Any] = {**OPTIONS, "n_controls": 1}
    free = calibrate_gain(model, network, battery, tolerance=None, **few)
    table = free.to_dataframe().set_index("gain")
    assert free.chosen == 3 and table["allowed"].all() and table["worst_change"].is_monotonic_decreasing
    between = -table.loc[[1.5, 2.0], "worst_change"].mean()
    bound = calibrate_gain(model, network, battery, tolerance=between, **few)
    assert bound.chosen == 1.5 and bound.to_dataframe()["allowed"].tolist() == [True] * 4 + [False] * 2
    assert calibrate_gain(model, network, battery, tolerance=0.0, **few).chosen == 1
    alone = calibrate_gain(model, network, battery.select(["planted"]), tolerance=None, gains=(2,), **few)
    assert alone.chosen == 2 and np.isnan(alone.summary()["worst_change"][0]) and alone.summary()["worst_task"][0] == ""


def test_where_nothing_helps_the_answer_is_none(planted: tuple[Any, fbn.Battery, fbn.Network]) -> None:
    model, battery, network = planted
    found = calibrate_gain(model, network, battery, task="other", gains=(1.5, 3), n_controls=3, **OPTIONS)
    line = found.summary().iloc[0]
    assert found.chosen == 1 and not found.amplifies and not line["helps"]
    assert line["change"] == line["low"] == line["high"] == 0 and line["p"] == 1
    assert "no amplification helps (2 amounts tried)" in repr(found)
    plain = battery.score(model)["other"].log_likelihood
    with found.intervention(model):
        np.testing.assert_array_equal(battery.score(model)["other"].log_likelihood, plain)


def test_amounts_can_be_added(planted: tuple[Any, fbn.Battery, fbn.Network], tmp_path: Path) -> None:
    model, battery, network = planted
    few: dict[str, Any] = {**OPTIONS, "n_controls": 2}
    raw = calibrate_gain(model, network, battery, adds=(0.5, 1), tolerance=None, positions="last", **few)
    assert raw.kind == "add" and raw.amounts.tolist() == [0, 0.5, 1] and raw.chosen == 1
    assert "last positions" in repr(raw.intervention(model))
    space = network.space
    rng = np.random.default_rng(0)
    runs = [[rng.normal(size=(30, width)) * np.arange(1, width + 1) / width for width in space.widths]]
    reference = fbn.Recording.from_arrays(runs, events=[blocks(["a", "b"], 15)])
    signs = np.where(network.members, -1, 0).astype(np.int8)
    signs[3] = 1
    signed = fbn.Network(reference.space, network.members, signs, "planted")
    found = calibrate_gain(model, signed, battery, adds_sd=(-1, 1), reference=reference, tolerance=None, **few)
    found.save(tmp_path / "c.safetensors")
    again = GainCalibration.load(tmp_path / "c.safetensors")
    half = split_items(battery.select(["planted", "other"]), seed=0)[1]
    with fbn.amplify(model, signed, add_sd=again.chosen, reference=reference):
        by_hand = half.evaluate(model)["log_likelihood"].to_numpy()
    with again.intervention(model):  # needs no reference
        np.testing.assert_allclose(half.evaluate(model)["log_likelihood"], by_hand, rtol=1e-12)
    assert again.held_out()["after"].to_numpy() == pytest.approx(by_hand, abs=1e-6)
    with pytest.raises(ValueError, match="adds_sd= needs reference="):
        calibrate_gain(model, network, battery, adds_sd=(1,), **few)
    masked = calibrate_gain(model, network, battery, gains=(2,), positions=[5], **few)
    with pytest.raises(ValueError, match="give positions= again"):
        masked.intervention(model)


def test_exact_match_and_plain_text(planted: tuple[Any, fbn.Battery, fbn.Network]) -> None:
    model, battery, network = planted
    rng = np.random.default_rng(1)
    texts = fbn.Battery.from_texts({"text": [tuple(rng.integers(3, 49, 8).tolist()) for _ in range(6)]})
    weak = fbn.Battery({"planted": battery.tasks["planted"], **texts.tasks})
    found = calibrate_gain(
        model, network, weak, metric="exact_match", gains=(-1, 0, 2), n_controls=2, tolerance=None, **OPTIONS
    )
    held = found.held_out()
    assert held["metric"].tolist() == ["exact_match", "log_likelihood"] and found.chosen == 1  # all right already
    assert found.to_dataframe().set_index("gain").loc[0.0, "value"] < 1 and np.isfinite(held["change"]).all()
    with pytest.raises(ValueError, match="metric='exact_match' cannot"):
        calibrate_gain(model, network, weak, task="text", metric="exact_match", **OPTIONS)


def test_halves_share_no_prompt() -> None:
    rng = np.random.default_rng(0)
    for seed in range(20):
        tasks = {
            name: [((int(rng.integers(0, 14)),), (int(rng.integers(0, 9)),)) for _ in range(30)] for name in ("a", "b")
        }
        battery = fbn.Battery.from_pairs(tasks)  # most prompts twice, many in both tasks
        halves = split_items(battery, share=0.4, seed=seed)
        prompts = [{item.prompt for task in half.tasks.values() for item in task.items} for half in halves]
        assert not prompts[0] & prompts[1]
        for name, task in battery.tasks.items():
            kept = [item for half in halves for item in half.tasks[name].items]
            assert sorted(map(repr, kept)) == sorted(map(repr, task.items))
        assert len(halves[0].tasks["a"].items) in range(12, 18)
    plain = fbn.Battery.from_pairs({"a": [((i,), (1,)) for i in range(20)], "b": [((50 + i,), (1,)) for i in range(7)]})
    first = split_items(plain, share=0.25, seed=3)[0]
    assert [len(task.items) for task in first.tasks.values()] == [5, 2]
    assert repr(split_items(plain, share=0.25, seed=3)[0].tasks) == repr(first.tasks)
    assert repr(split_items(plain, share=0.25, seed=4)[0].tasks) != repr(first.tasks)
    chats = Task("c", "answer", tuple(BatteryItem((i, 9), ((1,),), (f"question {i % 5}",)) for i in range(20)))
    halves = split_items(fbn.Battery({"c": chats}), seed=0)
    asked = [{item.texts[0] for item in half.tasks["c"].items} for half in halves]
    assert not asked[0] & asked[1]  # one question behind different demonstrations is one question


def test_refusals(planted: tuple[Any, fbn.Battery, fbn.Network], demo_model: Any, unchecked: None) -> None:
    model, battery, network = planted
    with pytest.raises(ValueError, match="controls must be 'calibrated', 'chosen' or 'both'; got 'random'"):
        calibrate_gain(model, network, battery, **OPTIONS, controls="random")
    for options, match in (
        ({"task": "sums"}, "task='sums' is none of the battery's tasks: other, planted"),
        ({"tolerance": -0.1}, "tolerance=-0.1 must be 0 or more"),
        ({"n_controls": 0}, "n_controls=0"),
        ({"share": 1.0}, "share=1.0 must be between 0 and 1"),
        ({"gains": (1,)}, "at least one other than 1"),
        ({"adds": (1, float("inf"))}, "amounts must be finite"),
        ({"gains": (2,), "adds": (1,)}, "one kind of amount; got gains=, adds="),
        ({"metric": "accuracy"}, "metric must be 'exact_match' or 'log_likelihood'; got 'accuracy'"),
    ):
        with pytest.raises(ValueError, match=match):
            calibrate_gain(model, network, battery, **OPTIONS, **options)
    with pytest.raises(ValueError, match="network 'x' is named like none"):
        calibrate_gain(model, fbn.Network(network.space, network.members, name="x"), battery, **OPTIONS)
    with pytest.raises(ValueError, match="needs other tasks than 'planted'"):
        calibrate_gain(model, network, battery.select(["planted"]), **OPTIONS)
    with pytest.raises(ValueError, match="task 'other' has 1 items with 1 different prompts"):
        small = fbn.Battery({"planted": battery.tasks["planted"], **battery.select(["other"]).limit(1).tasks})
        calibrate_gain(model, network, small, **OPTIONS)
    leaked = fbn.cgvst(demo_model, fbn.chats("sort", n=8), progress=False).top(5)
    leaked = fbn.Network(leaked.space, leaked.members, name="sort", provenance=leaked.provenance)
    shown = fbn.Battery.from_chats({"sort": fbn.chats("sort", n=8)}, demo_model)
    with pytest.raises(ValueError, match="was found on"):
        calibrate_gain(demo_model, leaked, shown, tolerance=None, **OPTIONS)


@pytest.mark.slow
def test_chance_is_kept_although_the_best_amount_is_searched(unchecked: None) -> None:
    """Random networks of a random model: 'helps' at most as often as alpha allows."""
    model = tiny_model(d_mlp=60)
    rng = np.random.default_rng(0)

    def words(n: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        return [(tuple(rng.integers(0, 50, 5).tolist()), (int(rng.integers(0, 50)),)) for _ in range(n)]

    battery = fbn.Battery.from_pairs({"task": words(16), "second": words(8)})
    like = fbn.Network.from_indices(fbn.Scanner(model).space, [0, 1, 2, 60, 61, 62])
    p = []
    for number, network in enumerate(fbn.matched_controls(like, 40, seed=50)):
        found = calibrate_gain(
            model,
            network,
            battery,
            seed=1000 + number,
            task="task",
            gains=(-2, 3),
            n_controls=19,
            n_bootstrap=20,
            progress=False,
        )
        p.append(found.summary()["p"][0])
    for alpha in (0.05, 0.1, 0.25, 0.5):
        assert (np.array(p) <= alpha).mean() <= alpha + 2.6 * np.sqrt(alpha * (1 - alpha) / len(p))
