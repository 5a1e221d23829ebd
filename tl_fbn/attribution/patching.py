"""Attribution patching: what a clean activation in a corrupted prompt would do, to first order (Nanda 2023).

For two prompts of one length that differ in what should follow them, a neuron's score at a token of the prompt is
(a_clean - a_corrupted) dmetric/da, with the gradient taken on the corrupted prompt; Han et al. (2026) score neurons so
at the last token. The metric is log p(right) - log p(wrong), and of an answer of several tokens all of them count, each
given those before it::

    log p(answer) = sum_k log p(token k | corrupted prompt, tokens 1 to k - 1)

What the model makes of the prompt acts on the later tokens, too, so that the gradient at the prompt is that of the
whole sum. Activations at the answer itself are not patched: they follow from those at the prompt.

Cost: two forward passes and one backward pass a pair, and twice that where an answer has several tokens, as right and
wrong are then texts of their own. TransformerLens 4.3 has the method for metrics of one text
(``tools.analysis.attribution_patching``), with which the one here agrees; it is not used because it gives nothing on
OPT, leaves gradients on parameters and is missing from older versions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from tqdm.auto import tqdm

from tl_fbn.acquisition.design.prompt_forms import Prompt, checked_ids, checked_prompt
from tl_fbn.acquisition.design.text_joining import checked_delimiter, joined
from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.attached_hooks import hooked
from tl_fbn.acquisition.model.contexts import beginning, digests_of, encode
from tl_fbn.acquisition.model.host import HookedModel, tokenizer_of
from tl_fbn.acquisition.model.sites import resolve_site
from tl_fbn.attribution.backward import per_item, propagate
from tl_fbn.attribution.cross_entropy import LossItem
from tl_fbn.attribution.gradient_batches import gradient_batches
from tl_fbn.errors import InputError, one_of
from tl_fbn.signatures import checked
from tl_fbn.units import UnitMap

Text = str | Sequence[int]
PatchedPositions = Literal["last", "all"]


@checked
def attribution_patching(
    model: HookedModel,
    clean: Sequence[Text],
    corrupted: Sequence[Text],
    answers: Sequence[tuple[Any, Any]],
    *,
    positions: PatchedPositions = "last",
    batch_tokens: int = 8192,
    progress: bool = True,
    prepend_bos: bool | None = None,
    delimiter: str | None = None,
) -> UnitMap:
    """First-order estimate of what putting each neuron's clean activation into the corrupted prompt would do.

    The metric is log p(right) - log p(wrong) of the whole answers, its gradient taken on the corrupted prompt.

    >>> sort = ["[INST] sort : b a d c [/INST]", "[INST] sort : c a f [/INST]"]
    >>> reverse = ["[INST] reverse : b a d c [/INST]", "[INST] reverse : c a f [/INST]"]
    >>> answers = [("a b c d", "c d a b"), ("a c f", "f a c")]  # the answer to each task
    >>> fbn.attribution.attribution_patching(model, sort, reverse, answers, progress=False).top(5)
    Network "top 5": 5 of 1,152 units (0.43%) of tl_fbn-demo mlp.neurons (3 x 384), per layer 0 1 4
    >>> letters = [("a", "c"), ("a", "f")]  # the first letter alone
    >>> fbn.attribution.attribution_patching(model, sort, reverse, letters, progress=False).top(5)
    Network "top 5": 5 of 1,152 units (0.43%) of tl_fbn-demo mlp.neurons (3 x 384), per layer 0 1 4

    Args:
        model: A TransformerLens model in eval mode; its parameters stay as they are.
        clean: Prompts, as strings or lists of token ids.
        corrupted: As many prompts, each with as many tokens as the clean prompt of its pair.
        answers: (right, wrong) for each pair; the right one is what should follow the clean prompt. Each is a string, a
            token id or a list of token ids, and is scored whole; a word's first token alone is given by its id.
        positions: ``"last"`` patches the last token of the prompt alone (Han et al. 2026); ``"all"`` adds up the
            effects at all its tokens.
        batch_tokens: Largest number of tokens in a pass, padding counted; it changes speed and memory only.
        progress: True shows a progress bar.
        prepend_bos: True or False puts the beginning-of-text token before prompts that are strings, or leaves it out;
            None does as the host does.
        delimiter: What stands between a prompt and its answers as strings; None puts one space there where the prompt
            ends in a letter, a digit or a closing mark and neither brings white space.

    Returns:
        (unit,) nats, the mean over pairs; positive where the clean activation favours the right answer.

    Raises:
        InputError: No pairs, pairs of different lengths, answers that are no pair, are the same, begin one with the
            other or merge with the end of their prompt, or a model without gradients.
    """
    one_of(positions, PatchedPositions, "positions")
    if not len(clean) or not len(clean) == len(corrupted) == len(answers):
        raise InputError(
            "attribution_patching needs as many clean as corrupted prompts and pairs of answers; "
            f"got {len(clean)}, {len(corrupted)} and {len(answers)}"
        )
    host.require_eval(model, "attribution patching")
    tokenizer = tokenizer_of(model)
    d_vocab = host.vocabulary_size(model)
    bos = beginning(tokenizer, d_vocab)
    settings = {"d_vocab": d_vocab, "prepend_bos": host.prepends_bos(model, prepend_bos)}
    checked_delimiter(delimiter)
    rows: list[_Row] = []
    digests: set[str] = set()
    for number, (one, other, both) in enumerate(zip(clean, corrupted, answers, strict=True)):
        if len(both) != 2:
            raise InputError(
                f"the answers of pair {number} must be (right, wrong), each a string, a token id or a list of token "
                f"ids; got {both!r}"
            )
        one, other = (checked_prompt(text, f"a prompt of pair {number}") for text in (one, other))
        ids, changed = (encode(tokenizer, text, **settings) for text in (one, other))
        if len(ids) != len(changed):
            raise InputError(
                f"pair {number} has {len(ids)} clean and {len(changed)} corrupted tokens; "
                "a position must be the same in both"
            )
        right, wrong = (_answer_tokens(tokenizer, one, answer, ids, delimiter, settings) for answer in both)
        every = (*ids, *changed, *right, *wrong)
        if d_vocab is not None and not 0 <= min(every) <= max(every) < d_vocab:
            raise InputError(
                f"pair {number} has token ids {min(every)} to {max(every)}, the vocabulary is 0 to {d_vocab - 1}"
            )
        if all(a == b for a, b in zip(right, wrong, strict=False)):
            raise InputError(
                f"the answers of pair {number}, {both[0]!r} and {both[1]!r}, are the same, or one begins with the "
                "other, which is then never less likely; give two that differ, or add what ends them"
            )
        rows += _rows(ids, changed, right, wrong)
        digests.update(digests_of(one, ids, bos), digests_of(other, changed, bos))
    site = resolve_site(model, "mlp.neurons")
    total = np.zeros(site.space.n_units)  # sum over pairs
    with tqdm(total=len(rows), desc="attribution patching", unit="text", disable=not progress) as bar:
        for numbers in gradient_batches(model, [row.item for row in rows], batch_tokens, site.space, site.hook_names):
            values = _patched(model, [rows[number] for number in numbers], site.hook_names, positions)
            total += np.concatenate([values[layer] for layer in sorted(values)], axis=1).sum(0)
            bar.update(len(numbers))
    about = {
        "method": "attribution_patching",
        "positions": positions,
        "n_pairs": len(clean),
        "model_dtype": host.number_type(model),
        "prompts": sorted(digests),
    }
    return UnitMap(site.space, total / len(clean), "attribution", about)


@dataclass(frozen=True)
class _Row:
    """A corrupted text with its loss, which is minus the metric or a part of it, and the clean text beside it.

    Both begin with a prompt of ``n_prompt`` tokens and end alike: with the tokens of an answer but for its last one.
    """

    clean: tuple[int, ...]
    item: LossItem
    n_prompt: int


def _rows(
    clean: tuple[int, ...], corrupted: tuple[int, ...], right: tuple[int, ...], wrong: tuple[int, ...]
) -> list[_Row]:
    """The texts of a pair, whose losses add up to log p(wrong) - log p(right), which is minus the metric."""
    n = len(clean)
    if len(right) == len(wrong) == 1:  # both are read off the logits of the prompt's last token: one text
        return [_Row(clean, LossItem(corrupted, (n - 1, n - 1), (*right, *wrong), (1.0, -1.0)), n)]
    # the logits before each token of the answer, which the tokens before it are given for
    return [
        _Row(
            (*clean, *answer[:-1]),
            LossItem(
                (*corrupted, *answer[:-1]),
                tuple(range(n - 1, n - 1 + len(answer))),
                answer,
                (weight,) * len(answer),
            ),
            n,
        )
        for answer, weight in ((right, 1.0), (wrong, -1.0))
    ]


def _patched(
    model: HookedModel, rows: Sequence[_Row], points: dict[int, str], positions: PatchedPositions
) -> dict[int, Float[np.ndarray, "row unit"]]:
    """(a_clean - a_corrupted) times the metric's gradient, by layer."""
    clean: dict[int, torch.Tensor] = {}
    effects: dict[int, np.ndarray] = {}
    ids, mask, _ = host.pad_batch([row.clean for row in rows], host.model_device(model))
    # (batch, pos) 1 where activations are patched: at the prompt, which has one length in both texts
    counted = torch.zeros_like(mask)
    for number, row in enumerate(rows):
        counted[number, row.n_prompt - 1 if positions == "last" else 0 : row.n_prompt] = 1

    def keep(tensor: torch.Tensor, hook: Any, layer: int) -> None:
        clean[layer] = tensor.detach().clone()

    def take(layer: int, gradient: torch.Tensor, value: torch.Tensor) -> None:
        # a_clean - a_corrupted; the gradient is the loss's, which is minus the metric
        difference = (clean.pop(layer) - value) * counted.to(value)[..., None]
        effects[layer] = -per_item(gradient, difference).double().cpu().numpy()

    # clean activations first, then the pass with gradients over the corrupted prompts
    hooks = [(name, partial(keep, layer=layer)) for layer, name in points.items()]
    with hooked(model, hooks, "attribution patching"), torch.no_grad():
        host.forward(model, ids, mask)
    propagate(model, [row.item for row in rows], points, take)
    return effects


def _answer_tokens(
    tokenizer: Any, prompt: Prompt, answer: Any, ids: tuple[int, ...], delimiter: str | None, settings: dict[str, Any]
) -> tuple[int, ...]:
    """Token ids of an answer behind the prompt, whose token ids are given."""
    if not isinstance(answer, str):
        several = hasattr(answer, "__len__")
        return checked_ids(answer if several else [answer], "an answer" if several else "the token of an answer")
    if not isinstance(prompt, str):
        raise InputError(f"answer {answer!r} is a string and its prompt token ids; give token ids for both")
    # tokenised after its prompt: how a tokenizer cuts a word depends on what stands before it
    whole = encode(tokenizer, joined(prompt, answer, delimiter), **settings)
    if whole[: len(ids)] != ids or len(whole) <= len(ids):
        raise InputError(
            f"answer {answer!r} merges with the end of its prompt, so it has no tokens of its own; give token ids"
        )
    return whole[len(ids) :]
