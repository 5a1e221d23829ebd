"""Keys: what was recorded decides, and how or where it was recorded does not."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import tl_fbn as fbn
from tests.helpers.designs import small_design, token_prompts
from tests.helpers.models import bridged, tiny_gpt2, tiny_model
from tl_fbn.acquisition.scan import content_key as keys


def key_of(model: Any, design: Any = None, **options: Any) -> str:
    return fbn.Scanner(model, **options).stream(small_design() if design is None else design, progress=False).key


def key_under_pool(model: Any, pool: str, tmp_path: Any) -> str:
    return fbn.Scanner(model, pool=pool).scan(small_design(), tmp_path / pool, progress=False).key


def test_the_same_content_has_the_same_key_whatever_else() -> None:
    key = key_of(tiny_model())
    assert key_of(tiny_model()) == key  # another object of the same weights
    assert key_of(tiny_model(), batch_size=2) == key
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert key_of(tiny_model()) == key
    finally:
        torch.set_num_threads(threads)


def test_one_element_of_one_weight_changes_it_also_through_data() -> None:
    model = tiny_model()
    before = key_of(model)
    for parameter in model.parameters():
        old = parameter.data.view(-1)[-1].clone()
        parameter.data.view(-1)[-1] = -old if old else 1e-7
        assert key_of(model) != before
        parameter.data.view(-1)[-1] = old
    assert key_of(model) == before


def generated(**options: Any) -> Any:
    prompts = {"a": token_prompts(30, seed=1), "b": token_prompts(30, seed=2)}
    return fbn.block_design(prompts, n_runs=2, n_cycles=2, tokens_per_block=10, generate=True, **options)


def test_every_choice_of_content_changes_it(tmp_path) -> None:
    model = tiny_model(n_ctx=128)
    network = fbn.Network.from_indices(fbn.Scanner(model).space, [3])
    keys_seen = [
        key_of(model),
        key_of(model, small_design(seed=1)),
        key_of(model, site="mlp.pre"),
        key_of(model, layers=[0]),
        key_of(model, dtype="bfloat16"),
        key_of(model, surprisal=False),
        key_of(model, entropy=True),
        key_under_pool(model, "mean", tmp_path),
        key_under_pool(model, "last", tmp_path),
        fbn.Scanner(model).stream(small_design(), hooks_id="mine", progress=False).key,
        key_of(model, generated(seed=0)),
        key_of(model, generated(seed=0, tokens_per_prompt=5)),
        key_of(model, generated(seed=0, tokens_per_prompt=5, carry_context=True)),
        key_of(model, generated(seed=0, temperature=1.0)),
        key_of(model, generated(seed=0, temperature=0.5)),
    ]
    for intervention in (fbn.inhibit(model, network), fbn.amplify(model, network, gain=2.0)):
        with intervention:
            keys_seen.append(key_of(model))
    assert len(set(keys_seen)) == len(keys_seen)


def test_the_tokenizer_is_content(demo_model) -> None:
    design = fbn.block_design(
        {"a": [[1, 2, 3], [2, 3, 4]], "b": [[3, 4, 5], [4, 5, 6]]}, n_runs=1, n_cycles=2, tokens_per_block=3, seed=0
    )
    before = key_of(demo_model, design)
    tokenizer = demo_model.tokenizer
    try:
        demo_model.tokenizer = fbn.demo.load_model().tokenizer
        assert key_of(demo_model, design) == before  # the same words
        demo_model.tokenizer.add_tokens(["another"])
        assert key_of(demo_model, design) == before  # no row of the recording has it
        demo_model.tokenizer.add_special_tokens({"pad_token": demo_model.tokenizer.convert_ids_to_tokens(6)})
        assert key_of(demo_model, design) != before  # the row table flags special tokens
    finally:
        demo_model.tokenizer = tokenizer


def test_compatibility_mode_is_content() -> None:
    model = bridged(tiny_gpt2())
    before = key_of(model)
    model.enable_compatibility_mode(disable_warnings=True, no_processing=True)
    assert key_of(model) != before


def test_a_refusal_names_the_fields(tmp_path) -> None:
    about = {"key": "x", "fields": {"site": "a", "dtype": "float32", "gone": 1}}
    with pytest.raises(ValueError, match=r"\(gone: 1 there, None here; site: a there, b here\); give another folder"):
        keys.refuse_other(tmp_path, about, {"site": "b", "dtype": "float32"})
    assert keys.refuse_other(tmp_path, {"key": "k", "fields": {"a": [1]}}, {"a": (1,)}) == "k"
