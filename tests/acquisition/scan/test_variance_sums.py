"""Sums of a scan: the variance of what lies on disk, in first tokens and in single units, at every site and number type."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tl_fbn as fbn
from tests.helpers.designs import small_design
from tests.helpers.models import tiny_model
from tl_fbn.acquisition.model.sites import Tap
from tl_fbn.acquisition.recording.massive_units import first_token_shares, stated_units
from tl_fbn.acquisition.scan.variance_sums import VarianceSums


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("batch_size", [1, 8])
def test_a_scan_notes_what_its_numbers_say(tmp_path, dtype, batch_size):
    scanner = fbn.Scanner(tiny_model(), site=["mlp.neurons", "resid.post"], dtype=dtype, batch_size=batch_size)
    recording = scanner.scan(small_design(), tmp_path / "r", progress=False)
    for site in recording.sites:
        one = recording.site(site)
        runs = [run.about for run in one]
        found = one.massive()
        assert first_token_shares(runs, site) == pytest.approx(found.first, rel=1e-3)
        for run, about in zip(one, runs, strict=True):
            values = run.read().astype(np.float64)
            squares = np.square(values - values.mean(0)).sum(0)
            sums = about["variance"][site]
            assert sums["rows"] == run.n_rows and sums["first_rows"] == int((run.rows["position"] == 0).sum())
            assert sums["total"] == pytest.approx(squares.sum(), rel=1e-4)
            listed = {one.space.index(layer, unit): held for layer, unit, held in sums["units"]}
            expected = np.flatnonzero(squares >= 0.01 * squares.sum())
            assert set(listed) == set(expected.tolist())
            np.testing.assert_allclose([listed[unit] for unit in expected.tolist()], squares[expected], rtol=1e-3)
        assert stated_units(runs, one.space) == []  # of 48 units none can hold 100 times the average


def test_rows_without_a_first_token_note_nothing(tmp_path):
    model = tiny_model()
    pooled = fbn.Scanner(model, pool="mean").scan(small_design(), tmp_path / "pooled", progress=False)
    written = fbn.Scanner(model).scan(small_design(generate=True), tmp_path / "written", progress=False)
    for recording in (pooled, written):
        assert all("variance" not in run.about for run in recording)
    scanned = fbn.Scanner(model).scan(small_design(), tmp_path / "scanned", progress=False)
    assert all("variance" in run.about for run in scanned)
    scanned.save(tmp_path / "copy")
    assert [run.about["variance"] for run in fbn.Recording.open(tmp_path / "copy")] == [
        run.about["variance"] for run in scanned
    ]
    for other in (scanned.pool("last"), fbn.ica.rotated_basis(scanned, seed=0)):
        assert all("variance" not in run.about for run in other)


def test_a_massive_unit_is_noted_and_goes_into_provenance(tmp_path):
    model = tiny_model(d_mlp=300)
    with torch.no_grad():  # one neuron of layer 1 answers 10,000 times as strongly
        model.blocks[1].mlp.W_in[:, 7] *= 1e4
    recording = fbn.Scanner(model).scan(small_design(), tmp_path / "r", progress=False)
    ((layer, unit, share),) = recording.provenance["massive"]
    assert (layer, unit) == (1, 7) and share == pytest.approx(recording.massive().unit_shares[307], abs=1e-3)
    contrast = fbn.fit_glm(recording, progress=False).contrast("a - b")
    assert contrast.provenance["massive"] == recording.provenance["massive"]
    with pytest.warns(UserWarning, match=r"unit 7 of layer 1 \([0-9.]+ % of the variance alone; in N0"):
        fbn.find_networks(recording, 2, n_restarts=1, standardize=False, clip=None, seed=0, progress=False)


def test_sums_that_would_be_rounding_are_left_out():
    sums = VarianceSums()
    values = 1e4 + torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    sums.add(Tap("far", 0, "h", 3), values, [0])
    sums.add(Tap("near", 0, "h", 3), values - 1e4, [0])
    assert list(sums.description()) == ["near"]
    assert VarianceSums().description() == {}
