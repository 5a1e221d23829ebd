"""What tests of bad arguments call functions with: small recordings, networks, batteries, studies and files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch

import tl_fbn as fbn
from tests.helpers.models import tiny_model
from tests.helpers.recordings import blocks
from tl_fbn.attribution import ItemScores


@dataclass(frozen=True)
class Subject:
    """A function, and arguments with which it returns."""

    call: Callable[..., Any]
    arguments: dict[str, Any]

    @classmethod
    def of(cls, call: Callable[..., Any], /, **arguments: Any) -> Subject:
        return cls(call, arguments)


CHATS = [
    [{"role": "user", "content": "sort b a"}, {"role": "assistant", "content": "a b"}],
    [{"role": "user", "content": "sort d c"}, {"role": "assistant", "content": "c d"}],
]
EXAMPLES = [("sort", f"{word} a", f"a {word}") for word in "bcdefgh"]


def recording(seed: int = 0, path: Path | None = None, tokens: int = 0) -> fbn.Recording:
    """Two runs of noise at the tiny model's units, 8 blocks of 10 rows of conditions a and b, and a source of two units."""
    rng = np.random.default_rng(seed)
    runs = [[rng.normal(size=(80, 24)) for _ in range(2)] for _ in range(2)]
    for run in runs:
        run[0][:, :3] += 3 * np.repeat([1.0, 0.0] * 4, 10)[:, None]
        run[1][:, 4:6] += 4 * np.random.default_rng(seed + 9).laplace(size=(80, 1))
    ids = [tokens + 80 * run + np.arange(80) for run in range(2)]
    rows = [
        pd.DataFrame(
            {
                "prompt": np.repeat(np.arange(16), 5) + 16 * run,
                "position": np.tile(np.arange(5), 16),
                "token_id": ids[run],
                "token": "w",
                "surprisal": 1.0,
            }
        )
        for run in range(2)
    ]
    return fbn.Recording.from_arrays(runs, events=[blocks(["a", "b"] * 4, 10)] * 2, rows=rows, path=path)


def materials(folder: Path, demo: Any) -> SimpleNamespace:
    """All of them by name.

    Args:
        folder: An empty folder, in which files are put for functions that read some.
        demo: The embedded model.
    """
    model = tiny_model()
    prompts = {name: [[i, j, 1 + (name == "b")] for i in range(3, 11) for j in range(8)] for name in "ab"}
    design = fbn.block_design(prompts, seed=0, n_runs=2, n_cycles=2, tokens_per_block=12)
    stored = recording(path=folder / "recording")
    other = recording(1, tokens=1000)
    fit = fbn.fit_glm(stored, progress=False)
    contrast = fit.contrast("a - b")
    f_contrast = fit.contrast(["a - b", "a"])
    network = contrast.threshold(top=5, name="a")
    network.save(folder / "network.safetensors")
    second = fbn.Network.from_indices(stored.space, [1, 2, 30], name="second")
    space = stored.space
    atlas = fbn.find_networks(stored, 3, seed=0, n_restarts=2, threshold=1.0, progress=False)
    scores = fbn.UnitMap(space, np.arange(48.0), "attribution")
    test = fbn.max_t(stored, "a - b", n_permutations=20, seed=0, progress=False)
    battery = fbn.Battery.from_pairs(
        {name: [((i, 2), (3 + i,)) for i in some] for name, some in {"a": (1, 2, 3, 4), "b": (5, 6, 7, 8)}.items()}
    )
    worded = fbn.demo.battery(n=2).select(["sort", "reverse"])
    text_scores = fbn.cgvst(demo, CHATS, progress=False)
    demo_network = text_scores.top(20)
    layout = fbn.token_layout(demo, CHATS[0])
    run = stored[0]
    study = fbn.lesion_study(model, {"a": network}, battery, seed=0, n_controls=2, n_bootstrap=20, progress=False)
    dose = fbn.dose_response(
        model, network, battery, seed=0, gains=(0, 1), n_controls=2, n_bootstrap=20, progress=False
    )
    gain = fbn.calibrate_gain(
        model, network, battery, seed=0, gains=(1, 2), n_controls=2, n_bootstrap=20, tolerance=None, progress=False
    )
    item_scores = ItemScores(space, np.arange(96.0).reshape(2, 48))
    pairs = {"model": model, "network": network}
    maps = {"a": scores, "b": contrast.t}
    studied = {"model": model, "battery": battery, "seed": 0, "n_controls": 2, "n_bootstrap": 20, "progress": False}
    text_files = {
        "prompts": ("prompts.tsv", "condition\tprompt\na\tone two\nb\tthree four\n"),
        "events": ("sub_events.tsv", "onset\tduration\ttrial_type\n0\t10\ta\n10\t10\tb\n"),
        "examples": ("examples.jsonl", json.dumps({"instruction": "sort", "input": "b a", "output": "a b"}) + "\n"),
        "items": ("items.jsonl", json.dumps({"prompt": "a", "answer": "b"}) + "\n"),
    }
    at = {}
    for kind, (name, text) in text_files.items():
        at[kind] = folder / name
        at[kind].write_text(text, encoding="utf-8")
    pruned = fbn.prune(demo, keep=text_scores.top(0.5), progress=False)
    pruned.save_pretrained(folder / "pruned")
    scanner = fbn.Scanner(model, batch_size=8)
    scored = fbn.demo.battery(n=2).select(["sort"]).score(demo)["sort"]
    task = fbn.demo.battery(n=2).tasks["sort"]
    networks = {"a": network, "b": second}

    def under(intervention: Callable[..., Any]) -> Callable[..., Any]:
        """The intervention, and one pass of the model under it."""

        def call(**arguments: Any) -> None:
            with intervention(**arguments):
                model(torch.tensor([[1, 2, 3]]))

        return call

    return SimpleNamespace(
        folder=folder,
        demo=demo,
        under=under,
        at=at,
        atlas=atlas,
        battery=battery,
        contrast=contrast,
        demo_network=demo_network,
        design=design,
        dose=dose,
        f_contrast=f_contrast,
        fit=fit,
        gain=gain,
        item_scores=item_scores,
        layout=layout,
        maps=maps,
        model=model,
        network=network,
        networks=networks,
        other=other,
        pairs=pairs,
        prompts=prompts,
        pruned=pruned,
        run=run,
        scanner=scanner,
        scored=scored,
        scores=scores,
        second=second,
        space=space,
        stored=stored,
        studied=studied,
        study=study,
        task=task,
        test=test,
        worded=worded,
    )
