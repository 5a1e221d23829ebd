"""What is asked of a model: deterministic, its weights known, its hooks told apart, its padding without effect."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from tl_fbn.acquisition.model import host


class Ours:
    """An edit as this package makes them."""

    def __init__(self, digest: str) -> None:
        self.digest = digest

    def __call__(self, tensor: torch.Tensor, hook: Any) -> torch.Tensor:
        return tensor * 0.5


def theirs(tensor: torch.Tensor, hook: Any) -> None:
    """A hook of the user's."""


# What can be hooked


def test_bridges_can_be_hooked(model: Any) -> None:
    host.require_model(model)


@pytest.mark.parametrize(
    ("thing", "missing"),
    [
        (nn.Linear(1, 1), "cfg, hook_dict, hooks"),
        (SimpleNamespace(cfg=1, hook_dict={}, hooks=1), "__call__"),
        (SimpleNamespace(cfg=1), "hook_dict, hooks"),
        ("gpt2", "cfg, hook_dict, hooks"),
    ],
)
def test_what_cannot_be_hooked_says_what_is_missing(thing: Any, missing: str) -> None:
    with pytest.raises(
        TypeError, match=rf"cannot be hooked \(it has no {missing}\); give a TransformerLens model, e\.g\. Trans"
    ):
        host.require_model(thing)


# Determinism


def test_eval_mode_is_required_where_something_is_random() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.25))
    with pytest.raises(
        ValueError, match=r"scan needs a deterministic model, but 1 is in training mode with dropout p=0\.25"
    ):
        host.require_eval(network, "scan")
    host.require_eval(network.eval(), "scan")
    host.require_eval(nn.Sequential(nn.Dropout(0.0), nn.Linear(2, 2)), "scan")  # training, but nothing random
    network[1].train()  # a part is enough
    with pytest.raises(ValueError, match=r"call model\.eval\(\) first"):
        host.require_eval(network, "scan")


def test_the_model_inside_a_bridge_counts() -> None:
    wrapper = SimpleNamespace(original_model=nn.Sequential(nn.Dropout(0.1)))
    with pytest.raises(ValueError, match=r"a battery needs a deterministic model, but 0 is in training mode"):
        host.require_eval(wrapper, "a battery")


@pytest.mark.parametrize(
    ("key", "random"), [("attn_pdrop", True), ("attention_dropout", True), ("summary_first_dropout", False)]
)
def test_dropout_named_only_in_the_config(key: str, random: bool) -> None:
    network = nn.Linear(2, 2)
    network.config = SimpleNamespace(**{key: 0.1, "n_drop": 3})
    if random:
        with pytest.raises(ValueError, match=rf"it is in training mode with \{{'{key}': 0\.1\}}; call model\.eval"):
            host.require_eval(network, "scan")
    else:
        host.require_eval(network, "scan")
    host.require_eval(network.eval(), "scan")


# Facts about a model


def test_facts(model: Any) -> None:
    assert host.model_label(model) == "native"
    assert host.context_length(model) == 32
    assert host.vocabulary_size(model) == 50
    assert host.model_device(model) == torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "label"), [("org/gpt", "gpt"), ("/a/b/checkpoint/", "b-checkpoint"), (None, "SimpleNamespace"), ("x", "x")]
)
def test_labels_are_the_last_part_of_a_path(name: str | None, label: str) -> None:
    assert host.model_label(SimpleNamespace(cfg=SimpleNamespace(model_name=name))) == label


@pytest.mark.parametrize("size", [None, -1, 0])
def test_unknown_vocabularies(size: int | None) -> None:
    assert host.vocabulary_size(SimpleNamespace(cfg=SimpleNamespace(d_vocab=size))) is None
    assert host.context_length(SimpleNamespace(cfg=SimpleNamespace())) is None


# Hooks


def test_our_edits_and_foreign_hooks_are_told_apart(model: Any) -> None:
    post, out = "blocks.0.mlp.hook_post", "blocks.1.hook_mlp_out"
    assert host.fwd_hook_functions(model) == []
    with model.hooks(fwd_hooks=[(post, Ours("one")), (out, theirs), (post, Ours("two"))]):
        found = host.fwd_hook_functions(model)
        assert len(found) == 3  # a hook point that goes by several names counts once
        edits = [edit.split() for edit in host.active_edits(model)]
        assert [digest for _, digest in edits] == ["one", "two"]
        assert all(model.hook_dict[name] is model.hook_dict[post] for name, _ in edits)
        ((name, function),) = host.foreign_hooks(model)
        assert function is theirs
        assert model.hook_dict[name] is model.hook_dict[out]
    assert host.fwd_hook_functions(model) == []
    assert host.active_edits(model) == host.foreign_hooks(model) == []


def test_the_order_of_edits_counts(model: Any) -> None:
    post = "blocks.0.mlp.hook_post"
    orders = []
    for digests in (["a", "b"], ["b", "a"]):
        with model.hooks(fwd_hooks=[(post, Ours(digest)) for digest in digests]):
            orders.append(host.active_edits(model))
    assert orders[0] == orders[1][::-1] != orders[1]


