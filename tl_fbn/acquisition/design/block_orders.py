"""The order of the blocks in a run: alternating, off/on/off or random.

Every function here returns a *schedule*: for each run a tuple with the condition of each block. Which order answers
which question is told in :mod:`tl_fbn.acquisition.design.block_design`, which checks the arguments; nothing is
checked here.

**Alternating orders** take their first cycle from a Williams square (Williams 1949): rows of ``n`` conditions in which
every condition directly precedes every other equally often, so that what one block leaves behind for the next is
balanced over runs. With an even ``n`` row ``r`` is ``zigzag + r (mod n)``, where ``zigzag`` is ``0, 1, -1, 2, -2,
...``: its successive differences ``1, -2, 3, -4, ...`` are all different modulo ``n``, so that each ordered pair
occurs exactly once in ``n`` rows. With an odd ``n`` each row is used backwards too, and the balance needs ``2 n`` runs.

Cost: proportional to the number of blocks.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

Schedule = tuple[tuple[str, ...], ...]  # (run)(block): the name of a condition


def alternating_schedule(names: Sequence[str], n_runs: int, n_cycles: int) -> Schedule:
    """One order of all conditions a run, repeated: A B C A B C; the next run takes the next row of a Williams square.

    >>> alternating_schedule(["a", "b"], n_runs=2, n_cycles=2)
    (('a', 'b', 'a', 'b'), ('b', 'a', 'b', 'a'))

    Args:
        names: Names of the conditions, in the order in which the design was given them.
        n_runs: Number of runs.
        n_cycles: How often a run repeats its order.
    """
    return tuple(tuple(names[i] for i in _williams_row(len(names), run)) * n_cycles for run in range(n_runs))


def off_on_off_schedule(names: Sequence[str], off: str, n_runs: int, n_cycles: int) -> Schedule:
    """The baseline before, between and after the blocks of all other conditions.

    >>> off_on_off_schedule(["a", "b", "rest"], "rest", n_runs=1, n_cycles=1)
    (('rest', 'a', 'rest', 'b', 'rest'),)

    Args:
        names: Names of the conditions, the baseline included.
        off: Name of the baseline.
        n_runs: Number of runs; each begins its cycle one condition later than the run before.
        n_cycles: How often a run presents each condition that is not the baseline.
    """
    others = [name for name in names if name != off]
    runs = []
    for run in range(n_runs):
        # rotated by one a run, so that over runs every condition comes early and late
        rotated = [others[(i + run) % len(others)] for i in range(len(others))]
        runs.append((off, *(block for on in rotated * n_cycles for block in (on, off))))
    return tuple(runs)


def random_schedule(names: Sequence[str], n_runs: int, n_cycles: int, seed: int) -> Schedule:
    """Every cycle a random permutation of all conditions; no condition directly follows itself.

    Args:
        names: Names of the conditions, at least two.
        n_runs: Number of runs.
        n_cycles: Number of permutations in a run.
        seed: Seed of the random permutations; the same seed gives the same schedule.
    """
    rng = random.Random(f"{seed}/order")  # a stream of its own: the order of prompts draws from other ones
    runs = []
    for _ in range(n_runs):
        blocks: list[str] = []
        for _ in range(n_cycles):
            cycle = [*names]
            rng.shuffle(cycle)
            # drawn again until it fits, which leaves every permutation that fits equally likely
            while blocks and cycle[0] == blocks[-1]:
                rng.shuffle(cycle)
            blocks += cycle
        runs.append(tuple(blocks))
    return tuple(runs)


def _williams_row(n: int, row: int) -> list[int]:
    """Row of the Williams square of ``n`` conditions, as numbers of conditions; rows repeat after ``n``, or ``2 n``."""
    zigzag = [(j // 2 + 1 if j % 2 else n - j // 2) % n for j in range(n)]  # 0, 1, -1, 2, -2, ... (mod n)
    base = [(item + row) % n for item in zigzag]  # zigzag + row (mod n)
    # an odd n needs the n rows backwards too: runs n to 2 n - 1
    return base[::-1] if n % 2 and (row // n) % 2 else base
