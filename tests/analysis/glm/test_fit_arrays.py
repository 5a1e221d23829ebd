"""The runs of a fit as arrays, and back."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers.contrasts import recorded
from tl_fbn.analysis.glm.fit_arrays import arrays_of_runs, runs_of_arrays


@pytest.mark.parametrize("noise", ["ar1", "newey_west"])
def test_runs_come_back_to_the_last_bit(noise: str) -> None:
    fit = fbn.fit_glm(recorded(n_runs=2), noise=noise, progress=False)  # type: ignore[arg-type]
    arrays = arrays_of_runs(fit.runs, fit.designs)
    # each array is that of its run; two runs have as many names of each
    assert np.array_equal(arrays["fitted.1"], fit.runs[1].fitted)
    assert np.array_equal(arrays["design.0"], fit.designs[0])
    assert ("covariance.0" in arrays) == (noise == "newey_west")
    assert {name[:-1] for name in arrays if name.endswith("0")} == {name[:-1] for name in arrays if name.endswith("1")}
    runs, designs = runs_of_arrays(arrays, [list(run.columns) for run in fit.runs])
    for ours, theirs in zip(fit.runs, runs, strict=True):
        for one in fields(ours):
            assert np.array_equal(getattr(ours, one.name), getattr(theirs, one.name)), one.name
    for design, again in zip(fit.designs, designs, strict=True):
        assert design.equals(again)
