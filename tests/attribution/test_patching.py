"""Attribution patching: TransformerLens's own values, small steps of exact patching, strings, and what is refused."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

import tl_fbn as fbn
from tests.helpers.gradients import relative
from tests.helpers.models import bridged, tiny_gpt2, tiny_llama, tiny_model
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


WORDS = [([4, 9, 30], [11, 3]), ([20], [20 + 1, 7]), ([5, 6], [5, 8])]  # answers of one to three tokens


@pytest.mark.parametrize("positions", ["last", "all"])
def test_whole_answers_are_scored_as_small_steps_of_exact_patching(positions: str) -> None:
    model = bridged(tiny_gpt2()).to(torch.float64)  # a norm that keeps float64, which small steps need
    clean, corrupted, _ = pairs()
    found = fbn.attribution.attribution_patching(model, clean, corrupted, WORDS, positions=positions, progress=False)  # type: ignore[arg-type]

    def metric(ids: list[int], answers: Any, hooks: list[Any]) -> float:
        """log p(right) - log p(wrong), every token given the prompt and those before it, with hooks on the model."""
        said = []
        for answer in answers:
            with model.hooks(fwd_hooks=hooks), torch.no_grad():
                log_p = model(torch.tensor([[*ids, *answer]]))[0].log_softmax(-1)
            said.append(sum(float(log_p[len(ids) - 1 + k, token]) for k, token in enumerate(answer)))
        return said[0] - said[1]

    expected = dict.fromkeys(((0, 3), (0, 40), (1, 0), (1, 17)), 0.0)
    for one, other, answers in zip(clean, corrupted, WORDS, strict=True):
        _, cache = model.run_with_cache(torch.tensor([one]))
        touched = slice(len(one) - 1 if positions == "last" else 0, len(one))
        for layer, unit in expected:
            name = f"blocks.{layer}.mlp.hook_post"

            def moved(tensor: Any, hook: Any, step: float, to: Any, at: Any, unit: int) -> Any:
                # a step of the way to the clean activation, at the prompt
                tensor = tensor.clone()
                tensor[:, at, unit] += step * (to[:, at, unit] - tensor[:, at, unit])
                return tensor

            by = partial(moved, to=cache[name], at=touched, unit=unit)
            ends = [metric(other, answers, [(name, partial(by, step=step))]) for step in (1e-4, -1e-4)]
            expected[layer, unit] += (ends[0] - ends[1]) / 2e-4 / len(WORDS)
    values = np.array([found.values[128 * layer + unit] for layer, unit in expected])
    assert relative(values, np.array(list(expected.values()))) < 1e-6
    # by no size of passes, and each pair by itself
    apart = [
        fbn.attribution.attribution_patching(
            model,
            clean[i : i + 1],
            corrupted[i : i + 1],
            WORDS[i : i + 1],
            positions=positions,
            batch_tokens=12,
            progress=False,  # type: ignore[arg-type]
        ).values
        for i in range(3)
    ]
    assert relative(np.mean(apart, axis=0), found.values) < 1e-9


def test_answers_of_one_token_are_the_same_however_they_are_given() -> None:
    model = bridged(tiny_llama())
    clean, corrupted, answers = pairs()
    found = [
        fbn.attribution.attribution_patching(model, clean, corrupted, given, progress=False).values
        for given in (answers, [([right], np.array([wrong])) for right, wrong in answers])
    ]
    assert np.array_equal(*found)


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
    for same in ((4, 4), ([4, 5], [4]), ([4, 5], [4, 5])):
        with pytest.raises(ValueError, match="are the same, or one begins with the other"):
            fbn.attribution.attribution_patching(model, clean[:1], corrupted[:1], [same])
    with pytest.raises(ValueError, match="the vocabulary is 0 to"):
        fbn.attribution.attribution_patching(model, clean[:1], corrupted[:1], [([4, 10_000], [5])])
    with pytest.raises(ValueError, match="give token ids for both"):
        fbn.attribution.attribution_patching(demo_model, clean[:1], corrupted[:1], [("a", "b")])
    with pytest.raises(ValueError, match="positions must be 'last' or 'all'; got 'first'"):
        inspect.unwrap(fbn.attribution.attribution_patching)(model, clean, corrupted, answers, positions="first")


@pytest.mark.usefixtures("unchecked")  # the type checker of tests knows that answers come in pairs
@pytest.mark.parametrize("given", [[], [4], [4, 5, 6], ("a",)])
def test_answers_that_are_no_pair_are_refused(given: Any) -> None:
    clean, corrupted, _ = pairs()
    with pytest.raises(
        fbn.InputError, match=r"answers of pair 0 must be \(right, wrong\), each a string, a token id or a list"
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
    # of several words all count
    whole = fbn.attribution.attribution_patching(demo_model, *prompts, [("a b", "b a")], **settings).values
    by_ids = [tuple(demo_model.tokenizer.convert_tokens_to_ids(list(one)) for one in ("ab", "ba"))]
    ids = fbn.attribution.attribution_patching(demo_model, *prompts, by_ids, **settings).values
    assert np.array_equal(whole, ids) and not np.array_equal(whole, plain)
