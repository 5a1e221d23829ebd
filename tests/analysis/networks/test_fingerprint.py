"""Fingerprints: unmoved by the order of neurons and the scale of activations; relatives apart from strangers."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import tl_fbn as fbn
from tests.helpers.recordings import blocks
from tl_fbn.analysis.networks.fingerprint import _aligned_courses
from tl_fbn.demo import train


def model_of(
    seed: int, *, latent_seed: int = 0, n_units: int = 300, n_texts: int = 12, length: int = 30
) -> fbn.Recording:
    """Units of a "model": four sources, which follow the text in the model's own way, mixed sparsely."""
    text = np.random.default_rng(latent_seed)
    rng = np.random.default_rng(seed)
    kinds = rng.normal(size=(20, 4)) ** 3  # what each source makes of each token
    tokens = text.integers(20, size=n_texts * length)
    maps = rng.laplace(size=(4, n_units)) * (rng.random((4, n_units)) < 0.15) * 4
    y = kinds[tokens] @ maps + rng.normal(size=(len(tokens), n_units))
    rows = pd.DataFrame({"prompt": np.repeat(np.arange(n_texts), length), "token": [f"t{i}" for i in tokens]})
    return fbn.Recording.from_arrays([[y]], events=[blocks(["a"], len(y))], rows=[rows])


def changed(recording: fbn.Recording, change) -> fbn.Recording:
    run = recording[0]
    return fbn.Recording.from_arrays([[change(run.layer(0).astype(float))]], events=[run.events], rows=[run.rows])


def test_order_and_scale_of_units_do_not_matter() -> None:
    one = model_of(1)
    order = np.random.default_rng(0).permutation(300)
    for change in (lambda y: y[:, order], lambda y: 7.5 * y, lambda y: y[:, order] * 0.01):
        found = fbn.networks.fingerprint(one, changed(one, change), n_components=4, seed=0, n_null=50)
        assert found.score > 0.99 and found.n_above >= 4 and found.best > 0.99


@pytest.mark.slow
def test_relatives_and_strangers_are_told_apart() -> None:
    related, unrelated = [], []
    for seed in range(6):
        one = model_of(seed)
        noise = np.random.default_rng(seed)
        tuned = changed(one, lambda y: y + noise.normal(size=y.shape))  # noqa: B023
        pruned = changed(one, lambda y: np.where(noise.random(y.shape[1]) < 0.3, 0.0, y))  # noqa: B023
        for other in (tuned, pruned):
            related.append(fbn.networks.fingerprint(one, other, n_components=4, seed=0, n_null=20).score)
        unrelated.append(fbn.networks.fingerprint(one, model_of(seed + 100), n_components=4, seed=0, n_null=20).score)
    rates = fbn.networks.calibrate_fingerprint(related, unrelated)
    assert rates["missed"] == rates["false_alarms"] == 0
    assert max(unrelated) < rates["threshold"] < min(related)
    assert (rates["n_related"], rates["n_unrelated"]) == (12, 6)


def test_a_course_that_never_varies_has_no_correlation() -> None:
    """By hand: of the pairings the best is .8 and .6, the third pair has none; the mean is that of two."""
    correlation = np.array([[0.8, 0.1, 0.2], [0.3, 0.6, 0.1], [np.nan, np.nan, np.nan]])
    names = ("a", "b", "still"), ("x", "y", "z")
    found = fbn.networks.Fingerprint(names, correlation, np.array([0.1, 0.2, np.nan, 0.9]), 5)
    assert found.score == pytest.approx(0.7)
    assert found.best == 0.8
    assert found.p == pytest.approx((1 + 2) / 5)  # .9, and the draw that says nothing
    still = fbn.networks.Fingerprint(names, np.full((3, 3), np.nan), np.full(4, np.nan), 5)
    assert np.isnan([still.score, still.best, still.p]).all()
    assert "nan" in repr(still) and still.n_above == 0


def test_constant_courses_score_no_minus_one() -> None:
    """A model whose every unit stays as it is: it follows no text, which is no opposite of following it."""
    one = model_of(1)
    atlas = fbn.find_networks(one, 2, seed=0, n_restarts=1)
    still = changed(one, np.zeros_like)
    found = fbn.networks.fingerprint(one, still, atlases=(atlas, atlas), seed=0, n_null=5)
    assert np.isnan(found.score) and np.isnan(found.p)
    assert not (found.to_dataframe()["correlation"] < 0).any()


