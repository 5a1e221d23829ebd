"""Word tasks from files on a real model: which it can do, and a network that its own task needs more than another."""

from __future__ import annotations

import numpy as np
import pytest

import tl_fbn as fbn

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def tasks(word_tasks) -> fbn.Tasks:
    return fbn.Tasks([word_tasks / f"{name}.json" for name in ("capitalize", "present-past")])


def test_it_can_do_these_tasks(tasks, real_model):
    table = tasks.describe(real_model, n=16).set_index("task")
    # published word tasks, five shots; chance is below .05 in both
    assert table.loc["present-past", "exact_match"] > 0.7 and table.loc["capitalize", "exact_match"] > 0.7
    assert (table["majority"] < 0.2).all() and (table["tokens"] < 80).all()


def test_a_task_needs_its_neurons_more_than_another_does(tasks, real_model):
    """92 of 46,080 neurons, found on one half of the rows and silenced on the other."""
    scores = {
        name: fbn.attribution.gradient_x_activation(real_model, *items, progress=False)
        for name, items in tasks.items(real_model, n=16).items()
    }
    maps = fbn.specific_scores(scores)
    networks = {name: one.top(0.002, name=name) for name, one in maps.items()}
    study = fbn.lesion_study(real_model, networks, tasks.battery(n=12), n_controls=2, seed=0, progress=False)
    drops = study.drops("log_likelihood")
    own, other = np.diag(drops), drops[~np.eye(2, dtype=bool)]
    assert (own > 0.5).all() and own.sum() > 1.5 * other.sum()
    assert (own > study.control_drops("log_likelihood")[[0, 1], :, [0, 1]].max(1) + 0.3).all()
