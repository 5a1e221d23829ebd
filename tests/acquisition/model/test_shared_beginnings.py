"""Shared beginnings: the numbers of whole passes, and left off wherever they would be others."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

import tl_fbn as fbn
from tests.helpers.models import bridged, tiny_gpt2, tiny_llama, tiny_model
from tl_fbn.acquisition.model import shared_beginnings
from tl_fbn.acquisition.model.shared_beginnings import Beginning, shares_beginnings

RNG = np.random.default_rng(0)


def ids(n):
    return tuple(RNG.integers(2, 50, n).tolist())


HEADS = ids(20), ids(14)
QUESTION = ids(8)
BATTERY = (
    fbn.Battery.from_pairs({f"t{i}": [((*head, *ids(2)), ids(2)) for _ in range(9)] for i, head in enumerate(HEADS)})
    | fbn.Battery.from_choices({"c": [((*HEADS[0], *QUESTION), [ids(1 + n % 2) for n in range(12)], 0)]})
    | fbn.Battery.from_texts({"p": [ids(9), ids(12)]})
)


def one_tensor(model, battery=BATTERY, **options):
    scores = battery.score(model, **options)
    return np.concatenate([of_task.log_likelihood for of_task in scores.values()]), scores


def same(model, atol=1e-5):
    """Whether items score the same, and how many tokens are read with and without shared beginnings."""
    shared, by_task = one_tensor(model)
    whole, expected = one_tensor(model, share_prefixes=False)
    np.testing.assert_allclose(shared, whole, atol=atol)
    for name in by_task:
        assert np.array_equal(by_task[name].exact_match, expected[name].exact_match)
        assert np.array_equal(by_task[name].outputs, expected[name].outputs)
    return sum(BATTERY.sizes(model)) < 0.6 * sum(BATTERY.sizes(model, share_prefixes=False))


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def model(request):
    return bridged(tiny_llama() if request.param == "llama" else tiny_gpt2())


def test_scores_are_those_of_whole_passes(model):
    assert same(model)


def network(model, share=0.4, site="mlp.neurons"):
    space = fbn.Scanner(model, site=site).space
    return fbn.Network.from_indices(space, np.flatnonzero(RNG.random(space.n_units) < share))


def reference(model, path):
    prompts = {name: [list(ids(12)) for _ in range(8)] for name in "ab"}
    design = fbn.block_design(prompts, n_runs=1, n_cycles=2, tokens_per_block=12, seed=0)
    return fbn.Scanner(model).scan(design, path, progress=False)


MASK = np.arange(40) % 3 == 0


@pytest.mark.parametrize("positions", ["all", "prompt", "generated", "last", MASK, [0, 5, 21, 22]])
@pytest.mark.parametrize("site", ["mlp.neurons", "attn.heads", "resid.post"])
def test_interventions_on_positions_are_the_same(model, positions, site):
    with fbn.inhibit(model, network(model, site=site), positions=positions):
        assert same(model)
    with fbn.amplify(model, network(model, site=site), gain=3.0, positions=positions):
        assert same(model)


def test_the_end_of_each_prompt_is_found_behind_its_beginning(model):
    """An intervention on what is written, by hand: hooks that know where every item's answer begins."""
    own = network(model)
    with fbn.inhibit(model, own, positions="generated"):
        found = BATTERY.score(model)["t0"].log_likelihood
    hooked = fbn.inhibit(model, own).edits
    for number, (sequence, start) in enumerate(BATTERY.scored_tokens(model)["t0"]):

        def behind(tensor, hook, edit, start):
            return torch.cat([tensor[:, :start], edit(tensor, hook)[:, start:]], dim=1)

        hooks = [(name, functools.partial(behind, edit=edit, start=start)) for name, edit in hooked.items()]
        with torch.no_grad(), model.hooks(fwd_hooks=hooks):
            chances = model(torch.tensor([sequence]))[0].log_softmax(-1)
        scored = [chances[at - 1, sequence[at]].item() for at in range(start, len(sequence))]
        assert found[number] == pytest.approx(np.mean(scored), abs=1e-5)


@pytest.mark.parametrize(("method", "shared"), [("mean", True), ("position_mean", True), ("resample", False)])
def test_replacements_that_are_drawn_for_each_text_are_not_shared(model, method, shared, tmp_path):
    with fbn.inhibit(model, network(model), method=method, reference=reference(model, tmp_path), seed=0):
        assert same(model) == shared
        assert shares_beginnings(model, 30) == shared


