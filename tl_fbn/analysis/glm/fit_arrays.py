"""The runs of a fitted GLM as arrays of a file, and back: the number of the run stands after an array's name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tl_fbn.analysis.glm.run_fit import RunFit
from tl_fbn.units.result import Arrays

# fields of a RunFit that are arrays, and their names on disk, to which the number of the run is added
_RUN_ARRAYS = {
    name: name
    for name in (
        "to_coordinates",
        "to_columns",
        "constant",
        "fitted",
        "shift",
        "rho",
        "block_means",
        "block_design",
        "within",
    )
} | {"innovation_variance": "noise"}


def arrays_of_runs(runs: Sequence[RunFit], designs: Sequence[pd.DataFrame]) -> Arrays:
    """Every array of a fit by its name in a file: ``"fitted.0"`` is the field fitted of run 0.

    Args:
        runs: The fit of each run.
        designs: The design matrix of each run, (row, regressor).
    """
    arrays: Arrays = {f"design.{i}": design.to_numpy(float) for i, design in enumerate(designs)}
    for i, run in enumerate(runs):
        arrays |= {f"{on_disk}.{i}": getattr(run, name) for name, on_disk in _RUN_ARRAYS.items()}
        arrays[f"quadratic.{i}"] = np.array(run.quadratic)
        if run.covariance is not None:
            arrays[f"covariance.{i}"] = run.covariance
    return arrays


def runs_of_arrays(
    arrays: Arrays, columns: Sequence[Sequence[str]]
) -> tuple[tuple[RunFit, ...], tuple[pd.DataFrame, ...]]:
    """The fit and the design matrix of each run.

    Args:
        arrays: What :func:`arrays_of_runs` returned.
        columns: Names of the columns of each run's design.
    """
    runs: list[RunFit] = []
    designs: list[pd.DataFrame] = []
    for i, names in enumerate(columns):
        a, b, c = arrays[f"quadratic.{i}"]
        designs.append(pd.DataFrame(arrays[f"design.{i}"], columns=list(names)))
        # n_rows is not stored: it is that of the design; covariance is there for "newey_west" only
        fitted = RunFit(
            columns=tuple(names),
            quadratic=(a, b, c),
            n_rows=len(designs[-1]),
            covariance=arrays.get(f"covariance.{i}"),
            **{name: arrays[f"{on_disk}.{i}"] for name, on_disk in _RUN_ARRAYS.items()},
        )
        runs.append(fitted)
    return tuple(runs), tuple(designs)
