"""Tables of doses that are known by hand: two tasks, three doses, four controls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tl_fbn as fbn

# (dose, item): of the first task two items fall by 1 and 3 at every step, of the second nothing changes
ITEMS = np.array([[-1.0, -3.0, -2.0, -2.0], [0.0, 0.0, -2.0, -2.0], [1.0, 3.0, -2.0, -2.0]])


@pytest.fixture
def curve() -> fbn.studies.DoseResponse:
    controls = np.array([[[drop, -2.0], [0.0, -2.0], [-drop, -2.0]] for drop in (-4.0, 0.0, 1.0, 2.0)])
    return fbn.studies.DoseResponse(
        network="planted",
        kind="add",
        doses=np.array([-1.0, 0.0, 1.0]),
        units=np.array([5, 5, 5]),
        tasks=("follows", "does not"),
        counts=np.array([2, 2]),
        metric="log_likelihood",
        baseline=ITEMS[1],
        items=ITEMS,
        controls=controls,
        provenance={"seed": 0, "n_bootstrap": 50, "n_controls": 4},
    )


def test_the_table_has_means_over_items_beside_quantiles_of_controls(curve) -> None:
    table = curve.to_dataframe()
    follows = table[table["task"] == "follows"]
    assert table["add"].tolist() == [-1, 0, 1] * 2 and follows["value"].tolist() == [-2, 0, 2]
    assert follows["control_median"].tolist() == [0.5, 0, -0.5] and set(table["units"]) == {5}
    assert (follows["low"] <= follows["value"]).all() and (follows["value"] <= follows["high"]).all()
    assert set(table.loc[table["task"] == "does not", ["value", "low", "high"]].to_numpy().ravel()) == {-2.0}


def test_area_is_the_mean_change_and_p_counts_controls_as_low(curve) -> None:
    summary = curve.summary().set_index("task")
    # trapezoids over -1, 0, 1 of -2, 0, 2: no change on the whole, as of every control
    assert summary.loc["follows", "area"] == pytest.approx(0) and summary.loc["follows", "p"] == 1.0
    falling = fbn.studies.DoseResponse(**{**vars(curve), "items": -np.abs(ITEMS)})
    # -2, 0, -2: -1 on the mean; no control's area is as low
    line = falling.summary().set_index("task").loc["follows"]
    assert line["area"] == pytest.approx(-1) and line["p"] == pytest.approx(1 / 5)
    assert line["monotonicity"] == pytest.approx(-1) and line["area_low"] <= -1 <= line["area_high"]


def test_it_says_what_it_is_and_is_kept(curve, tmp_path: Path) -> None:
    assert repr(curve).startswith("DoseResponse of planted: log_likelihood of 2 tasks at 3 amounts from -1 to 1, 4")
    assert "amounts added to activations" in curve._methods_()[0]
    curve.save(tmp_path / "curve.safetensors")
    assert fbn.load(tmp_path / "curve.safetensors").to_dataframe().equals(curve.to_dataframe())
