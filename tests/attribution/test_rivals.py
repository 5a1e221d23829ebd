"""Rivals of CGVST against weight gradients, completeness, TransformerLens's own attribution patching and lesions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tl_fbn as fbn
from tests.helpers.gradients import GROUPS, IDS, planted_model, relative
from tests.helpers.models import tiny_model
from tests.oracle.weight_gradients import DOWN, rough, weight_gradients

FLAT = [sorted(at for group in groups for at in group) for groups in GROUPS]


@pytest.mark.parametrize("label", ["Llama", "Qwen2", "OPT", "GPT2"])
def test_taylor_is_weight_times_weight_gradient_of_the_outgoing_weights(label: str) -> None:
    one, plain = rough(label)
    expected: Any = 0.0
    signed: Any = 0.0
    for ids, at in zip(IDS, FLAT, strict=True):
        parts = weight_gradients(one, plain, DOWN, ids, [at])  # (d_model, neuron)
        row = np.concatenate([(weight * gradient).sum(0) for weight, gradient in parts])
        expected += np.abs(row)
        signed -= row / len(IDS)
    model = one.bridged(plain)
    assert relative(fbn.attribution.taylor(model, IDS, FLAT, progress=False).values, expected) < 1e-6
    assert relative(fbn.attribution.gradient_x_activation(model, IDS, FLAT, progress=False).values, signed) < 1e-6


def likelihoods(model: Any, item: list[int], at: list[int]) -> float:
    with torch.no_grad():
        log_probs = model(torch.tensor([item]))[0].log_softmax(-1)
    return float(np.mean([float(log_probs[p - 1, item[p]]) for p in at]))


def test_first_order_effects_are_those_of_small_lesions() -> None:
    """A gain of 1 - epsilon on one neuron costs epsilon times its gradient times activation."""
    one, plain = rough("GPT2")
    model = one.bridged(plain)
    scores = fbn.attribution.gradient_x_activation(model, IDS[:1], FLAT[:1], progress=False)
    before = likelihoods(model, IDS[0], FLAT[0])
    for unit in (3, 40, 70):
        with fbn.amplify(model, fbn.Network.from_indices(scores.space, [unit]), gain=1 - 1e-5):
            assert (before - likelihoods(model, IDS[0], FLAT[0])) / 1e-5 == pytest.approx(scores.values[unit], rel=1e-3)


def test_integrated_gradients_add_up_to_the_lesion_of_the_layer() -> None:
    one, plain = rough("GPT2")
    model = one.bridged(plain)
    ids, at = IDS[:1], FLAT[:1]
    scores = fbn.attribution.integrated_gradients(model, ids, at, n_steps=100, progress=False)
    plainly = fbn.attribution.gradient_x_activation(model, ids, at, progress=False)
    before = likelihoods(model, ids[0], at[0])
    for layer in range(2):
        network = fbn.Network.from_indices(scores.space, range(scores.space.n_units)).restrict(layers=[layer])
        with fbn.inhibit(model, network):
            lost = before - likelihoods(model, ids[0], at[0])
        total = scores.by_layer()[layer].sum()
        assert total == pytest.approx(lost, rel=1e-3)
        assert abs(plainly.by_layer()[layer].sum() - lost) > 10 * abs(total - lost)


def test_integrated_gradients_in_batches_are_those_one_by_one() -> None:
    one, plain = rough("GPT2")
    model = one.bridged(plain)
    single, batch = (
        fbn.attribution.integrated_gradients(model, IDS, FLAT, n_steps=3, progress=False, batch_tokens=size).values
        for size in (len(IDS[0]), 8192)
    )
    assert relative(batch, single) < 1e-12


def test_planted_task_neurons_are_ranked_first() -> None:
    from sklearn.metrics import roc_auc_score

    units = {0: [3, 11, 30], 1: [7, 40]}
    model, items, positions = planted_model(units)
    truth = np.zeros(96)
    truth[[layer * 48 + unit for layer, which in units.items() for unit in which]] = 1
    clean, corrupted = [ids[:6] for ids in items], [[*ids[:5], 4] for ids in items]
    maps = {
        "gradient x activation": fbn.attribution.gradient_x_activation(model, items, positions, progress=False),
        "taylor": fbn.attribution.taylor(model, items, positions, progress=False),
        "integrated gradients": fbn.attribution.integrated_gradients(model, items, positions, progress=False),
        "attribution patching": fbn.attribution.attribution_patching(
            model, clean, corrupted, [(2, 9)] * 20, progress=False
        ),
        "all tokens": fbn.cgvst(model, items, tokens="all", progress=False),
    }
    for name, scores in maps.items():
        assert roc_auc_score(truth, scores.values) >= 0.99, name
    by_chance = [roc_auc_score(truth, fbn.attribution.random_scores(model, seed=seed).values) for seed in range(40)]
    assert np.mean(by_chance) == pytest.approx(0.5, abs=0.07)


def test_random_scores_depend_on_the_seed_only() -> None:
    model = tiny_model()
    assert np.array_equal(
        fbn.attribution.random_scores(model, seed=1).values, fbn.attribution.random_scores(model, seed=1).values
    )
    assert not np.array_equal(
        fbn.attribution.random_scores(model, seed=1).values, fbn.attribution.random_scores(model, seed=2).values
    )


def test_refusals() -> None:
    model = tiny_model()
    with pytest.raises(ValueError, match="n_steps=0 is no path"):
        fbn.attribution.integrated_gradients(model, IDS, FLAT, n_steps=0)
