"""Rivals of CGVST, as maps of the same units, so that lesions can say which to believe.

========================== ====================================================================================================
function                   score of a neuron with activation a
========================== ====================================================================================================
``gradient_x_activation``  first-order drop of the answer's log-likelihood if the neuron is zero: sum_t a_t dlog p/da_t
``integrated_gradients``   the same with the gradient averaged while the whole layer goes from zero to its activations (Dai et al.
                           2022, knowledge neurons, who take 20 steps)
``taylor``                 abs(dL/dw w) of the outgoing weights w (Leng and Xiong 2024): the magnitude of the first, item by item
``attribution_patching``   (a_clean - a_corrupted) d metric/da on the corrupted prompt (Nanda 2023; as Han et al. 2026 score neurons)
``random_scores``          nothing: uniform noise
========================== ====================================================================================================

With :func:`tl_fbn.cgvst` itself (``tokens="all"`` is plain gradient variation), and :func:`tl_fbn.glm.lape`, :func:`tl_fbn.glm.welch_t` and
:func:`tl_fbn.glm.activation_difference` on recordings, that is what a task's neurons are usually looked for with.
:func:`tl_fbn.validate_scores` compares them with lesions.

Signed maps are positive where the neuron helps: zeroing it is predicted to lower the log-likelihood. Cost: one forward and one
backward pass, integrated gradients one a layer and step. TransformerLens 4.3 has attribution patching too
(``tools.analysis.attribution_patching``), with which the one here agrees; it is not used because it gives nothing on OPT, leaves gradients on
parameters and is missing from older versions.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, Unpack

import numpy as np
import torch
from jaxtyping import Float
from tqdm.auto import tqdm

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.chat_template import Items
from tl_fbn.acquisition.model.contexts import beginning, digests_of, encode
from tl_fbn.acquisition.model.host import HookedModel, tokenizer_of
from tl_fbn.acquisition.model.sites import resolve_site
from tl_fbn.acquisition.model.token_layout import Tokens
from tl_fbn.attribution.aggregation import Aggregate, Sums, check_aggregate
from tl_fbn.attribution.backward import batches, per_item, propagate
from tl_fbn.attribution.cgvst import TextOptions, cgvst, gradient_points
from tl_fbn.attribution.cross_entropy import LossItem
from tl_fbn.attribution.loss_items import prepare
from tl_fbn.errors import InputError, one_of
from tl_fbn.units import UnitMap

Text = str | Sequence[int]
PatchedPositions = Literal["last", "all"]


class RivalOptions(TextOptions, total=False):
    """What gradient scores of the neurons take, for those who pass it on; :func:`tl_fbn.cgvst` explains each."""

    batch_size: int
    seed: int | None
    progress: bool


def gradient_x_activation(
    model: HookedModel,
    items: Items,
    positions: Sequence[Any] | None = None,
    *,
    tokens: Tokens | None = None,
    aggregate: Aggregate = "mean",
    **options: Unpack[RivalOptions],
) -> UnitMap:
    """Gradient times activation at the neurons: what zeroing each would cost, to first order.

    ::

        scores = fbn.attribution.gradient_x_activation(model, fbn.chats("sort", n=32))
        scores.top(0.05)

    Args:
        model: A model in eval mode.
        items: Chats, strings or token ids.
        positions: As for :func:`tl_fbn.cgvst`.
        tokens: Which tokens' log-likelihood is explained; by default the answers'.
        aggregate: ``"mean"`` (signed: nats that are lost), or any of :func:`tl_fbn.cgvst`.
        **options: groups, weight, spans, bos_eos, max_tokens, batch_size, seed and progress, as for :func:`tl_fbn.cgvst`.

    Returns:
        (unit,) nats; positive where the neuron helps.

    Raises:
        InputError: As :func:`tl_fbn.cgvst`.
    """
    settings: RivalOptions = {"groups": None, **options}
    found = cgvst(
        model,
        items,
        positions,
        tokens=_explained(tokens, positions),
        variant="grad_x_act",
        site="mlp.neurons",
        aggregate=aggregate,
        **settings,
    )
    signed = -found.values if aggregate in ("mean", "t") else found.values  # the loss is minus the log-likelihood
    return UnitMap(found.space, signed, found.kind, {**found.provenance, "method": "gradient_x_activation"})


def taylor(
    model: HookedModel,
    items: Items,
    positions: Sequence[Any] | None = None,
    *,
    tokens: Tokens | None = None,
    aggregate: Aggregate = "sum_abs",
    **options: Unpack[RivalOptions],
) -> UnitMap:
    """First-order Taylor score of the outgoing weights, sum over items of abs(dL/dw w), as Leng and Xiong (2024) use it.

    ::

        scores = fbn.attribution.taylor(model, fbn.chats("sort", n=32))

    sum_d W_down[d, j] dL/dW_down[d, j] = sum_t a_tj dL/da_tj, so it is the magnitude of :func:`gradient_x_activation`.

    Args:
        model: A model in eval mode.
        items: Chats, strings or token ids.
        positions: As for :func:`tl_fbn.cgvst`.
        tokens: Which tokens' log-likelihood is explained; by default the answers'.
        aggregate: How items are put together; the sum of magnitudes by default, or any of :func:`tl_fbn.cgvst`.
        **options: groups, weight, spans, bos_eos, max_tokens, batch_size, seed and progress, as for :func:`tl_fbn.cgvst`.

    Returns:
        (unit,) scores, at least 0.

    Raises:
        InputError: As :func:`tl_fbn.cgvst`.
    """
    found = gradient_x_activation(model, items, positions, tokens=tokens, aggregate=aggregate, **options)
    return UnitMap(found.space, found.values, found.kind, {**found.provenance, "method": "taylor"})


def integrated_gradients(
    model: HookedModel,
    items: Items,
    positions: Sequence[Any] | None = None,
    *,
    tokens: Tokens | None = None,
    n_steps: int = 20,
    aggregate: Aggregate = "mean",
    spans: Sequence[str] | None = None,
    bos_eos: bool = True,
    max_tokens: int | None = None,
    batch_size: int = 8,
    seed: int | None = None,
    progress: bool = True,
) -> UnitMap:
    """Integrated gradients of the answers' log-likelihood along each layer's activations, from zero.

    ::

        scores = fbn.attribution.integrated_gradients(model, fbn.chats("sort", n=32), n_steps=20)

    Over the units of one layer they add up to what is lost when the whole layer is zero (with enough steps): a saturated neuron gets its share,
    which the gradient alone denies it.

    Args:
        model: A model in eval mode.
        items: Chats, strings or token ids.
        positions: As for :func:`tl_fbn.cgvst`.
        tokens: Which tokens' log-likelihood is explained; by default the answers'.
        n_steps: Points on the path (Dai et al. 2022: 20); here the middles of as many equal parts.
        aggregate: ``"mean"`` (signed: nats), or any of :func:`tl_fbn.cgvst`.
        spans: Literal special texts, by default the chat template's own.
        bos_eos: False: beginning and end of text are empty in the template.
        max_tokens: Longer items are left out and counted; by default an item beyond the context is an error.
        batch_size: Items in a pass; changes nothing but speed and memory.
        seed: Seed of ``tokens="random"``, which needs one.
        progress: Show a bar.

    Returns:
        (unit,) nats; positive where the neuron helps.

    Raises:
        InputError: As for :func:`tl_fbn.cgvst`, or no step.
    """
    check_aggregate(aggregate)
    if n_steps < 1:
        raise InputError(f"n_steps={n_steps} is no path; give at least 1, better 20")
    host.require_eval(model, "integrated gradients")
    space, points = gradient_points(model, "mlp.neurons")
    prepared = prepare(
        model,
        items,
        positions,
        tokens=_explained(tokens, positions),
        groups=None,
        weight=1.0,
        spans=spans,
        bos_eos=bos_eos,
        max_tokens=max_tokens,
        seed=seed,
    )
    sums = Sums(space.n_units)
    total = len(prepared.items) * len(points) * n_steps
    with tqdm(total=total, desc="integrated gradients", unit="pass", disable=not progress) as bar:
        for numbers in batches(prepared.items, batch_size):
            chosen = [prepared.items[number] for number in numbers]
            scores = np.zeros((len(chosen), space.n_units))

            def take(layer: int, gradient: torch.Tensor, value: torch.Tensor, scale: float, scores: Any) -> None:
                whole = value / scale
                scores[:, space.layer_slice(layer)] -= per_item(gradient, whole).double().cpu().numpy() / n_steps

            for layer, name in points.items():
                for step in range(n_steps):
                    scale = (step + 0.5) / n_steps
                    propagate(
                        model,
                        chosen,
                        {layer: name},
                        partial(take, scale=scale, scores=scores),
                        edit=partial(_scaled, scale=scale),
                    )
                    bar.update(len(numbers))
            sums.add(scores)
    about = {"method": "integrated_gradients", "n_steps": n_steps, "aggregate": aggregate, **prepared.provenance}
    return UnitMap(space, sums.value(aggregate), "t" if aggregate == "t" else "attribution", about)


def _explained(tokens: Tokens | None, positions: Sequence[Any] | None) -> Tokens:
    """The tokens asked for; by default the answers', where positions do not say."""
    return tokens or ("special" if positions is not None else "answer")