def test_hooks_of_the_user_see_whole_texts(model):
    lengths = set()
    with model.hooks(fwd_hooks=[("blocks.0.hook_in", lambda tensor, hook: lengths.add(tensor.shape[1]))]):
        assert not shares_beginnings(model, 30)
        BATTERY.score(model)
    assert min(lengths) > len(HEADS[1])
    handle = model.original_model.register_forward_hook(lambda *_: None)
    assert not shares_beginnings(model, 30)
    handle.remove()
    assert shares_beginnings(model, 30)


def test_hosts_without_a_cache_read_whole_texts():
    model = tiny_model(n_ctx=64)
    assert not shares_beginnings(model, 30)
    assert not same(model)


def test_a_window_of_attention_that_cuts_is_not_shared():
    from transformers import MistralConfig, MistralForCausalLM

    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = MistralConfig(vocab_size=50, num_key_value_heads=2, max_position_embeddings=64, sliding_window=16, **sizes)
    torch.manual_seed(0)
    model = bridged(MistralForCausalLM(config).eval())
    assert not shares_beginnings(model, 16) and shares_beginnings(model, 15)
    assert not same(model)
    short = fbn.Battery.from_pairs({"t": [((*HEADS[0][:10], *ids(2)), ids(1)) for _ in range(12)]})
    np.testing.assert_allclose(
        one_tensor(model, short)[0], one_tensor(model, short, share_prefixes=False)[0], atol=1e-5
    )
    assert sum(short.sizes(model)) < sum(short.sizes(model, share_prefixes=False))


def test_a_cache_that_gives_other_numbers_is_found_out(monkeypatch):
    model = bridged(tiny_llama())
    read = Beginning.read

    def shuffled(*args, **options):
        found = read(*args, **options)
        for layer in found.layers:
            layer.keys = layer.keys.flip(-2)
        return found

    monkeypatch.setattr(Beginning, "read", shuffled)
    assert not shares_beginnings(model, 30)


def test_a_beginning_is_left_as_it_was_by_what_follows(model):
    beginning = Beginning.read(model, torch.tensor([HEADS[0]]))
    before = [layer.keys.clone() for layer in beginning.layers]
    for rest in ([[1, 2, 3]], [[4, 5], [6, 7]]):
        with torch.no_grad():
            logits = model(torch.tensor(rest), past_key_values=beginning.to_follow())
            whole = model(torch.tensor([[*HEADS[0], *one] for one in rest]))
        torch.testing.assert_close(logits, whole[:, len(HEADS[0]) :], atol=1e-5, rtol=1e-4)
    Beginning.read(model, torch.tensor([QUESTION]), beginning)
    for layer, kept in zip(beginning.layers, before, strict=True):
        assert torch.equal(layer.keys, kept)


def test_a_model_is_tried_once_for_each_number_type(monkeypatch):
    model, tried = bridged(tiny_llama()), []
    trial = shared_beginnings._longest_shared
    monkeypatch.setattr(shared_beginnings, "_longest_shared", lambda one: tried.append(1) or trial(one))
    assert shares_beginnings(model, 30) and shares_beginnings(model, 40) and len(tried) == 1
    model.to(torch.bfloat16)
    shares_beginnings(model, 30)
    assert len(tried) == 2


def test_all_tasks_of_the_embedded_model_behind_shots(demo_model):
    """Chats of two worked examples, the same before every item of a task."""
    chats = {task: fbn.chats(task, n=12) for task in fbn.demo.battery(n=1).tasks}
    behind = {task: [[*some[0], *some[1], *one] for one in some[2:]] for task, some in chats.items()}
    battery = fbn.Battery.from_chats(behind, demo_model)
    found, whole = (battery.score(demo_model, share_prefixes=share) for share in (True, False))
    assert sum(battery.sizes(demo_model)) < 0.7 * sum(battery.sizes(demo_model, share_prefixes=False))
    for task, scores in found.items():
        np.testing.assert_allclose(scores.log_likelihood, whole[task].log_likelihood, atol=1e-4)
        assert np.array_equal(scores.exact_match, whole[task].exact_match)
