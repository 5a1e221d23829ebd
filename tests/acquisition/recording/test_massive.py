"""Shares of the variance: those of numpy, whatever the pieces; a planted unit and the rows it stands in are found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import tl_fbn as fbn
from tests.helpers.recordings import blocks, with_massive_unit
from tl_fbn.acquisition import Massive
from tl_fbn.acquisition.recording import massive


def expected(recording: fbn.Recording) -> tuple[np.ndarray, np.ndarray]:
    """Shares of units and of rows, by numpy's own variance of each run."""
    runs = [run.read().astype(np.float64) for run in recording]
    distances = np.concatenate([values - values.mean(0) for values in runs]) ** 2
    return distances.sum(0) / distances.sum(), distances.sum(1) / distances.sum()


@pytest.mark.parametrize("piece", [massive._PIECE_BYTES, 8 * 7 * 11])
def test_shares_are_those_of_numpy(noise_recording: fbn.Recording, monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(massive, "_PIECE_BYTES", piece)
    found = noise_recording.massive(share=0.5)
    units, rows = expected(noise_recording)
    np.testing.assert_allclose(found.unit_shares, units, rtol=1e-12)
    np.testing.assert_allclose(found.row_shares, rows, rtol=1e-12)
    # within runs: numpy's variance of every run, times its rows
    by_numpy = sum(run.read().astype(np.float64).var(0) * run.n_rows for run in noise_recording)
    np.testing.assert_allclose(found.unit_shares, by_numpy / by_numpy.sum(), rtol=1e-10)
    ordered = np.sort(units)[::-1]
    assert ordered[: found.n_units].sum() >= 0.5 > ordered[: found.n_units - 1].sum()
    assert found.first is None and not len(found.network)


@pytest.mark.parametrize("stored", [True, False])
def test_a_planted_unit_is_found_with_its_rows(tmp_path: Path, stored: bool) -> None:
    recording = with_massive_unit(tmp_path / "r" if stored else None)
    found = recording.massive(share=0.5, top=5)
    units, rows = expected(recording)
    assert found.n_units == 1 and found.units[["layer", "unit"]].values.tolist() == [[1, 7]]
    line = found.units.iloc[0]
    assert line["share"] == pytest.approx(units[107], rel=1e-12) and line["share"] > 0.99
    assert line["times"] == pytest.approx(200 * units[107]) and line["peak"] == 500 and line["token"] == "<s>"
    assert found.network.indices.tolist() == [107] and found.network.space == recording.space
    # the 32 first rows stand at 400 from the mean of 100, the 128 others at 100: .8 of the variance in a fifth of rows.
    # With noise of 199 a row half of it is 3,215,900, and a first row holds 160,199
    assert found.first == pytest.approx((0.8, 0.2), abs=0.01)
    assert found.n_rows == 21 and len(found.rows) == 5 and set(found.rows["position"]) == {0}
    assert found.rows["share"].is_monotonic_decreasing
    first = found.rows.iloc[0]
    assert first["share"] == pytest.approx(rows[int(80 * first["run"] + first["row"])])
    assert "unit 7 of layer 1 holds 99.5 %; 80 % lies in first tokens (20 % of rows)" in repr(found)
    assert "<td>107</td>" not in found._repr_html_() and "<td>1</td><td>7</td>" in found._repr_html_()


def test_half_precision_is_decoded(tmp_path: Path, model) -> None:
    prompts = {name: [[i, j, 1 + (name == "b")] for i in range(3, 11) for j in range(8)] for name in "ab"}
    design = fbn.block_design(prompts, seed=0, n_runs=2, n_cycles=2, tokens_per_block=12)
    recording = fbn.Scanner(model, dtype="bfloat16").scan(design, tmp_path / "r", progress=False)
    np.testing.assert_allclose(recording.massive().unit_shares, expected(recording)[0], rtol=1e-10)


def test_it_comes_back_from_its_file(tmp_path: Path) -> None:
    found = with_massive_unit().massive()
    found.save(tmp_path / "m.safetensors")
    again = fbn.load(tmp_path / "m.safetensors")
    assert type(again) is Massive and repr(again) == repr(found)
    pd.testing.assert_frame_equal(again.rows, found.rows, check_dtype=False)
    assert again.first == found.first and again.together is None


def test_first_tokens_are_known_by_position_or_by_prompt() -> None:
    recording = with_massive_unit()
    (first, _) = (massive.first_tokens(run) for run in recording)
    assert first is not None and np.flatnonzero(first).tolist() == list(range(0, 80, 5))

    def rows_of(**columns: object) -> np.ndarray | None:
        events = [blocks(["a", "b"], 3)]
        made = fbn.Recording.from_arrays([[np.eye(6)]], events=events, rows=[pd.DataFrame(columns, index=range(6))])
        return massive.first_tokens(made[0])

    assert rows_of(prompt=[0, 0, 1, 1, 1, 2]).tolist() == [True, False, True, False, False, True]
    assert rows_of(token="a") is None
    assert rows_of(position=[4, 5, 6, 4, 5, 6]) is None  # tokens that a model wrote
    assert massive.first_tokens(recording.pool("mean")[0]) is None


def test_prompts_that_were_shown_are_read_off_the_rows() -> None:
    recording = with_massive_unit()
    prompts = massive.shown_prompts(recording.runs)
    assert len(prompts) == 32 and prompts[1] == [6, 7, 8, 9, 10]
    assert massive.shown_prompts(recording.runs, most=2) == [prompts[0], prompts[-1]]
    with pytest.raises(ValueError, match=r"does not tell the tokens of its prompts.*give texts="):
        massive.shown_prompts(recording.pool("last").runs)


def test_wrong_requests_say_so(noise_recording: fbn.Recording) -> None:
    with pytest.raises(ValueError, match="share must be a share between 0 and 1"):
        noise_recording.massive(share=1.5)
    with pytest.raises(ValueError, match="top=0 is out of range"):
        noise_recording.massive(top=0)
    with pytest.raises(ValueError, match="texts= is what a model reads while units are zero; give model= with it"):
        noise_recording.massive(texts=["a"])
    still = fbn.Recording.from_arrays([[np.ones((4, 3))]], events=[blocks(["a", "b"], 2)])
    with pytest.raises(ValueError, match=r"no unit of external mlp.neurons \(1 x 3\) varies within a run"):
        still.massive()


def test_fewest() -> None:
    assert massive.fewest(np.full(10, 0.1), 0.3) == 3  # .1 + .1 + .1 is not .3 in floating point, nor is it 4 entries
    assert massive.fewest(np.array([0.2, 0.8]), 0.8) == 1 and massive.fewest(np.array([0.2, 0.8]), 0.9) == 2


def test_massive_units_are_counted_where_no_scan_noted_them(noise_recording: fbn.Recording) -> None:
    recording = with_massive_unit()
    (one,) = massive.massive_units_of(recording.runs)
    assert (one.layer, one.unit) == (1, 7) and one.share == pytest.approx(expected(recording)[0][107])
    assert massive.massive_units_of(noise_recording.runs) == []


def test_a_report_lays_it_out() -> None:
    found = with_massive_unit().massive(share=0.5)
    sections = found._report_sections_()
    assert [one["title"] for one in sections] == ["Massive activations", "Rows of largest variance"]
    assert sections[0]["picture"] == "massive" and sections[0]["table"] is found.units
    assert found._methods_() == [
        "Variance was summed as squared distances from each unit's mean within runs; 1 of 200 units, and 21 of 160 rows, "
        "hold 50 % of it."
    ]