def _scaled(layer: int, tensor: torch.Tensor, scale: float) -> torch.Tensor:
    return tensor * scale


def attribution_patching(
    model: HookedModel,
    clean: Sequence[Text],
    corrupted: Sequence[Text],
    answers: Sequence[tuple[Any, Any]],
    *,
    positions: PatchedPositions = "last",
    batch_size: int = 8,
    progress: bool = True,
) -> UnitMap:
    """First-order estimate of what putting each neuron's clean activation into the corrupted prompt would do.

    ::

        effect = fbn.attribution.attribution_patching(model, ["Anna said that"], ["Peter said that"], [(" she", " he")])

    The metric is log p(right) - log p(wrong) of the next token, its gradient taken on the corrupted prompt.

    Args:
        model: A model in eval mode.
        clean: Prompts, strings or token ids.
        corrupted: As many, each with as many tokens as its clean one.
        answers: (right, wrong) for each pair: the right one is what should follow the clean prompt. Strings (their first token counts) or
            token ids.
        positions: ``"last"`` token of the prompt (Han et al. 2026), or the sum over ``"all"``.
        batch_size: Pairs in a pass.
        progress: Show a bar.

    Returns:
        (unit,) nats, the mean over pairs; positive where the clean activation favours the right answer.

    Raises:
        InputError: No pairs, pairs of different lengths, or answers that begin with the same token.
    """
    one_of(positions, PatchedPositions, "positions")
    if not len(clean) or not len(clean) == len(corrupted) == len(answers):
        raise InputError(
            f"attribution_patching needs as many clean as corrupted prompts and pairs of answers; got {len(clean)}, {len(corrupted)} and {len(answers)}"
        )
    host.require_eval(model, "attribution patching")
    tokenizer = tokenizer_of(model)
    d_vocab = host.vocabulary_size(model)
    bos = beginning(tokenizer, d_vocab)
    pairs: list[tuple[tuple[int, ...], LossItem]] = []
    digests: set[str] = set()
    for number, (one, other, both) in enumerate(zip(clean, corrupted, answers, strict=True)):
        ids, changed = (encode(tokenizer, _prompt(text), d_vocab=d_vocab) for text in (one, other))
        if len(ids) != len(changed):
            raise InputError(
                f"pair {number} has {len(ids)} clean and {len(changed)} corrupted tokens; a position must be the same in both"
            )
        right, wrong = (_first_token(tokenizer, one, answer, ids, d_vocab) for answer in both)
        if right == wrong:
            raise InputError(f"the answers of pair {number}, {both[0]!r} and {both[1]!r}, begin with the same token")
        last = len(ids) - 1
        pairs.append((ids, LossItem(changed, (last, last), (right, wrong), (1.0, -1.0))))
        digests.update(digests_of(_prompt(one), ids, bos), digests_of(_prompt(other), changed, bos))
    site = resolve_site(model, "mlp.neurons")
    sums = Sums(site.space.n_units)
    with tqdm(total=len(pairs), desc="attribution patching", unit="pair", disable=not progress) as bar:
        for numbers in batches([item for _, item in pairs], batch_size):
            chosen = [pairs[number] for number in numbers]
            values = _patched(model, chosen, site.hook_names, positions)
            sums.add(np.concatenate([values[layer] for layer in sorted(values)], axis=1))
            bar.update(len(numbers))
    about = {
        "method": "attribution_patching",
        "positions": positions,
        "n_pairs": len(pairs),
        "prompts": sorted(digests),
    }
    return UnitMap(site.space, sums.value("mean"), "attribution", about)


