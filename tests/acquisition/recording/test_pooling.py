"""One row a prompt: later equals at scan time, tables count prompts, prompts that were cut are flagged."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import tl_fbn as fbn
from tests.helpers.designs import small_design
from tests.helpers.models import tiny_model
from tests.helpers.recordings import blocks
from tl_fbn.acquisition.recording.pooling import pool_rows, pooled_tables

STARTS = np.array([0, 3, 4])


def test_rows_are_pooled_by_prompt() -> None:
    values = np.arange(12, dtype=np.float32).reshape(6, 2)
    np.testing.assert_array_equal(pool_rows(values, STARTS, 6, "last"), values[[2, 3, 5]])
    np.testing.assert_array_equal(pool_rows(values, STARTS, 6, "mean"), [[2, 3], [6, 7], [9, 10]])


def test_tables_count_prompts() -> None:
    rows = pd.DataFrame(
        {
            "prompt": [7, 7, 7, 8, 9, 9],
            "block": [0, 0, 0, 1, 1, 1],
            "trial_type": ["a", "a", "a", "b", "b", "b"],
            "surprisal": [np.nan, 1.0, 3.0, np.nan, np.nan, 4.0],
            "flags": ["bos", "", "", "", "", "special cut"],
        }
    )
    events, table = pooled_tables(blocks(["a", "b"], 3), rows, STARTS, 6)
    assert events.to_dict("list") == {"onset": [0, 1], "duration": [1, 2], "trial_type": ["a", "b"]}
    assert table["prompt"].tolist() == [7, 8, 9]
    assert table["n_tokens"].tolist() == [3, 1, 2]
    assert table["trial_type"].tolist() == ["a", "b", "b"]
    np.testing.assert_array_equal(table["surprisal"], [2.0, np.nan, 4.0])
    assert table["flags"].tolist() == ["", "", "cut"]


@pytest.mark.parametrize("how", ["last", "mean"])
def test_pooling_at_scan_time_equals_pooling_later(how: str, tmp_path) -> None:
    model = tiny_model()
    whole = fbn.Scanner(model).scan(small_design(), tmp_path / "whole", progress=False)
    at_once = fbn.Scanner(model, pool=how).scan(small_design(), tmp_path / how, progress=False)
    later = whole.pool(how)  # type: ignore[arg-type]
    assert len({whole.key, at_once.key, later.key}) == 3
    assert at_once.n_rows == later.n_rows < whole.n_rows
    for a, b in zip(at_once, later, strict=True):
        np.testing.assert_allclose(a.read(), b.read(), rtol=1e-5, atol=1e-6)
        pd.testing.assert_frame_equal(a.rows, b.rows, check_exact=False)
        pd.testing.assert_frame_equal(a.events, b.events)
    plan = fbn.Scanner(model, pool=how).plan(small_design())
    assert (plan.n_rows, plan.n_bytes) == (at_once.n_rows, 4 * at_once.n_rows * at_once.space.n_units)


def test_a_localizer_on_pooled_prompts_finds_the_units_that_differ() -> None:
    rng = np.random.default_rng(0)
    signal = np.repeat(np.tile([0.0, 1.0], 8), 10)[:, None] * (np.arange(20) < 5)
    rows = [pd.DataFrame({"prompt": np.arange(160) // 5})] * 2
    recording = fbn.Recording.from_arrays(
        [[signal + 0.5 * rng.normal(size=(160, 20))] for _ in range(2)],
        events=[blocks(["a", "b"] * 8, 10)] * 2,
        rows=rows,
    )
    contrast = fbn.fit_glm(recording.pool("mean"), noise="ols").contrast("b - a", level="token")
    assert contrast.threshold(fwe=0.05).members.tolist() == [True] * 5 + [False] * 15


def test_first_rows_are_left_out_of_means_by_hand() -> None:
    """Two blocks of six rows: prompts of three, two and one row (the last cut by its block)."""
    y = np.arange(24, dtype=float).reshape(12, 2) ** 2
    rows = pd.DataFrame({"prompt": [0, 0, 0, 1, 1, 2, 3, 3, 3, 4, 4, 5], "flags": ["", "", "", "", "", "cut"] * 2})
    recording = fbn.Recording.from_arrays([[y]], events=[blocks(["a", "b"], 6)], rows=[rows])
    found = recording.pool("mean", drop_first=1)
    np.testing.assert_allclose(found[0].layer(0), [y[1:3].mean(0), y[4], y[7:9].mean(0), y[10]])
    assert found[0].rows["prompt"].tolist() == [0, 1, 3, 4] and found[0].rows["n_tokens"].tolist() == [2, 1, 2, 1]
    assert found[0].events[["onset", "duration", "trial_type"]].to_numpy().tolist() == [[0, 2, "a"], [2, 2, "b"]]
    assert recording.pool("mean").key != found.key
    with pytest.raises(ValueError, match="drop_first=2 leaves nothing of 2 of 6 prompts"):
        recording.pool("mean", drop_first=2)  # prompts of two rows that were not cut
    assert recording.pool("mean", drop_first=0).key == recording.pool("mean").key
    np.testing.assert_array_equal(recording.pool("last", drop_first=1)[0].layer(0), y[[2, 4, 8, 10]])


def test_what_cannot_be_pooled_says_so(noise_recording, unchecked) -> None:
    with pytest.raises(ValueError, match="how must be 'last' or 'mean'; got 'first'"):
        noise_recording.pool("first")
    prompts = pd.DataFrame({"prompt": np.arange(80) // 4})
    short = fbn.Recording.from_arrays(
        [[run.layer(0)] for run in noise_recording], events=[run.events for run in noise_recording], rows=[prompts] * 2
    )
    with pytest.raises(
        ValueError, match="drop_first=4 leaves nothing of 20 of 20 prompts, the shortest of which has 4"
    ):
        short.pool("mean", drop_first=4)
    with pytest.raises(ValueError, match="row table's column prompt"):
        noise_recording.pool("mean")
    with pytest.raises(ValueError, match="pool must be 'token', 'last' or 'mean'; got 'sum'"):
        fbn.Scanner(tiny_model(), pool="sum")