def test_mismatched_texts_are_the_null(tmp_path) -> None:
    one = model_of(1)
    found = fbn.networks.fingerprint(one, changed(one, lambda y: 2 * y), n_components=4, seed=0, n_null=99)
    assert found.p == 0.01 and np.mean(found.null) < 0.2
    found.save(tmp_path / "f.safetensors")
    again = fbn.networks.Fingerprint.load(tmp_path / "f.safetensors")
    assert repr(again) == repr(found) and again.to_dataframe().equals(found.to_dataframe())


def test_tokens_are_aligned_by_characters() -> None:
    a = np.array([[1.0], [2.0], [3.0]]), ["<s>", "hel", "lo\u0120wo"]
    b = np.array([[5.0], [6.0], [7.0]]), ["he", "llo", "\u2581wo"]
    left, right = _aligned_courses(a, b, 0)
    assert left.ravel().tolist() == [2, 3]
    assert right.ravel().tolist() == [6, 7]  # "hel" ends inside "llo"
    with pytest.raises(ValueError, match="text 4 differs between the recordings"):
        _aligned_courses(a, (b[0], ["he", "xx", "wo"]), 4)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="have 12 and 11 texts of at least three tokens"):
        fbn.networks.fingerprint(model_of(1), model_of(1, n_texts=11), n_components=4, seed=0)
    with pytest.raises(
        ValueError, match="calibrate_fingerprint needs scores of both kinds; got 1 of relatives and 0 of others"
    ):
        fbn.networks.calibrate_fingerprint([0.5], [])


def trained(model, vocabulary: dict[str, int], steps: int, *, seed: int, lr: float):
    """A model after some steps of the demo's training."""
    rng, optimiser = random.Random(seed), torch.optim.AdamW(model.parameters(), lr=lr)
    for _ in range(steps):
        tokens, weights = train._batch(rng, vocabulary, 12)
        losses = torch.nn.functional.cross_entropy(
            model(tokens[:, :-1]).logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="none"
        )
        optimiser.zero_grad()
        (losses * weights[:, 1:].flatten()).mean().backward()
        optimiser.step()
    return model.eval()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.* units never vary")  # of the pruned one
def test_copies_of_the_demo_model_are_its_relatives_and_models_trained_anew_are_not(tmp_path):
    """Fine-tuned, pruned (three tenths of its neurons) and permuted, against the same shape from other seeds."""
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import AutoModelForCausalLM, AutoTokenizer

    weights = Path(fbn.demo.__file__).parent / "weights"
    tokenizer = AutoTokenizer.from_pretrained(weights)
    prompts = {task: fbn.prompts(task)[:60] for task in ("sort", "upper", "add", "count", "rest")}
    design = fbn.block_design(prompts, n_runs=2, n_cycles=2, tokens_per_block=64, seed=0, order="random")

    def original():
        return AutoModelForCausalLM.from_pretrained(weights).eval()

    def recorded(name: str, model) -> fbn.Recording:
        model.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
        host = TransformerBridge.boot_transformers(str(tmp_path / name)).eval()
        host.cfg.default_prepend_bos = True  # as it was trained, unlike others of its architecture
        return fbn.Scanner(host, site="mlp.neurons").scan(design, tmp_path / f"{name}-scan", progress=False)

    permuted, pruned = original(), original()
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for model in (permuted, pruned):
            for layer in model.gpt_neox.layers:
                into, out = layer.mlp.dense_h_to_4h, layer.mlp.dense_4h_to_h
                order = torch.randperm(384, generator=rng)
                if model is permuted:
                    into.weight[:], into.bias[:], out.weight[:] = (
                        into.weight[order],
                        into.bias[order],
                        out.weight[:, order],
                    )
                else:
                    into.weight[order[:115]], into.bias[order[:115]], out.weight[:, order[:115]] = 0, 0, 0
    vocabulary = tokenizer.get_vocab()
    base = recorded("base", original())
    scores = {
        "permuted": permuted,
        "pruned": pruned,
        "fine-tuned": trained(original(), vocabulary, 30, seed=7, lr=2e-4),
    }
    others = {
        f"seed {seed}": trained(
            train.build_model(len(tokenizer), d_model=96, n_layers=3, d_mlp=384, seed=seed),
            vocabulary,
            120,
            seed=seed,
            lr=2e-3,
        )
        for seed in (11, 12)
    }
    found = {
        name: fbn.networks.fingerprint(base, recorded(name, model), n_components=12, seed=0, n_null=20).score
        for name, model in {**scores, **others}.items()
    }
    related, unrelated = [found[name] for name in scores], [found[name] for name in others]
    assert found["permuted"] > 0.95
    rates = fbn.networks.calibrate_fingerprint(related, unrelated)
    assert rates["missed"] == rates["false_alarms"] == 0, found
