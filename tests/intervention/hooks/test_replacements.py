"""What silenced units are given: tables and the lines that tokens take."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import tl_fbn as fbn
from tests.helpers.models import CPU
from tests.helpers.recordings import blocks
from tl_fbn.acquisition.model.pass_tokens import Reading
from tl_fbn.intervention.hooks.replacements import N_DRAWS, N_TEXTS, Replacement, standard_deviation

LENGTHS = [3, 5]


def recording(n_runs: int = 2) -> fbn.Recording:
    """Runs of two texts; unit u of layer l at run r, text t, position p is 1000 r + 100 t + 10 p + u + l / 2."""
    runs, rows = [], []
    for run in range(n_runs):
        table = pd.DataFrame(
            {
                "prompt": np.repeat([0, 1], LENGTHS) + 2 * run,
                "position": np.concatenate([np.arange(n) for n in LENGTHS]),
                "trial_type": "a",
            }
        )
        at = 1000 * run + 100 * (table["prompt"] % 2).to_numpy() + 10 * table["position"].to_numpy()
        runs.append([(at[:, None] + np.arange(4) + layer / 2).astype(np.float32) for layer in range(2)])
        rows.append(table)
    return fbn.Recording.from_arrays(runs, events=[blocks(["a"], 8)] * n_runs, rows=rows)


def test_means_by_position_and_behind_the_longest_text():
    made = Replacement("position_mean", recording())
    values = made.values(1, np.array([1, 3]))
    assert values.shape == (6, 2)
    own = np.array([1.5, 3.5])
    for position in range(3):
        np.testing.assert_allclose(values[position], 550 + 10 * position + own)
    for position in (3, 4):
        np.testing.assert_allclose(values[position], 600 + 10 * position + own)
    np.testing.assert_allclose(values[5], recording().mean()[[5, 7]])
    assert made.lines is not None
    assert made.lines.index(Reading(3), 2, 4, CPU).tolist() == [[3, 4, 5, 5]] * 2


def test_a_text_is_drawn_whole_and_goes_round():
    made = Replacement("resample", recording(), seed=5)
    values = made.values(0, np.array([2]))[:, 0] - 2
    assert sorted(values.tolist()) == sorted(
        1000 * run + 100 * text + 10 * p for run in range(2) for text in range(2) for p in range(LENGTHS[text])
    )
    assert made.lines is not None
    for row in values[made.lines.index(Reading(0), 30, 12, CPU).numpy()]:
        text = row - row % 100
        assert len(set(text)) == 1
        n = LENGTHS[int(row[0] // 100 % 10)]
        assert (row % 100 == 10 * (np.arange(12) % n)).all()
    drawn = {values[line] for line in made.lines.index(Reading(0), 30, 1, CPU).flatten().tolist()}
    assert len(drawn) == 4  # thirty texts of a batch draw each of the four


def test_draws_depend_on_place_and_seed_only():
    made, other = Replacement("noise", recording(), seed=1), Replacement("noise", recording(), seed=2)
    assert made.lines is not None
    assert other.lines is not None
    whole = made.lines.index(Reading(0), 3, 9, CPU)
    step = made.lines.index(Reading(8), 3, 1, CPU)
    assert torch.equal(whole[:, 8:], step)
    assert not torch.equal(whole, other.lines.index(Reading(0), 3, 9, CPU))
    many = made.lines.index(Reading(0), 64, 512, CPU).flatten()
    counts = np.bincount(many.numpy(), minlength=N_DRAWS)
    assert abs(counts.mean() - 64) < 1e-9
    assert counts.std() < 1.3 * 8  # Poisson: every line as likely as any other
    both = made.values(0, np.array([0, 3]))
    np.testing.assert_allclose(both[:, 1], made.values(0, np.array([3]))[:, 0])


def test_no_more_texts_than_promised():
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"prompt": np.repeat(np.arange(200), 2), "position": np.tile([0, 1], 200), "trial_type": "a"})
    many = fbn.Recording.from_arrays([[rng.normal(size=(400, 3))]], events=[blocks(["a"], 400)], rows=[rows])
    assert Replacement("resample", many).values(0, np.array([0])).shape == (2 * N_TEXTS, 1)


def test_without_a_row_table_a_run_is_one_text():
    plain = fbn.Recording.from_arrays([[np.arange(6.0)[:, None]]], events=[blocks(["a"], 6)])
    assert Replacement("position_mean", plain).values(0, np.array([0]))[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 2.5]


def test_standard_deviation_is_numpys():
    data = recording()
    stacked = np.concatenate([np.concatenate([run.layer(0), run.layer(1)], axis=1) for run in data])
    np.testing.assert_allclose(standard_deviation(data), stacked.std(0, dtype=np.float64))


def test_refusals():
    with pytest.raises(ValueError, match="cannot take the reference for"):
        Replacement("noise", recording()).check(fbn.UnitSpace("mlp.neurons", (4, 5)))
    with pytest.raises(ValueError, match='method="noise" needs reference='):
        Replacement("noise").check(fbn.UnitSpace("mlp.neurons", (4, 5)))
    with pytest.raises(ValueError, match="no activation to set"):
        Replacement("mean", recording()).check(fbn.UnitSpace("attn.heads", (4, 4)))


def test_texts_that_do_not_begin_at_their_first_token_are_met_at_their_positions():
    rows = pd.DataFrame({"prompt": [0, 0, 0], "position": [5, 6, 7], "trial_type": "a"})
    data = fbn.Recording.from_arrays([[np.array([[50.0], [60.0], [70.0]])]], events=[blocks(["a"], 3)], rows=[rows])
    made = Replacement("resample", data)
    assert made.lines is not None
    values = made.values(0, np.array([0]))[:, 0]
    assert values[made.lines.index(Reading(0), 1, 10, CPU)[0].numpy()].tolist() == [
        50,
        60,
        70,
        50,
        60,
        50,
        60,
        70,
        70,
        50,
    ]


def test_pooled_recordings_have_no_positions():
    pooled = recording().pool("mean")
    for method in ("position_mean", "resample"):
        made = Replacement(method, pooled)
        with pytest.raises(ValueError, match="its rows are pooled"):
            assert made.lines
