"""Errors of the 95 % interval of isolation at either end, beside a bootstrap that chooses the worst task in each draw.

    python -m tests.benchmarks.isolation_coverage            # 400 studies a line, two minutes
    python -m tests.benchmarks.isolation_coverage --full     # 2,000 studies a line

Each end is to err in at most .025 of studies. *Low* is how often the lower end lies above the truth, which is what a
claim of isolation risks; *high* how often the upper end lies below it. Of nats the noise is exponential, of a standard
deviation of 1. The first number of a line is the drop of the own task, the others are as many as it says and lose
alike, where the choice of the worst one biases most.
"""

from __future__ import annotations

import sys

from tests.helpers.coverage import of_isolation

RIGHT_ANSWERS = [(0.8, 0.1), (0.5, 0.5), (0.3, 0.05), (0.9, 0.0), (0.1, 0.3)]
NATS = [(1.0, 0.2), (0.5, 0.5), (2.0, 0.5), (1.0, 0.0)]


def main(full: bool) -> None:
    """Print the table."""
    trials = 2000 if full else 400
    print(f"{'drops':36s}    n   ours: low high   bootstrap: low high")
    for metric, cases in (("exact_match", RIGHT_ANSWERS), ("log_likelihood", NATS)):
        for own, other in cases:
            for n_others in (1, 3, 7, 31):
                for n in (20, 80) if n_others < 31 else (80,):
                    found = of_isolation([own, *[other] * n_others], n, trials, metric=metric)
                    ends = "        ".join(f"{low:.3f} {high:.3f}" for low, high in found.values())
                    print(f"{metric:14s} {own:.1f} and {n_others:2d} x {other:4.2f}   {n:4d}   {ends}", flush=True)


if __name__ == "__main__":
    main("--full" in sys.argv)
