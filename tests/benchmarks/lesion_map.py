"""What lesion maps find: units of the embedded model in two studies of other random lesions; errors; time.

    python -m tests.benchmarks.lesion_map            # four minutes

Two studies of 400 controls each, of networks of 5 % and 15 % of the neurons and from other seeds: units of p <= .05 by
task, and which of the first study's the second finds again. Then the rates at which lesions that do nothing give a
corrected p and a p of R2 of at most .05 (drops skewed, two source networks of other sizes), which are to be .05, and
the seconds that a map of 800 lesions of 46,080 units, eight tasks, takes.
"""

from __future__ import annotations

import time

import numpy as np

import tl_fbn as fbn
from tests.helpers.random_lesions import drawn_units, study_of_lesions


def found_by(share: float, seed: int) -> set[tuple[str, int]]:
    """Task and flat index of the units that the controls of a study find in the embedded model."""
    model = fbn.demo.load_model()
    networks = {"sort": fbn.cgvst(model, fbn.chats("sort", n=30), tokens="answer", progress=False).top(share)}
    options = {"n_controls": 400, "seed": seed, "metric": "log_likelihood", "progress": False}
    study = fbn.lesion_study(model, networks, fbn.demo.battery(n=30), **options)
    found = study.lesion_map(progress=False)
    print(f"{found!r}\n{found.summary().round(3).to_string(index=False)}\n{found.verdict()}\n", flush=True)
    return {(task, int(unit)) for task in found.tasks for unit in found.threshold(task).indices}


def null_rates(trials: int) -> tuple[float, float]:
    """How often lesions that do nothing give a corrected p, and a p of R2, of at most .05."""
    units, r2 = 0, 0
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        drops = rng.exponential(0.1, (2, 50, 2)) * np.array([1.0, 3.0])[:, None, None]
        study = study_of_lesions(drawn_units(rng, (30, 60), 50, 600), drops, (300, 300))
        line = study.lesion_map(seed=seed, n_permutations=199, progress=False).summary().iloc[0]
        units += line["found"] > 0
        r2 += line["r2_p"] <= 0.05
    return units / trials, r2 / trials


def main() -> None:
    """Print all of it."""
    first, second = found_by(0.05, 0), found_by(0.15, 1)
    print(f"{len(first)} found by the first study, {len(first & second)} of them by the second, too\n")
    trials = 500
    of_units, of_r2 = null_rates(trials)
    print(f"at most .05 in {trials} nulls: corrected p {of_units:.3f}, p of R2 {of_r2:.3f}\n", flush=True)
    for size in (46, 460, 2304):
        rng = np.random.default_rng(0)
        units = drawn_units(rng, [size] * 8, 100, 46_080)
        study = study_of_lesions(units, rng.exponential(0.1, (8, 100, 8)), (46_080,))
        start = time.perf_counter()
        found = study.lesion_map(progress=False)
        print(f"{size:5d} units a lesion: {time.perf_counter() - start:.0f} s; {found!r}", flush=True)


if __name__ == "__main__":
    main()
