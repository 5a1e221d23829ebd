"""Inter-model correlation at a nominal .95: coverage of its intervals, and how often nulls find what is not there.

    python -m tests.benchmarks.inter_model_coverage      # five minutes

The first table has a line for each kind of interval, number of models and share of variance that they have in common,
a column for each number of texts. The second has a line for each null and number of models, and columns for texts that
begin alike by 0 (nothing in common) and by 1 (a deviation of the course), 30 texts: the share of p <= .05.
"""

from __future__ import annotations

from typing import get_args

from tests.helpers.common_texts import covered, rejected
from tl_fbn.analysis.networks.leave_one_out import IntervalKind, Null

N_TEXTS = (5, 10, 30, 100)


def main() -> None:
    """Print both tables."""
    print(f"{'coverage of intervals':34s}" + "".join(f"{n:>8d}" for n in N_TEXTS))
    for kind in get_args(IntervalKind):
        for n_models in (2, 5):
            for shared in (0.0, 0.3, 0.8):
                trials = 1000 if kind == "jackknife" else 300
                found = [covered(kind, n_models, n, shared, trials) for n in N_TEXTS]
                print(
                    f"{kind:10s} {n_models:2d} models, share {shared:.1f}   " + "".join(f"{one:8.3f}" for one in found)
                )
    print(f"\n{'p <= .05, texts begin alike by':34s}{0:>8d}{1:>8d}")
    for null in get_args(Null):
        for n_models in (2, 5):
            found = [rejected(null, n_models, 30, place, 1000) for place in (0.0, 1.0)]
            print(f"{null:10s} {n_models:2d} models{'':13s}" + "".join(f"{one:8.3f}" for one in found))


if __name__ == "__main__":
    main()
