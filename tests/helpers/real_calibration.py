"""How often the GLM finds something in real activations under labels drawn at random."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import tl_fbn as fbn
from tl_fbn.acquisition.design.stimuli import topics

BLOCKS, ROWS = 12, 32


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


def recorded(model: Any, folder: Path, *, n_runs: int = 4) -> fbn.Recording:
    """Blocks of story passages in random order; the two conditions are random halves."""
    passages = [text for bank in topics().values() for text in bank]
    order = np.random.default_rng(0).permutation(len(passages))
    halves = {"one": [passages[i] for i in order[::2]], "two": [passages[i] for i in order[1::2]]}
    design = fbn.block_design(halves, n_runs=n_runs, n_cycles=BLOCKS // 2, tokens_per_block=ROWS, seed=0)
    return fbn.Scanner(model, surprisal=False).scan(design, folder, progress=False)


def false_positives(recording: fbn.Recording, n_labellings: int) -> dict[str, float]:
    """Mean share of units with p < .05 over random labellings, at block and token level."""
    rng = np.random.default_rng(1)
    arrays = [[np.array(layer[:]) for layer in run.layers.values()] for run in recording]
    rows = [run.rows for run in recording]
    shares: dict[str, list[float]] = {"block": [], "token": []}
    for _ in range(n_labellings):
        events = [
            run.events.assign(trial_type=rng.permutation(["a", "b"] * (len(run.events) // 2))) for run in recording
        ]
        fit = fbn.fit_glm(fbn.Recording.from_arrays(arrays, events=events, rows=rows))
        for level, found in shares.items():
            p = fit.contrast("a - b", level=level).p.values  # type: ignore[arg-type]
            found.append(float((p < 0.05).mean()))
    return {level: float(np.mean(found)) for level, found in shares.items()}


def table(folder: str | Path, n_labellings: int = 300) -> pd.DataFrame:
    lines = []
    for trained in (True, False):
        with tempfile.TemporaryDirectory() as work:
            recording = recorded(load(folder, trained=trained), Path(work) / "r")
            lines.append({"weights": "trained" if trained else "random"} | false_positives(recording, n_labellings))
    return pd.DataFrame(lines)
