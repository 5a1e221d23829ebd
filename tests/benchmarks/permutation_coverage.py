"""Coverage of the intervals of Shapley values over permutations at a nominal .95, on games of eight players.

    python -m tests.benchmarks.permutation_coverage      # half a minute

A line a game, a column a number of permutations; 300 seeds, mean over players.
"""

from __future__ import annotations

from tests.helpers.games import hard_games, permutation_coverage

NUMBERS = (10, 20, 50, 100, 200)


def main() -> None:
    """Print the table."""
    print(f"{'game':16s}" + "".join(f"{n:>7d}" for n in NUMBERS))
    for name, worth in hard_games().items():
        print(f"{name:16s}" + "".join(f"{permutation_coverage(worth, n, 300):7.3f}" for n in NUMBERS))


if __name__ == "__main__":
    main()
