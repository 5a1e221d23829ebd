"""Coverage of the intervals over items at a nominal .95, at rates of 0 to 1 in steps of .005.

    python -m tests.benchmarks.interval_coverage          # 20 and 60 items, some seconds
    python -m tests.benchmarks.interval_coverage --full   # 20, 60 and 200 items, and means of scores

The columns: exact coverage, the least and the largest of all rates; the same of its mean over rates within .02; the
share of rates at which that mean is in .93 to .97, the share at which it is below, and the rates at which it is above.
"""

from __future__ import annotations

import sys

from tests.helpers.coverage import line, of_changes, of_means, of_shares


def main(full: bool) -> None:
    """Print the table."""
    print(f"{'interval':28s}    n   exact: min max   near: min max   in .93-.97   below   above .97 at rates")
    for n in (20, 60, 200) if full else (20, 60):
        print(line("share", n, of_shares(n)))
        for lost, coverage in of_changes(n).items():
            print(line(f"change, {lost:.0%} of it lost", n, coverage))
    if full:
        for n in (20, 60, 200):
            for name, draw, truth in (
                ("normal", lambda rng, n: rng.normal(0.3, 1.0, n), 0.3),
                ("exponential", lambda rng, n: rng.exponential(1.0, n), 1.0),
            ):
                print(f"mean of {name} scores, {n} items: {of_means(n, draw, truth, 2000):.3f} (standard error .005)")


if __name__ == "__main__":
    main("--full" in sys.argv)
