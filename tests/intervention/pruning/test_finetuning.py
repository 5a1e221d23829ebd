"""Fine-tuning a network only: members learn, everything else stays bit for bit, and nothing is left behind."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tl_fbn as fbn
from tests.helpers.models import bridged, tiny_gpt2, tiny_llama, tiny_model
from tests.helpers.pruning import IDS
from tests.oracle.architectures import architecture
from tl_fbn.intervention.pruning.finetuning import only_network
from tl_fbn.intervention.pruning.mlp_surgery import inner

MODELS = {
    "native": tiny_model,
    "llama": lambda: bridged(tiny_llama()),
    "gpt2": lambda: bridged(tiny_gpt2()),
    "phi3": lambda: architecture("Phi3").bridged(architecture("Phi3").build(scale=1.0)),
}


@pytest.fixture(params=MODELS)
def any_model(request):
    return MODELS[request.param]()


def some(model, *, layers=(0, 1), share: float = 0.3, seed: int = 0) -> fbn.Network:
    space = fbn.Scanner(model).space
    return fbn.Network(space, np.random.default_rng(seed).random(space.n_units) < share).restrict(layers=layers)


def loss_of(model) -> torch.Tensor:
    logits = model(IDS)
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), IDS[:, 1:].flatten())


def train(model, parameters, *, steps: int = 5, kind=torch.optim.AdamW, **options) -> list[float]:
    optimiser = kind(parameters, **({"lr": 1e-2, "weight_decay": 0.5} | options))
    losses = []
    for _ in range(steps):
        optimiser.zero_grad()
        loss = loss_of(model)
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    return losses


def snapshot(model) -> dict[str, torch.Tensor]:
    """Every parameter and buffer by name, with the Hugging Face model's own."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()} | {
        f"inside {name}": tensor.clone() for name, tensor in model.original_model.state_dict().items()
    }


def neurons(model, layer: int) -> list[tuple[torch.Tensor, int]]:
    """What belongs to neurons of a layer, and the axis they are on, written out for each architecture."""
    mlp = inner(model.blocks[layer].mlp)
    kind = type(mlp).__name__
    if kind == "LlamaMLP":
        return [(mlp.gate_proj.weight, 0), (mlp.up_proj.weight, 0), (mlp.down_proj.weight, 1)]
    if kind == "GPT2MLP":
        return [(mlp.c_fc.weight, 1), (mlp.c_fc.bias, 0), (mlp.c_proj.weight, 0)]
    if kind == "Phi3MLP":
        return [*((half, 0) for half in inner(mlp.gate_up_proj).weight.chunk(2)), (inner(mlp.down_proj).weight, 1)]
    return [(inner(mlp.fc_in).weight, 0), (inner(mlp.fc_in).bias, 0), (inner(mlp.fc_out).weight, 1)]


def test_members_learn_and_nothing_else_moves(any_model):
    """Also with weight decay, which moves weights that have no gradient, and an optimiser over everything."""
    model = any_model
    network = some(model)
    before = snapshot(model)
    own = [[(tensor.detach().clone(), axis) for tensor, axis in neurons(model, layer)] for layer in (0, 1)]
    with only_network(model, network) as learning:
        losses = train(model, model.parameters())
        assert learning.n_weights == sum(
            network.per_layer()[layer] * (tensor.numel() // tensor.shape[axis])
            for layer in (0, 1)
            for tensor, axis in own[layer]
        )
    assert losses[-1] < losses[0]
    touched = set()
    for layer, members in enumerate(network.by_layer()):
        for (old, axis), (new, _) in zip(own[layer], neurons(model, layer), strict=True):
            moved = (old != new).movedim(axis, 0).reshape(len(members), -1)
            assert not moved[~members].any()
            assert moved[members].any(1).all()
            touched.add(new.untyped_storage().data_ptr())
    after = model.state_dict() | {f"inside {name}": value for name, value in model.original_model.state_dict().items()}
    still = [name for name, tensor in after.items() if tensor.untyped_storage().data_ptr() not in touched]
    assert len(still) > 10
    assert all(torch.equal(after[name], before[name]) for name in still)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (torch.optim.SGD, {"momentum": 0.9}),
        (torch.optim.Adam, {}),
        (torch.optim.RMSprop, {}),
        (torch.optim.Adagrad, {}),
    ],
)
def test_every_optimiser_is_held(kind, options):
    model = tiny_model()
    network = some(model)
    (before, axis), *_ = [(tensor.detach().clone(), axis) for tensor, axis in neurons(model, 1)]
    with only_network(model, network) as learning:
        train(model, learning.parameters(), kind=kind, **options)
        now = neurons(model, 1)[0][0]
        moved = (before != now).movedim(axis, 0).any(1).numpy()
        assert np.array_equal(moved, network.by_layer()[1])  # after the step already, not at exit only