def _patched(
    model: HookedModel,
    pairs: Sequence[tuple[tuple[int, ...], LossItem]],
    points: dict[int, str],
    positions: PatchedPositions,
) -> dict[int, Float[np.ndarray, "pair unit"]]:
    """(a_clean - a_corrupted) times the metric's gradient, by layer."""
    clean: dict[int, torch.Tensor] = {}
    found: dict[int, np.ndarray] = {}
    ids, mask, _ = host.pad_batch([ids for ids, _ in pairs], host.model_device(model))
    counted = torch.zeros_like(mask)
    for row, (tokens, _) in enumerate(pairs):
        counted[row, len(tokens) - 1 if positions == "last" else 0 : len(tokens)] = 1

    def keep(tensor: torch.Tensor, hook: Any, layer: int) -> None:
        clean[layer] = tensor.detach().clone()

    def take(layer: int, gradient: torch.Tensor, value: torch.Tensor) -> None:
        difference = (clean.pop(layer) - value) * counted.to(value)[..., None]
        found[layer] = -per_item(gradient, difference).double().cpu().numpy()

    with torch.no_grad(), model.hooks(fwd_hooks=[(name, partial(keep, layer=layer)) for layer, name in points.items()]):
        host.forward(model, ids, mask)
    propagate(model, [item for _, item in pairs], points, take)
    return found


