"""Calibrated amplification: what was tried, what was chosen, and what it does to other items beside random networks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers.figures import BOLD
from tl_fbn.reporting import plot as figures

pytest.importorskip("plotly")


def calibration(**changed: Any) -> fbn.studies.GainCalibration:
    """A gain of 2 adds .5 nats to the target and takes .05 from the other task, of 3 takes .5; random networks change
    up to .1.
    """
    rng, space = np.random.default_rng(0), fbn.UnitSpace("mlp.neurons", (10,))
    tried = np.zeros((3, 16, 2))
    tried[1, :8, 1], tried[2, :8, 1] = 0.5, 0.7
    tried[1, 8:, 1], tried[2, 8:, 1] = -0.05, -0.5
    after = np.zeros((16, 2))
    after[:8, 1], after[8:, 1] = 0.4, -0.05
    made = fbn.studies.GainCalibration(
        network=fbn.Network.from_indices(space, [1, 2], name="n"),
        kind="gain",
        amounts=np.array([1.0, 2.0, 3.0]),
        chosen=2.0,
        tasks=("sort", BOLD),
        metric="log_likelihood",
        counts=np.full((2, 2), 8),
        calibration=tried,
        before=np.zeros((16, 2)),
        after=after,
        controls={"calibrated": rng.uniform(-0.1, 0.1, (40, 2, 2))},
        control_amounts=np.ones(40),
        spread=np.zeros(0),
        provenance={"seed": 0, "n_bootstrap": 100, "tolerance": 0.1, "positions": "all"},
    )
    return replace(made, **changed)


def test_amounts_and_held_out_changes() -> None:
    one = calibration()
    figure = figures.gain_calibration(one)
    traces = {trace.name: trace for trace in figure.data}
    target = traces["target, nats, 95 % over items"]
    np.testing.assert_allclose(target.y, [0, 0.5, 0.7])
    assert [colour == "white" for colour in target.marker.color] == [False, False, True]  # 3 breaks the tolerance
    np.testing.assert_allclose(
        traces["worst other task, nats a token (hollow: beyond the tolerance)"].y, [0, -0.05, -0.5]
    )
    assert (list(traces["chosen"].x), list(traces["chosen"].y)) == ([2], [0.5])
    held = traces["the network, 95 % over items (filled: p < .05)"]
    np.testing.assert_allclose(held.x, [0.4, -0.05])
    chance = traces["40 matched random networks, which chose their own amounts: 5 to 95 %"]
    np.testing.assert_allclose(np.array(chance.base, dtype=float) + chance.x, one.held_out()["control_p95"])
    assert "gain 2: +0.4 nats" in figure.layout.title.text
    assert BOLD not in str(figure.to_json())


def test_points_and_nats_share_no_axis_and_no_amplification_says_so() -> None:
    figure = figures.gain_calibration(calibration(metric="exact_match", chosen=1.0))
    assert figure.layout.xaxis2.title.text == "change (points)" and figure.layout.xaxis3.title.text == "change (nats)"
    assert figure.layout.title.text.endswith("no amount helps")


def test_refusals() -> None:
    with pytest.raises(TypeError, match="draws a GainCalibration of calibrate_gain; got str"):
        figures.gain_calibration("x")