def test_gradients_outside_are_zero():
    model = bridged(tiny_llama())
    network = some(model, layers=(1,))
    with only_network(model, network):
        loss_of(model).backward()
        for tensor, axis in neurons(model, 1):
            gradient = tensor.grad.movedim(axis, 0)
            assert not gradient[~network.by_layer()[1]].any()
            assert gradient[network.by_layer()[1]].any()
        having = [name for name, p in model.original_model.named_parameters() if p.grad is not None]
        assert len(having) == 3 and all(".1." in name and "mlp" in name for name in having)


def test_members_take_the_step_of_an_ordinary_gradient():
    """One step of plain SGD: what members get is what they would get in full training."""
    model, other = tiny_model(), tiny_model()
    network = some(model)
    with only_network(model, network) as learning:
        train(model, learning.parameters(), steps=1, kind=torch.optim.SGD, weight_decay=0.0)
    train(other, other.parameters(), steps=1, kind=torch.optim.SGD, weight_decay=0.0)
    for layer, members in enumerate(network.by_layer()):
        for (mine, axis), (theirs, _) in zip(neurons(model, layer), neurons(other, layer), strict=True):
            assert torch.equal(mine.movedim(axis, 0)[members], theirs.movedim(axis, 0)[members])


def test_nothing_is_left_behind_also_when_the_body_raises(any_model):
    model = any_model
    inside = list(model.original_model.parameters())
    inside[0].requires_grad_(False)
    old = torch.ones_like(inside[1])
    inside[1].grad = old
    flags = [p.requires_grad for p in inside]
    with pytest.raises(KeyError), only_network(model, some(model)) as learning:
        train(model, learning.parameters(), steps=1)
        raise KeyError
    assert [p.requires_grad for p in inside] == flags
    assert inside[1].grad is old and all(p.grad is None for p in inside[2:])
    assert not any(p._backward_hooks for p in inside)
    loss = loss_of(model)
    loss.backward()
    assert inside[2].grad is not None
    weights = [tensor.detach().clone() for tensor, _ in neurons(model, 0)]
    train(model, [tensor for tensor, _ in neurons(model, 0) if tensor.is_leaf], steps=1)
    changed = [(new != was).float().mean() for (new, _), was in zip(neurons(model, 0), weights, strict=True)]
    assert max(changed) > 0.9  # all of it learns again


def test_an_old_gradient_moves_nothing():
    model = tiny_model()
    loss_of(model).backward()
    before = snapshot(model)
    with only_network(model, some(model, layers=(1,))):
        optimiser = torch.optim.SGD(model.parameters(), lr=1.0)
        optimiser.step()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_network_learns_a_task():
    model = tiny_model(d_mlp=48)
    network = some(model, share=0.25)
    untrained = float(loss_of(model).detach())
    with only_network(model, network) as learning:
        train(model, learning.parameters(), steps=60, weight_decay=0.01)
    trained = float(loss_of(model).detach())
    assert trained < 0.6 * untrained
    with fbn.inhibit(model, network):
        assert float(loss_of(model).detach()) > 1.5 * trained  # what was learned is in the network


def test_what_is_refused():
    model = tiny_model()
    heads = fbn.Network.from_indices(fbn.Scanner(model, site="attn.heads").space, [0])
    with pytest.raises(ValueError, match=r"Give a network of mlp\.neurons"):
        only_network(model, heads)
    with pytest.raises(ValueError, match="Record or localise"):
        only_network(tiny_model(d_mlp=30), some(model))
    with pytest.raises(ValueError, match="has no members"):
        only_network(model, some(model, share=0.0))
    learning = only_network(model, some(model))
    with pytest.raises(RuntimeError, match="nothing learns yet"):
        learning.parameters()
    with learning, pytest.raises(RuntimeError, match="open already"):
        learning.__enter__()
    assert all(p.requires_grad for p in model.parameters())