def _prompt(text: Text) -> str | tuple[int, ...]:
    return text if isinstance(text, str) else tuple(int(token) for token in text)


def _first_token(tokenizer: Any, prompt: Text, answer: Any, ids: tuple[int, ...], d_vocab: int | None) -> int:
    if not isinstance(answer, str):
        return int(answer)
    if not isinstance(prompt, str):
        raise InputError(f"answer {answer!r} is a string and its prompt token ids; give token ids for both")
    whole = encode(tokenizer, f"{prompt.rstrip()} {answer.lstrip()}", d_vocab=d_vocab)
    if whole[: len(ids)] != ids or len(whole) <= len(ids):
        raise InputError(
            f"answer {answer!r} merges with the end of its prompt, so it has no first token of its own; give token ids"
        )
    return whole[len(ids)]


def random_scores(model: HookedModel, *, seed: int) -> UnitMap:
    """Uniform noise over a model's MLP neurons: what a score must beat.

    >>> import tl_fbn as fbn
    >>> len(random_scores(fbn.demo.load_model(), seed=0).top(0.05))
    57

    Args:
        model: A TransformerLens model.
        seed: Another seed is another draw.

    Returns:
        (unit,) numbers from 0 to 1.

    Raises:
        InputError: The model has no MLP neurons that a hook can reach.
    """
    space = resolve_site(model, "mlp.neurons").space
    values = np.random.default_rng(seed).random(space.n_units)
    return UnitMap(space, values, "attribution", {"method": "random", "seed": seed, "prompts": []})
