"""CGVST against autograd's weight gradients, finite differences and planted neurons."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

import tl_fbn as fbn
from tests.helpers.gradients import GROUPS, IDS, planted_model, relative
from tests.helpers.models import bridged, tiny_gpt2, tiny_llama, tiny_model
from tests.oracle.architectures import MIXTURES, architecture
from tests.oracle.templates import CHATML, character_tokenizer
from tests.oracle.weight_gradients import GATE, UP, loss_of, rough, weight_gradients
from tl_fbn.attribution.cgvst import Variant, cgvst

SHAPES = ("Llama", "Qwen2", "OPT", "GPT2")


def score(model: Any, **options: Any) -> fbn.UnitMap:
    return fbn.cgvst(model, IDS, positions=GROUPS, progress=False, **options)


@pytest.mark.parametrize("label", SHAPES)
def test_row_sums_and_norms_equal_autograds_weight_gradients(label: str) -> None:
    one, plain = rough(label)
    expected = {"row_sum": 0.0, "row_l1": 0.0, "row_l2": 0.0}
    by_item: list[np.ndarray] = []
    for ids, groups in zip(IDS, GROUPS, strict=True):
        gradients = [gradient for _, gradient in weight_gradients(one, plain, UP, ids, groups)]
        by_item.append(np.concatenate([gradient.sum(1) for gradient in gradients]))
        expected["row_sum"] += np.abs(by_item[-1])
        expected["row_l1"] += np.concatenate([np.abs(gradient).sum(1) for gradient in gradients])
        expected["row_l2"] += np.concatenate([np.linalg.norm(gradient, axis=1) for gradient in gradients])
    plain.zero_grad()
    model = one.bridged(plain)
    for variant, values in expected.items():
        assert relative(score(model, variant=variant).values, values) < 1e-6, variant
    items = fbn.attribution.item_scores(
        model, IDS, positions=GROUPS, variant="row_sum", progress=False, batch_tokens=16
    )
    assert relative(items.values, np.array(by_item)) < 1e-6
    signed = np.array(by_item)
    error = signed.std(0, ddof=1) / np.sqrt(3)
    t = signed.mean(0) / np.where(error > 0, error, 1.0)  # a dead neuron of OPT's has no gradient at all
    assert relative(score(model, variant="row_sum", aggregate="t").values, t) < 1e-6
    assert relative(score(model, variant="row_sum", aggregate="abs_mean").values, np.abs(signed.mean(0))) < 1e-6
    assert relative(score(model, variant="row_sum", aggregate="mean_abs").values, np.abs(signed).mean(0)) < 1e-6


@pytest.mark.parametrize("label", ["Llama", "Qwen2"])
def test_the_gates_weights_can_be_scored_too(label: str) -> None:
    one, plain = rough(label)
    expected = sum(
        np.abs(np.concatenate([g.sum(1) for _, g in weight_gradients(one, plain, GATE, ids, groups)]))
        for ids, groups in zip(IDS, GROUPS, strict=True)
    )
    assert relative(score(one.bridged(plain), variant="row_sum", site="mlp.pre").values, np.asarray(expected)) < 1e-6


@pytest.mark.parametrize("label", SHAPES)
def test_gradient_times_activation_equals_weight_times_weight_gradient(label: str) -> None:
    """sum_d W dL/dW = sum_t delta (u - b): the first-order effect of the row; without a bias it is delta u."""
    one, plain = rough(label)
    model = one.bridged(plain)
    expected: Any = 0.0
    for ids, groups in zip(IDS, GROUPS, strict=True):
        parts = weight_gradients(one, plain, UP, ids, groups)
        rows = np.concatenate([(weight * gradient).sum(1) for weight, gradient in parts])
        if one.name != "Llama" and one.name != "Qwen2":  # their up projections have no bias
            biases = [block_bias(one, block) for block in one.layers(plain)]
            delta = fbn.attribution.item_scores(
                model, [ids], positions=[groups], variant="grad", progress=False
            ).values[0]
            rows = rows + delta * np.concatenate(biases)
        expected += np.abs(rows)
    assert relative(score(model, variant="grad_x_act").values, expected) < 1e-6


def block_bias(one: Any, block: Any) -> np.ndarray:
    from operator import attrgetter

    return attrgetter(UP[one.name])(block).bias.detach().numpy()


@pytest.mark.parametrize("label", SHAPES)
def test_finite_differences_agree(label: str) -> None:
    one, plain = rough(label)
    found = fbn.attribution.item_scores(
        one.bridged(plain), IDS[:1], positions=GROUPS[:1], variant="row_sum", progress=False
    ).values[0]
    from operator import attrgetter

    for layer, unit in ((0, 5), (1, 17)):
        weight = attrgetter(UP[one.name])(one.layers(plain)[layer]).weight
        row = weight.data[:, unit] if one.name == "GPT2" else weight.data[unit]
        step, losses, before = 1e-3, [], row.clone()  # Llama's norms and softmax are float32 inside: no finer step
        for sign in (1, -1):  # every input weight of the neuron up, and down
            row.copy_(before + sign * step)
            with torch.no_grad():
                losses.append(float(loss_of(plain, IDS[0], GROUPS[0])))
        row.copy_(before)
        slope = (losses[0] - losses[1]) / (2 * step)
        assert found[layer * one.d_mlp + unit] == pytest.approx(slope, rel=1e-3, abs=1e-7)


@pytest.mark.parametrize("label", [*SHAPES, "Pythia", "Gemma2"])
@pytest.mark.parametrize("variant", ["row_sum", "row_l1", "row_l2", "grad_x_act", "grad"])
def test_batches_with_padding_equal_one_by_one(label: str, variant: Variant) -> None:
    one, plain = rough(label)
    model = one.bridged(plain)
    single, batch = (score(model, variant=variant, batch_tokens=size).values for size in (len(IDS[0]), 8192))
    # those whose softmax is float32 whatever the model sum it in another order over pads
    assert relative(batch, single) < (1e-12 if label == "GPT2" else 2e-6)


@pytest.mark.parametrize("frozen", [True, False])
def test_the_model_is_left_as_it_was(frozen: bool) -> None:
    model = bridged(tiny_llama())
    for number, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(not frozen and number % 2 == 0)
    first = next(iter(model.parameters()))
    first.grad = torch.ones_like(first)
    before = [parameter.requires_grad for parameter in model.parameters()]
    weights = [parameter.detach().clone() for parameter in model.parameters()]
    with torch.no_grad():
        score(model)
    with torch.inference_mode():
        score(model)
    assert [parameter.requires_grad for parameter in model.parameters()] == before
    assert all(torch.equal(a, b) for a, b in zip(weights, model.parameters(), strict=True))
    assert torch.equal(first.grad, torch.ones_like(first))
    assert all(parameter.grad is None for parameter in list(model.parameters())[1:])
    assert not any(point.fwd_hooks or point.bwd_hooks for point in model.hook_dict.values())
    with pytest.raises(RuntimeError, match="on purpose"), model.hooks(fwd_hooks=[("blocks.1.hook_resid_post", _fail)]):
        score(model)
    assert [parameter.requires_grad for parameter in model.parameters()] == before


def _fail(tensor: torch.Tensor, hook: Any) -> None:
    raise RuntimeError("on purpose")


def test_users_own_hooks_stay_in_force() -> None:
    model = bridged(tiny_llama()).to(torch.float64)
    network = fbn.Network.from_indices(fbn.Scanner(model).space, range(40))
    bare = score(model, variant="grad").values
    with fbn.inhibit(model, network):
        lesioned = score(model, variant="grad").values
    assert relative(lesioned, bare) > 1e-3
    halve = [("blocks.0.mlp.hook_post", lambda tensor, hook: tensor * 0.5)]
    with model.hooks(fwd_hooks=halve):
        halved = score(model, variant="grad").values
    with fbn.amplify(model, fbn.Network.from_indices(network.space, range(48)), gain=0.5):
        ours = score(model, variant="grad").values
    assert relative(halved, ours) < 1e-12  # with a foreign hook the unembedding is left whole; the numbers are the same


def test_layernorm_without_affine_is_detected() -> None:
    """The released formula is zero there; the default becomes row_l1, and says so."""
    galactica = architecture("Galactica")
    model = galactica.bridged(galactica.build())
    with pytest.raises(ValueError, match=r'sum to zero.*use variant="row_l1" or "grad_x_act"'):
        score(model, variant="row_sum")
    scores = score(model)
    assert scores.provenance["variant"] == "row_l1"
    assert "row_l1 instead of the released row_sum" in scores.provenance["variant_reason"]
    assert np.array_equal(scores.values, score(model, variant="row_l1").values)
    fresh = bridged(tiny_gpt2())  # affine, but as initialised: weight 1, bias 0
    assert score(fresh).provenance["variant"] == "row_l1"
    assert score(fresh.to(torch.bfloat16)).provenance["variant"] == "row_l1"  # rounding hides the zero: the limit knows
    rough_model = rough("GPT2")
    assert score(rough_model[0].bridged(rough_model[1])).provenance["variant"] == "row_sum"


def test_folded_norms_are_detected() -> None:
    one, plain = rough("GPT2")
    model = one.bridged(plain.float())
    before = score(model, variant="grad_x_act").values
    model.enable_compatibility_mode(disable_warnings=True)
    assert relative(score(model, variant="grad_x_act").values, before) < 1e-4  # a neuron is a neuron, folded or not
    with pytest.raises(ValueError, match="folded into the weights"):
        score(model, variant="row_sum")


def test_chats_strings_and_ids_are_the_same(demo_model: Any) -> None:
    chats = fbn.chats("sort", n=12)
    texts = fbn.prompts("sort", n=12)
    layouts = [fbn.token_layout(demo_model, chat) for chat in chats]
    maps = [
        fbn.cgvst(demo_model, chats, progress=False),
        fbn.cgvst(demo_model, texts, progress=False),
        fbn.cgvst(demo_model, texts, spans=["[INST]", "[/INST]"], progress=False),
        fbn.cgvst(
            demo_model, [one.ids for one in layouts], positions=[one.positions() for one in layouts], progress=False
        ),
        fbn.cgvst(
            demo_model,
            [list(one.ids) for one in layouts],
            positions=[[0, *one.positions()] for one in layouts],
            progress=False,
        ),
    ]
    assert all(np.allclose(one.values, maps[0].values, rtol=1e-6) for one in maps)
    assert maps[0].kind == "attribution" and maps[0].space == fbn.Scanner(demo_model).space
    assert maps[0].provenance["tokens"] == "special" and maps[0].provenance["n_items"] == 12
    assert maps[0].provenance["model_dtype"] == "float32"
    study = {"sort": maps[0].top(0.05)}
    with pytest.raises(ValueError, match="was found on"):  # the prompts travel with the map
        pairs = [(text.split(" [/INST] ")[0] + " [/INST]", text.split(" [/INST] ")[1]) for text in texts]
        fbn.lesion_study(
            demo_model, study, fbn.Battery.from_pairs({"sort": pairs}), seed=0, n_controls=1, progress=False
        )


def test_the_share_of_s1s_units() -> None:
    space = fbn.UnitSpace("mlp.neurons", (11008,) * 32)
    assert len(fbn.UnitMap(space, np.random.default_rng(0).random(352256), "attribution").top(0.05)) == 17612


def test_groups_and_weights() -> None:
    one, plain = rough("Llama")
    model = one.bridged(plain)
    flat = [sorted(at for group in groups for at in group) for groups in GROUPS]
    halved = fbn.cgvst(model, IDS, positions=GROUPS, weight=0.5, variant="row_sum", progress=False).values
    expected: Any = 0.0
    for ids, groups in zip(IDS, GROUPS, strict=True):
        gradients = weight_gradients(one, plain, UP, ids, groups, (0.5, 1.0))
        expected += np.abs(np.concatenate([gradient.sum(1) for _, gradient in gradients]))
    assert relative(halved, expected) < 1e-6
    together = fbn.cgvst(model, IDS, positions=flat, variant="row_sum", progress=False).values
    assert relative(together, score(model, variant="row_sum").values) > 1e-3


def test_long_items_are_left_out_and_counted(demo_model: Any) -> None:
    chats = fbn.chats("sort", n=30)
    lengths = [len(fbn.token_layout(demo_model, chat).ids) for chat in chats]
    limit = int(np.median(lengths))
    scores = fbn.cgvst(demo_model, chats, max_tokens=limit, progress=False)
    kept = [chat for chat, length in zip(chats, lengths, strict=True) if length <= limit]
    assert scores.provenance["skipped_as_too_long"] == 30 - len(kept) > 0
    assert np.allclose(scores.values, fbn.cgvst(demo_model, kept, progress=False).values)


@pytest.mark.parametrize("variant", ["row_sum", "row_l1", "row_l2", "grad_x_act", "grad"])
def test_planted_task_neurons_are_ranked_first(variant: Variant) -> None:
    from sklearn.metrics import roc_auc_score

    units = {0: [3, 11, 30], 1: [7, 40]}
    model, items, positions = planted_model(units)
    scores = fbn.cgvst(model, items, positions=positions, variant=variant, progress=False)
    truth = np.zeros(96)
    truth[[layer * 48 + unit for layer, which in units.items() for unit in which]] = 1
    assert roc_auc_score(truth, scores.values) >= 0.99
    found = scores.top(5)
    battery = fbn.Battery.from_pairs({"planted": [(tuple(ids[:6]), (2,)) for ids in items]})
    assert battery.evaluate(model).exact_match[0] == 1
    with fbn.inhibit(model, found):
        assert battery.evaluate(model).exact_match[0] == 0


def test_sparse_layers_are_left_out() -> None:
    mixture = MIXTURES["Qwen3Moe"]
    model = mixture.bridged(mixture.build())
    scores = fbn.cgvst(model, IDS, positions=GROUPS, variant="grad_x_act", progress=False)
    assert scores.space.widths == (48, 0) and np.isfinite(scores.values).all()


def test_bfloat16_stays_close() -> None:
    one, plain = rough("Llama")
    model = one.bridged(plain.float())
    exact = score(model, variant="row_l2").values
    rounded = score(model.to(torch.bfloat16), variant="row_l2").values
    assert np.corrcoef(exact, rounded)[0, 1] > 0.99


@pytest.mark.parametrize(
    "name", ["blocks.1.hook_resid_post", "blocks.0.hook_resid_post", "blocks.1.attn.hook_z", "blocks.1.mlp.hook_out"]
)
def test_a_model_without_gradients_is_refused(name: str) -> None:
    """Also where only one sublayer has none: the residual stream would carry the others' past it, and the map would be
    wrong.
    """
    model = bridged(tiny_llama())
    with pytest.raises(ValueError, match=r"no gradient reaches the MLPs of .*Quantised weights"), cut_off(model, name):
        score(model)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:torch.quantize_per_tensor:UserWarning")
def test_a_dynamically_quantised_model_is_refused() -> None:
    plain = tiny_llama()
    plain.model = torch.ao.quantization.quantize_dynamic(plain.model, {torch.nn.Linear}, dtype=torch.qint8)
    with pytest.raises(ValueError, match="no gradient reaches the MLPs"):
        score(bridged(plain))


@contextmanager
def cut_off(model: Any, name: str) -> Iterator[None]:
    """The model with a point behind which nothing is differentiable, as quantised kernels are."""
    with model.hooks(fwd_hooks=[(name, lambda tensor, hook: tensor.detach())]):
        yield


def test_refusals_say_what_to_do(demo_model: Any, unchecked: None) -> None:
    model = tiny_model()
    plain = inspect.unwrap(cgvst)
    with pytest.raises(ValueError, match="items is empty"):
        fbn.cgvst(model, [])
    with pytest.raises(ValueError, match=r"items is one chat; give a list of chats"):
        plain(demo_model, fbn.chats("sort", n=1)[0])
    with pytest.raises(ValueError, match="items must be a list of text or lists"):
        fbn.cgvst(demo_model, "abc")
    with pytest.raises(ValueError, match="no tokenizer"):
        fbn.cgvst(model, ["abc"])
    with pytest.raises(ValueError, match="which of 3 token ids are special"):
        fbn.cgvst(model, [[1, 2, 3]])
    with pytest.raises(ValueError, match="position 3 of item 0 is outside its 3 tokens"):
        fbn.cgvst(model, [[1, 2, 3]], positions=[[3]])
    with pytest.raises(ValueError, match="item 0 has no position behind its first token"):
        fbn.cgvst(model, [[1, 2, 3]], positions=[[0]])
    with pytest.raises(ValueError, match="positions has 2 entries for 1 items"):
        fbn.cgvst(model, [[1, 2, 3]], positions=[[1], [2]])
    with pytest.raises(ValueError, match="3 groups; give one list, or two"):
        fbn.cgvst(model, [[1, 2, 3, 4]], positions=[[[1], [2], [3]]])
    with pytest.raises(ValueError, match="item 0 has 40 tokens, the model's context holds 32"):
        fbn.cgvst(model, [[1] * 40], positions=[[1]])
    with pytest.raises(ValueError, match="all 1 items are longer than max_tokens=3"):
        fbn.cgvst(model, [[1] * 4], positions=[[1]], max_tokens=3)
    with pytest.raises(ValueError, match="token ids 1 to 77, the vocabulary is 0 to 49"):
        fbn.cgvst(model, [[1, 77]], positions=[[1]])
    with pytest.raises(ValueError, match="item 1 has 1 token"):
        fbn.cgvst(model, [[1, 2], [3]], positions=[[1], [1]])
    with pytest.raises(ValueError, match=r'use site="mlp\.up"'):
        fbn.cgvst(model, [[1, 2]], positions=[[1]], site="mlp.neurons", variant="row_sum")
    with pytest.raises(ValueError, match="needs at least two items"):
        fbn.cgvst(model, [[1, 2]], positions=[[1]], aggregate="t")
    with pytest.raises(ValueError, match="give one of them"):
        fbn.cgvst(model, [[1, 2]], positions=[[1]], tokens="all")
    with pytest.raises(ValueError, match="needs seed="):
        fbn.cgvst(demo_model, fbn.chats("sort", n=1), tokens="random")
    with pytest.raises(ValueError, match="batch_tokens=0"):
        fbn.cgvst(model, [[1, 2]], positions=[[1]], batch_tokens=0, progress=False)
    for wrong, message in (
        ({"variant": "rowsum"}, "variant must be 'row_sum', 'row_l1', 'row_l2', 'grad_x_act' or 'grad'; got 'rowsum'"),
        ({"site": "mlp"}, "site must be 'mlp.up', 'mlp.pre' or 'mlp.neurons'; got 'mlp'"),
        ({"aggregate": "sum"}, "aggregate must be 'sum_abs', 'mean_abs', 'abs_mean', 'mean' or 't'; got 'sum'"),
    ):
        with pytest.raises(ValueError, match=message):
            plain(model, [[1, 2]], [[1]], **wrong)
    training = tiny_gpt2()
    training.train()
    with pytest.raises(ValueError, match="deterministic"):
        fbn.cgvst(bridged(training), [[1, 2]], positions=[[1]], progress=False)
    mixture = MIXTURES["Mixtral"]
    with pytest.raises(ValueError, match="mixtures of experts"):
        fbn.cgvst(mixture.bridged(mixture.build()), [[1, 2]], positions=[[1]])
    demo_model_without = character_tokenizer(CHATML)
    assert fbn.token_layout(demo_model_without, [{"role": "user", "content": "x"}]).positions()
