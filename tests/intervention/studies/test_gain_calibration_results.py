"""What calibrating a gain found: tables are arithmetic on items, p counts controls, and tolerance decides what is
allowed.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from tests.helpers.models import tiny_model
from tests.helpers.units import TOY
from tl_fbn.intervention.studies.gain_calibration_results import GainCalibration, allowed
from tl_fbn.units import Network

# (item, metric): exact match, log-likelihood; two items of the target and one of each other task, then three, two and
# one
CALIBRATION = np.array(
    [
        [[0, -3.0], [0, -3.0], [1, -1.5], [1, -1.1]],  # gain 0.5
        [[0, -2.0], [0, -2.0], [1, -1.0], [1, -1.0]],  # gain 1
        [[1, -1.0], [0, -1.5], [1, -1.2], [1, -1.3]],  # gain 2
    ]
)
BEFORE = np.array([[0, -2.0], [0, -2.0], [0, -2.0], [1, -1.0], [1, -1.0], [1, -1.0]])
AFTER = np.array([[1, -1.0], [1, -1.0], [0, -1.0], [1, -1.5], [0, -1.0], [1, -1.4]])


def made(better: int = 0, **changed: Any) -> GainCalibration:
    """19 calibrated controls, of which some raise the target by 2 nats and the others change nothing."""
    controls = np.zeros((19, 3, 2))
    controls[:better, 0, 1] = 2.0
    found = GainCalibration(
        network=Network.from_indices(TOY, [0, 5], name="sort"),
        kind="gain",
        amounts=np.array([0.5, 1.0, 2.0]),
        chosen=2.0,
        tasks=("sort", "add", "copy"),
        metric="log_likelihood",
        counts=np.array([[2, 1, 1], [3, 2, 1]]),
        calibration=CALIBRATION,
        before=BEFORE,
        after=AFTER,
        controls={"calibrated": controls, "chosen": controls - 0.25},
        control_amounts=np.ones(19),
        spread=np.zeros(0),
        provenance={"seed": 0, "n_bootstrap": 50, "tolerance": 0.35, "positions": "all"},
    )
    return replace(found, **changed)


def test_amounts_are_compared_with_none_on_the_calibration_items() -> None:
    table = made().to_dataframe().set_index("gain")
    assert table["change"].tolist() == pytest.approx([-1.0, 0.0, 0.75])
    assert table["value"].tolist() == pytest.approx([-3.0, -2.0, -1.25])
    assert table.loc[0.5, ["low", "high"]].tolist() == [-1.0, -1.0]  # all items change alike: nothing to resample
    # of two items the bootstrap's t says nothing: Student's on one degree of freedom does
    half = stats.t.ppf(0.975, 1) * 0.25
    assert table.loc[2.0, ["low", "high"]].tolist() == pytest.approx([0.75 - half, 0.75 + half])
    assert table.loc[1.0, ["low", "high"]].tolist() == [0.0, 0.0]  # the amount that changes nothing
    assert table["worst_task"].tolist() == ["add", "add", "copy"]
    assert table["worst_change"].tolist() == pytest.approx([-0.5, 0.0, -0.3])
    assert table["allowed"].tolist() == [False, True, True] and table["chosen"].tolist() == [False, False, True]


def test_held_out_items_speak_for_every_task_beside_controls() -> None:
    table = made(better=4).held_out()
    assert table["task"].tolist() == ["sort", "add", "copy"] and table["target"].tolist() == [True, False, False]
    assert table["items"].tolist() == [3, 2, 1]
    assert table["change"].tolist() == pytest.approx([1.0, -0.25, -0.4])
    assert table["p"].tolist() == pytest.approx([(1 + 4) / 20, 1.0, 1.0])  # all controls do better than a loss
    assert table.loc[0, "control_p95"] == 2.0 and table.loc[0, "control_median"] == 0.0
    matches = made().held_out(metric="exact_match")
    assert matches["change"].tolist() == pytest.approx([2 / 3, -0.5, 0.0])
    assert made().held_out(control="chosen")["control_median"].tolist() == [-0.25] * 3
    with pytest.raises(
        ValueError, match=r"control must be one of this calibration's, 'calibrated' or 'chosen'; got 'activity'"
    ):
        made().held_out(control="activity")
    with pytest.raises(ValueError, match=r"metric.*'accuracy'|'accuracy'.*metric"):
        made().held_out(metric="accuracy")


def test_it_helps_only_beyond_controls_and_only_if_something_is_amplified() -> None:
    line = made().summary().iloc[0]
    assert (line["network"], line["task"], line["amount"]) == ("sort", "sort", 2.0)
    assert line["p"] == line["p_chosen"] == 1 / 20 and line["helps"]
    assert (line["worst_task"], line["worst_change"]) == ("copy", pytest.approx(-0.4))
    assert not line["within_tolerance"]  # .4 lost held out, .35 allowed
    assert not made(better=1).summary()["helps"][0]  # p = .1
    harmed = replace(made(), after=BEFORE)
    assert not harmed.summary()["helps"][0]
    none = made(chosen=1.0)
    assert not none.amplifies and none.summary()["p"][0] == 1.0 and not none.summary()["helps"][0]
    assert "no amplification helps (2 amounts tried)" in repr(none)
    alone = made(controls={"chosen": np.zeros((19, 3, 2))}).summary()
    assert np.isnan(alone["p"][0]) and not alone["helps"][0]


def test_what_is_allowed() -> None:
    assert allowed(-0.1, 0.1) and not allowed(-0.11, 0.1) and allowed(0.3, 0.0)
    assert allowed(-9.0, None) and allowed(np.nan, None)
    assert not allowed(np.nan, 0.1)


def test_it_comes_back_from_its_file(tmp_path: Path) -> None:
    found = made(better=2, kind="add_sd", amounts=np.array([-1.0, 0.0, 2.0]), spread=np.arange(10.0))
    found.save(tmp_path / "c.safetensors")
    again = GainCalibration.load(tmp_path / "c.safetensors")
    assert again.network == found.network and again.network.name == "sort"
    assert (again.kind, again.chosen, again.tasks, again.metric) == ("add_sd", 2.0, found.tasks, "log_likelihood")
    np.testing.assert_array_equal(again.spread, np.arange(10.0))
    assert list(again.controls) == ["calibrated", "chosen"]
    assert again.summary().equals(found.summary()) and again.to_dataframe().equals(found.to_dataframe())


def test_positions_that_were_not_kept_must_be_given_again() -> None:
    masked = made(provenance={"seed": 0, "n_bootstrap": 50, "tolerance": None, "positions": "given"})
    with pytest.raises(ValueError, match="give positions= again"):
        masked.intervention(tiny_model())