def test_functions_that_are_in_no_closure_stay_themselves() -> None:
    assert host.unwrapped(theirs) is theirs
    assert host.unwrapped(len) is len

    def wrap(hook: Any) -> Any:
        return lambda module, inputs, output: hook(output, module)

    assert host.unwrapped(wrap(theirs)) is theirs


# Batches


def test_pad_batch_known_answer() -> None:
    ids, mask, real = host.pad_batch([[5, 6, 7], [8], [9, 4]], torch.device("cpu"))
    assert ids.tolist() == [[5, 6, 7], [8, 0, 0], [9, 4, 0]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0], [1, 1, 0]]
    assert real.tolist() == [0, 1, 2, 3, 6, 7]
    assert ids.flatten()[real].tolist() == [5, 6, 7, 8, 9, 4]


@torch.no_grad()
def test_padding_changes_no_real_token(model: Any) -> None:
    prompts = [[5, 6, 7, 8, 9], [1], [3, 2, 1]]
    ids, mask, real = host.pad_batch(prompts, torch.device("cpu"))
    together = host.forward(model, ids, mask)
    assert together is not None
    alone = torch.cat([model(torch.tensor([prompt]))[0] for prompt in prompts])
    torch.testing.assert_close(together.flatten(0, 1)[real], alone)


def test_the_mask_is_left_out_where_nothing_is_padded() -> None:
    calls: list[dict[str, Any]] = []

    def model(ids: torch.Tensor, **options: Any) -> torch.Tensor:
        calls.append(options)
        return ids

    device = torch.device("cpu")
    host.forward(model, *host.pad_batch([[1, 2], [3, 4]], device)[:2])
    host.forward(model, *host.pad_batch([[1, 2], [3]], device)[:2], return_type=None)
    assert calls[0] == {"return_type": "logits"}
    assert calls[1]["return_type"] is None
    assert calls[1]["attention_mask"].tolist() == [[1, 1], [1, 0]]


def test_a_beginning_of_text_is_put_where_the_host_puts_one_or_as_asked(demo_model: Any) -> None:
    class Model:
        def __init__(self, tokenizer: Any = None, **settings: Any) -> None:
            self.cfg, self.tokenizer = SimpleNamespace(**settings), tokenizer

    known = SimpleNamespace(bos_token_id=1)
    assert host.prepends_bos(Model(default_prepend_bos=True)) and host.prepends_bos(Model())  # a host that does not say
    assert not host.prepends_bos(Model(default_prepend_bos=False))
    assert host.prepends_bos(Model(known, default_prepend_bos=False, d_vocab=5), True)
    assert not host.prepends_bos(Model(known, default_prepend_bos=True), False)
    assert host.prepends_bos(known)  # a tokenizer alone
    for given in (Model(), Model(SimpleNamespace(bos_token_id=None)), Model(known, d_vocab=1)):
        with pytest.raises(ValueError, match="prepend_bos=True, but the tokenizer has no beginning-of-text token"):
            host.prepends_bos(given, True)
    with pytest.raises(ValueError, match="must be True, False, or None to do as the host does"):
        inspect.unwrap(host.prepends_bos)(Model(), 1)
    # the embedded model was trained with one, though others of its architecture were not
    assert host.prepends_bos(demo_model)
    made = Model(default_prepend_bos=True)
    host.follow_settings(made, Model(default_prepend_bos=False))
    assert made.cfg.default_prepend_bos is False


# What a model computes in


def test_the_number_type_is_that_of_most_weights_and_says_what_they_were_packed_in() -> None:
    class Model(nn.Module):
        def __init__(self, *parts: torch.Tensor, **config: Any) -> None:
            super().__init__()
            self.cfg = SimpleNamespace()
            self.original_model = SimpleNamespace(config=SimpleNamespace(**config))
            self.parts = nn.ParameterList([nn.Parameter(one, requires_grad=False) for one in parts])

    half, whole = torch.zeros(9, dtype=torch.bfloat16), torch.zeros(4)
    mixed = Model(half, whole)
    assert host.number_type(mixed) == "bfloat16"
    mixed.cfg.packed_label = "Q4_1"
    assert host.number_type(mixed) == "bfloat16 (unpacked from Q4_1)"
    made = SimpleNamespace(cfg=SimpleNamespace())
    host.follow_settings(made, mixed)
    assert made.cfg.packed_label == "Q4_1"
    # weights that stay packed are whole numbers, and do not count
    packed = torch.zeros(50, dtype=torch.uint8)
    assert host.number_type(Model(half, packed, quantization_config={"quant_method": "bitsandbytes"})) == (
        "bfloat16 (packed by bitsandbytes)"
    )
    assert host.number_type(Model(packed)) is None


@pytest.mark.parametrize(
    ("device", "reason"),
    [
        ("nonsense", "Expected one of cpu"),
        ("", "empty"),
        ("cuda:99", "there is no CUDA GPU here"),
        ("meta", "no numbers"),
    ],
)
def test_devices_that_cannot_be_used_say_why(device: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    host.require_device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(
        ValueError, match=rf"device '{device}' cannot be used \(.*{reason}.*\); give cpu, cuda"
    ) as refused:
        host.require_device(device)
    assert len(str(refused.value)) < 600 and "\n" not in str(refused.value)
