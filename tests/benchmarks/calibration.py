"""How often a token-level t test is wrong when nothing is there: ``python -m tests.benchmarks.calibration``.

AR(1) noise without any effect, 600 rows in one context, an alternating design of two conditions in blocks of 50 or 100
rows, the default design matrix with and without drift columns. Printed is the share of units with p < .05 for "a - b",
which should be .05, for

- ``ar1``    the default: each unit at its own rho, freed of the design's bias;
- ``plain``  the same with the residuals' own autocorrelation as rho, as most packages have it;
- ``newey_west``  OLS with a covariance that allows four to five rows of autocorrelation;
- ``ols``    independent rows.

With 20,000 units a share of .05 has a standard error of .0015. The tests draw smaller samples with the same functions.
"""

from __future__ import annotations

from typing import get_args

import pandas as pd

from tests.helpers.noise import Noise, false_positives, null_recording


def table(n_units: int = 20_000) -> pd.DataFrame:
    """Every cell of the comparison."""
    lines = []
    for block in (50, 100):
        for rho in (0.0, 0.3, 0.5, 0.8):
            recording = null_recording(rho, block=block, n_units=n_units, seed=round(1000 * rho) + block)
            for drift in (False, True):
                shares = {noise: false_positives(recording, noise, drift=drift) for noise in get_args(Noise)}
                lines.append({"block": block, "drift": drift, "rho": rho, **shares})
    return pd.DataFrame(lines)


def main() -> None:
    print(table().sort_values(["block", "drift", "rho"]).to_string(index=False, float_format="%.4f"))


if __name__ == "__main__":
    main()
