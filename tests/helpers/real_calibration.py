"""How often the GLM finds something in real activations under labels drawn at random."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import tl_fbn as fbn
from tl_fbn.acquisition.design.stimuli import topics

BLOCKS, ROWS = 12, 32
LEVELS = ("block", "token", "run")
PLANTED = 0.15  # effect of a label, in standard deviations of the unit's rows without first tokens


def load(folder: str | Path, *, trained: bool) -> Any:
    """A Hugging Face folder as a bridge, as it is or with random weights."""
    import torch
    from transformer_lens.model_bridge import TransformerBridge
    from transformer_lens.model_bridge.sources import build_bridge_from_module
    from transformers import AutoConfig, AutoModelForCausalLM

    whole = TransformerBridge.boot_transformers(str(folder)).eval()
    if trained:
        return whole
    torch.manual_seed(0)
    plain = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder)).eval()
    return build_bridge_from_module(
        plain, type(plain).__name__, hf_config=plain.config, tokenizer=whole.tokenizer
    ).eval()


def passages() -> list[str]:
    """The package's stories of all topics."""
    return [text for bank in topics().values() for text in bank]


def sentences() -> list[str]:
    """The sentences of the stories, so that a block holds several prompts, each with a first token."""
    found = [one.strip() for text in passages() for one in re.split(r"(?<=[.!?])\s", text)]
    return list(dict.fromkeys(one for one in found if len(one) > 15))


def task_prompts() -> list[str]:
    """Prompts of three tasks of the embedded model, mixed."""
    return [prompt for name in ("sort", "reverse", "add") for prompt in fbn.prompts(name)]


def recorded(
    model: Any,
    folder: Path,
    *,
    n_runs: int = 4,
    prompts: Sequence[str] | None = None,
    rows: int = ROWS,
    site: str = "mlp.neurons",
) -> fbn.Recording:
    """Blocks of prompts, by default story passages, in random order; the two conditions are random halves."""
    pool = passages() if prompts is None else list(prompts)
    order = np.random.default_rng(0).permutation(len(pool))
    halves = {"one": [pool[i] for i in order[::2]], "two": [pool[i] for i in order[1::2]]}
    design = fbn.block_design(halves, n_runs=n_runs, n_cycles=BLOCKS // 2, tokens_per_block=rows, seed=0)
    return fbn.Scanner(model, site=site, surprisal=False).scan(design, folder, progress=False)


def false_positives(
    recording: fbn.Recording, n_labellings: int, *, units: np.ndarray | None = None, **options: Any
) -> dict[str, float]:
    """Mean share of units with p < .05 over random labellings of blocks, at every level.

    Args:
        recording: Activations under conditions that are chance, two of them, in equal numbers of blocks a run.
        n_labellings: Number of labellings.
        units: (some,) flat indices of the units that are looked at; None for all.
        **options: Options of :func:`tl_fbn.fit_glm`.
    """
    found = _rejections(recording, n_labellings, units, options)
    return {level: float(share.mean()) for level, share in found.items()}


def _rejections(
    recording: fbn.Recording,
    n_labellings: int,
    units: np.ndarray | None,
    options: Mapping[str, Any],
    *,
    planted: bool = False,
) -> dict[str, np.ndarray]:
    """(labelling, unit) True where p < .05, at every level; if asked for, ``planted``: by blocks, with an effect."""
    rng = np.random.default_rng(1)
    arrays = [run.read(units=units).astype(np.float64) for run in recording]
    rows = [run.rows for run in recording]
    first = np.concatenate([run.segment_starts for run in recording])
    sd = np.concatenate(arrays)[~first].std(0)
    n_units = arrays[0].shape[1]
    found: dict[str, list[np.ndarray]] = {level: [] for level in (*LEVELS, *(["planted"] if planted else []))}
    for _ in range(n_labellings):
        events = [
            run.events.assign(trial_type=rng.permutation(["a", "b"] * (len(run.events) // 2))) for run in recording
        ]
        shown = arrays
        if planted:  # every unit once more, with an effect: the same fit tests both
            # not in first tokens, which a causal model reads before it can know the condition
            of_a = [
                (np.repeat(one["trial_type"] == "a", one["duration"]).to_numpy() & ~run.segment_starts)[:, None]
                for one, run in zip(events, recording, strict=True)
            ]
            shown = [np.hstack([y, y + PLANTED * sd * label]) for y, label in zip(arrays, of_a, strict=True)]
        labelled = fbn.Recording.from_arrays([[array] for array in shown], events=events, rows=rows)
        fit = fbn.fit_glm(labelled, progress=False, **options)
        below = {level: fit.contrast("a - b", level=level).p.values < 0.05 for level in LEVELS}  # type: ignore[arg-type]
        for level in LEVELS:
            found[level].append(below[level][:n_units])
        if planted:
            found["planted"].append(below["block"][n_units:])
    return {name: np.array(shares) for name, shares in found.items()}


def table(folder: str | Path, n_labellings: int = 300) -> pd.DataFrame:
    """A line for the model as it was trained and one for random weights."""
    lines = []
    for trained in (True, False):
        with tempfile.TemporaryDirectory() as work:
            recording = recorded(load(folder, trained=trained), Path(work) / "r")
            lines.append({"weights": "trained" if trained else "random"} | false_positives(recording, n_labellings))
    return pd.DataFrame(lines)


def first_token_table(recording: fbn.Recording, n_labellings: int, *, every: int = 1) -> pd.DataFrame:
    """A line without and one with the column for first tokens: error rates, and how often an effect is found.

    Columns ``block``, ``token`` and ``run`` are of all units; ``token, quarter`` is of the quarter of units whose
    variance lies in first tokens most; ``planted`` is the share of units in which an effect of .15 standard
    deviations of ordinary rows is found at the block level, ``planted, quarter`` that of the quarter.

    Args:
        recording: Activations under conditions that are chance.
        n_labellings: Number of labellings.
        every: One unit in so many is looked at.
    """
    units = np.arange(0, recording.space.n_units, every)
    quarter = _share_of_first_tokens(recording, units)
    quarter = quarter >= np.quantile(quarter, 0.75)
    lines = []
    for first_token in (False, True):
        found = _rejections(recording, n_labellings, units, {"first_token": first_token}, planted=True)
        lines.append(
            {"first_token": "yes" if first_token else "no"}
            | {level: found[level].mean() for level in LEVELS}
            | {"token, quarter": found["token"][:, quarter].mean()}
            | {"planted": found["planted"].mean(), "planted, quarter": found["planted"][:, quarter].mean()}
        )
    return pd.DataFrame(lines)


def _share_of_first_tokens(recording: fbn.Recording, units: np.ndarray) -> np.ndarray:
    """(unit,) share of its variance that a unit has in first tokens."""
    first = total = np.zeros(len(units))
    for run in recording:
        values = run.read(units=units).astype(np.float64)
        squares = np.square(values - values.mean(0))
        total = total + squares.sum(0)
        first = first + squares[run.segment_starts].sum(0)
    return first / np.where(total > 0, total, 1.0)
