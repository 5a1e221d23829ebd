"""Attribution patching: TransformerLens's own values, strings as they are given, and what is refused."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch

import tl_fbn as fbn
from tests.helpers.gradients import relative
from tests.helpers.models import bridged, tiny_llama, tiny_model
from tests.oracle.architectures import architecture


def pairs() -> tuple[list[list[int]], list[list[int]], list[tuple[int, int]]]:
    rng = np.random.default_rng(0)
    clean = [rng.integers(3, 49, n).tolist() for n in (6, 9, 7)]
    corrupted = [[*ids[:2], (ids[2] + 5) % 49, *ids[3:]] for ids in clean]
    return clean, corrupted, [(4, 9), (11, 3), (20, 21)]


@pytest.mark.parametrize("positions", ["last", "all"])
def test_attribution_patching_agrees_with_transformer_lens(positions: str) -> None:
    try:
        from transformer_lens.tools.analysis.attribution_patching import cache_activation_and_gradient
    except ImportError:
        pytest.skip("this TransformerLens has no attribution patching")
    model = bridged(tiny_llama()).to(torch.float64)
    clean, corrupted, answers = pairs()
    found = fbn.attribution.attribution_patching(model, clean, corrupted, answers, positions=positions, progress=False)  # type: ignore[arg-type]
    names = [f"blocks.{layer}.mlp.hook_post" for layer in range(2)]
    expected = np.zeros(96)
    for one, other, (right, wrong) in zip(clean, corrupted, answers, strict=True):

        def metric(logits: torch.Tensor, right: int = right, wrong: int = wrong) -> torch.Tensor:
            return logits[0, -1, right] - logits[0, -1, wrong]

        _, cache = model.run_with_cache(torch.tensor([one]), names_filter=names)
        theirs = cache_activation_and_gradient(
            model, torch.tensor([other]), metric, names_filter=lambda name: name in names
        )
        for layer, name in enumerate(names):
            product = ((cache[name] - theirs.activations[name]) * theirs.gradients[name])[0]
            rows = product[-1:] if positions == "last" else product
            expected[48 * layer : 48 * (layer + 1)] += rows.sum(0).detach().numpy() / 3
    assert relative(found.values, expected) < 1e-6


def test_attribution_patching_works_on_opt() -> None:
    opt = architecture("OPT")
    clean, corrupted, answers = pairs()
    found = fbn.attribution.attribution_patching(opt.bridged(opt.build()), clean, corrupted, answers, progress=False)
    assert (found.values != 0).mean() > 0.2


def test_attribution_patching_reads_strings(demo_model: Any) -> None:
    clean = ["[INST] copy : a b c [/INST]", "[INST] copy : d e f [/INST]"]
    corrupted = ["[INST] upper : a b c [/INST]", "[INST] upper : d e f [/INST]"]
    scores = fbn.attribution.attribution_patching(
        demo_model, clean, corrupted, [("a", "A"), ("d", "D")], progress=False
    )
    assert scores.provenance["n_pairs"] == 2 and len(scores.provenance["prompts"]) == 8
    with fbn.inhibit(demo_model, scores.top(20)):
        left = fbn.Battery.from_pairs({"copy": [("[INST] copy : a b c [/INST]", "a b c")]}).evaluate(demo_model)
    assert np.isfinite(left.log_likelihood[0])


def test_refusals(demo_model: Any) -> None:
    clean, corrupted, answers = pairs()
    model = tiny_model()
    with pytest.raises(ValueError, match="got 3, 2 and 3"):
        fbn.attribution.attribution_patching(model, clean, corrupted[:2], answers)
    with pytest.raises(ValueError, match="pair 0 has 6 clean and 9 corrupted tokens"):
        fbn.attribution.attribution_patching(model, clean[:1], corrupted[1:2], answers[:1])
    with pytest.raises(ValueError, match="begin with the same token"):
        fbn.attribution.attribution_patching(model, clean[:1], corrupted[:1], [(4, 4)])
    with pytest.raises(ValueError, match="give token ids for both"):
        fbn.attribution.attribution_patching(demo_model, clean[:1], corrupted[:1], [("a", "b")])
    with pytest.raises(ValueError, match="positions must be 'last' or 'all'; got 'first'"):
        inspect.unwrap(fbn.attribution.attribution_patching)(model, clean, corrupted, answers, positions="first")


@pytest.mark.usefixtures("unchecked")  # the type checker of tests knows that answers come in pairs
@pytest.mark.parametrize("given", [[], [4], [4, 5, 6], ("a",)])
def test_answers_that_are_no_pair_are_refused(given: Any) -> None:
    clean, corrupted, _ = pairs()
    with pytest.raises(
        fbn.InputError, match=r"answers of pair 0 must be \(right, wrong\), two strings or two token ids"
    ):
        fbn.attribution.attribution_patching(tiny_model(), clean[:1], corrupted[:1], [given])


def test_an_answer_is_read_behind_its_prompt_as_given(demo_model: Any) -> None:
    # of a tokenizer of words, any delimiter of white space gives the same tokens; another word does not
    prompts = (["[INST] sort : b a [/INST]"], ["[INST] reverse : b a [/INST]"])
    settings: dict[str, Any] = {"progress": False}
    plain = fbn.attribution.attribution_patching(demo_model, *prompts, [("a", "b")], **settings).values
    spaced = fbn.attribution.attribution_patching(demo_model, *prompts, [("a", "b")], delimiter=" ", **settings).values
    by_ids = [tuple(demo_model.tokenizer.convert_tokens_to_ids(one) for one in "ab")]
    ids = fbn.attribution.attribution_patching(demo_model, *prompts, by_ids, **settings).values
    assert np.array_equal(plain, spaced) and np.array_equal(plain, ids)
    bare = fbn.attribution.attribution_patching(demo_model, *prompts, [("a", "b")], prepend_bos=False, **settings)
    assert not np.array_equal(plain, bare.values)
