"""Small designs of random tokens."""

from __future__ import annotations

import numpy as np
import pandas as pd

import tl_fbn as fbn
from tests.helpers.figures import HOSTILE


def token_prompts(n: int, *, seed: int = 0, longest: int = 12, vocabulary: int = 50) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, vocabulary, rng.integers(3, longest + 1)).tolist() for _ in range(n)]


def pools(n_conditions: int, n_prompts: int = 200) -> dict[str, list[str]]:
    """Conditions a, b, c ... with distinct prompts."""
    return {name: [f"{name} {i}" for i in range(n_prompts)] for name in "abcdefg"[:n_conditions]}


def small_design(*, seed: int = 0, n_runs: int = 2, **options) -> fbn.BlockDesign:
    prompts = {"a": token_prompts(60, seed=1), "b": token_prompts(60, seed=2)}
    return fbn.block_design(prompts, n_runs=n_runs, n_cycles=2, tokens_per_block=20, seed=seed, **options)


def confounded() -> pd.DataFrame:
    """A design of two conditions that exclude each other, a hostile name that drifts, and a column that never
    varies.
    """
    a = np.repeat([1.0, 0.0, 1.0, 0.0], 300)
    return pd.DataFrame({"a": a, "b": 1 - a, HOSTILE: np.linspace(-2, 2, 1200), "flat": 3.0})
