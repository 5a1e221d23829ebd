"""Small recordings and the tables in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

import tl_fbn as fbn


def blocks(conditions: list[str], rows: int) -> pd.DataFrame:
    """Events of blocks of equal length."""
    return pd.DataFrame(
        {"onset": [rows * i for i in range(len(conditions))], "duration": rows, "trial_type": conditions}
    )


def stored_noise(
    folder: Path, units: int, rows: int, *, n_sources: int = 0, n_runs: int = 4, block: int = 50
) -> fbn.Recording:
    """A recording of 32 layers on disk, made a layer at a time, in blocks of some rows; with sparse sources of
    heavy-tailed courses if asked.
    """
    from tl_fbn.acquisition.recording import store

    rng = np.random.default_rng(0)
    n_layers = 32
    width, length = units // n_layers, rows // n_runs
    events = pd.DataFrame({"onset": np.arange(0, length, block)})
    events["duration"] = np.minimum(block, length - events["onset"])
    events["trial_type"] = ["a" if i % 2 else "b" for i in range(len(events))]
    names = {store.tensor_name(layer, ""): width for layer in range(n_layers)}
    small = fbn.Recording.from_arrays(
        [[rng.normal(size=(length, 2)) for _ in range(n_layers)]] * n_runs,
        events=[events] * n_runs,
        path=folder / "small",
    )
    about = store.read_about(small.path)
    about["spaces"][0]["widths"] = [width] * n_layers
    about.pop("format")
    store.write_about(folder / "r", about)
    block = rng.standard_normal((length, width), dtype=np.float32)
    for number, run in enumerate(small):
        laid_out = store.lay_out(folder / "r", number, length, names)
        courses = rng.laplace(size=(length, n_sources)).astype(np.float32)
        for layer, name in enumerate(names):
            maps = np.random.default_rng(layer).standard_normal((n_sources, width), dtype=np.float32)
            maps *= 3 * (np.random.default_rng(layer + 100).random(maps.shape) < 0.02)
            laid_out.write(name, 0, block + courses @ maps)
        run_about = {"key": about["key"], "run": number}
        store.commit(laid_out, store.run_folder(folder / "r", number), run_about, run.events, run.rows)
    return fbn.Recording.open(folder / "r")


def with_massive_unit(path: Path | None = None) -> fbn.Recording:
    """Two runs of noise at 2 layers of 100 units, 16 prompts of 5 rows each, in which unit 7 of layer 1 stands at 500 in
    the first row of every prompt.
    """
    rng = np.random.default_rng(0)
    runs = [[rng.normal(size=(80, 100)) for _ in range(2)] for _ in range(2)]
    for run in runs:
        run[1][::5, 7] = 500
    rows = [
        pd.DataFrame(
            {
                "prompt": np.repeat(np.arange(16), 5) + 16 * number,
                "position": np.tile(np.arange(5), 16),
                "token_id": 1 + np.arange(80) % 40,
                "token": np.tile(["<s>", "a", "b", "c", "d"], 16),
            }
        )
        for number in range(2)
    ]
    return fbn.Recording.from_arrays(runs, events=[blocks(["a", "b"] * 4, 10)] * 2, rows=rows, path=path)
