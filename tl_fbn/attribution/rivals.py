"""Other scores of a task's neurons, rivals of CGVST: maps of the same units, so that lesions can say which to believe.

========================== ============================================================================================
function                   score of a neuron with activation a_t at token t
========================== ============================================================================================
``gradient_x_activation``  first-order drop of the answer's log-likelihood log p if the neuron is set to zero:
                           sum_t a_t dlog p/da_t
``integrated_gradients``   the same with the gradient averaged while the whole layer goes from zero to its activations
                           (Dai et al. 2022, knowledge neurons, who take 20 steps)
``taylor``                 abs(sum of w dL/dw over the outgoing weights w), with L the loss (Leng and Xiong 2024): the
                           magnitude of ``gradient_x_activation``, item by item
``attribution_patching``   (a_clean - a_corrupted) times dmetric/da on the corrupted prompt (Nanda 2023; as Han et al.
                           2026 score neurons)
``random_scores``          uniform noise, which knows nothing
========================== ============================================================================================

These, :func:`tl_fbn.cgvst` itself (with ``tokens="all"`` it is plain gradient variation), and on recordings
:func:`tl_fbn.glm.lape`, :func:`tl_fbn.glm.welch_t` and :func:`tl_fbn.glm.activation_difference` are what a task's
neurons are usually looked for with. None is causal by itself: :func:`tl_fbn.validate_scores` compares them with
lesions.

Signed maps are in nats and positive where the neuron helps: setting it to zero is predicted to lower the
log-likelihood. Cost: one forward and one backward pass an item; integrated gradients take one for every layer and step.
TransformerLens 4.3 has attribution patching too (``tools.analysis.attribution_patching``), with which the one here
agrees; it is not used because it gives nothing on OPT, leaves gradients on parameters and is missing from older
versions.
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
from tl_fbn.signatures import checked
from tl_fbn.units import UnitMap
from tl_fbn.values import whole as whole_number

Text = str | Sequence[int]
PatchedPositions = Literal["last", "all"]


class RivalOptions(TextOptions, total=False):
    """Options of :func:`tl_fbn.cgvst` that gradient scores of neurons take too, for functions that pass them on."""

    batch_size: int
    seed: int | None
    progress: bool


@checked
def gradient_x_activation(
    model: HookedModel,
    items: Items,
    positions: Sequence[Any] | None = None,
    *,
    tokens: Tokens | None = None,
    aggregate: Aggregate = "mean",
    **options: Unpack[RivalOptions],
) -> UnitMap:
    """Gradient times activation: what setting each neuron to zero would cost the answer, to first order.

    Near 0 where the model is sure of the answer. The demo model was taught to sort up to six letters; here are seven:

    >>> rows = [("", "sort : k a e g i b d", "a b d e g i k"), ("", "sort : c i d h j f b", "b c d f h i j")]
    >>> chats = fbn.few_shot_chats(rows, n_shots=0, seed=0)
    >>> fbn.attribution.gradient_x_activation(model, chats, progress=False).top(0.02)
    Network "top 0.02": 23 of 1,152 units (2.00%) of tl_fbn-demo mlp.neurons (3 x 384), per layer 11 3 9

    Args:
        model: A TransformerLens model in eval mode; its parameters stay as they are.
        items: Chats (lists of messages with role and content), strings, or lists of token ids.
        positions: For every item, the positions of the tokens whose log-likelihood is explained: one list, or two lists
            whose means are added; None where ``tokens`` says it.
        tokens: Tokens whose log-likelihood is explained: ``"answer"``, ``"special"``, ``"content"``, ``"all"`` or
            ``"random"``. None takes the answers where there are no ``positions``.
        aggregate: How the items' scores are put together: ``"mean"`` (signed: nats that are lost), ``"t"`` (signed),
            ``"sum_abs"``, ``"mean_abs"`` or ``"abs_mean"``.
        **options: Options of :func:`tl_fbn.cgvst`: ``groups`` (None here: one mean of all tokens), ``weight``,
            ``spans``, ``bos_eos``, ``max_tokens``, ``batch_size``, ``seed`` (of random tokens) and ``progress``.

    Returns:
        (unit,) nats; where signed, positive where the neuron helps.

    Raises:
        InputError: No items, no such tokens, positions outside an item, an item too long, or a model without gradients.
    """
    settings: RivalOptions = {"groups": None, **options}
    kind = _explained_tokens(tokens, positions)
    found = cgvst(
        model, items, positions, tokens=kind, variant="grad_x_act", site="mlp.neurons", aggregate=aggregate, **settings
    )
    # the loss is minus log p; setting a to zero lowers log p by a dlog p/da = -a dL/da, to first order
    signed = -found.values if aggregate in ("mean", "t") else found.values
    return UnitMap(found.space, signed, found.kind, {**found.provenance, "method": "gradient_x_activation"})


@checked
def taylor(
    model: HookedModel,
    items: Items,
    positions: Sequence[Any] | None = None,
    *,
    tokens: Tokens | None = None,
    aggregate: Aggregate = "sum_abs",
    **options: Unpack[RivalOptions],
) -> UnitMap:
    """First-order Taylor score of the outgoing weights, summed over items: abs(w dL/dw) (Leng and Xiong 2024).

    sum_d W_down[d, j] dL/dW_down[d, j] = sum_t a_tj dL/da_tj, so it is the magnitude of :func:`gradient_x_activation`:

    >>> chat = fbn.chats("sort", n=1)
    >>> signed = fbn.attribution.gradient_x_activation(model, chat, progress=False)
    >>> bool(np.allclose(fbn.attribution.taylor(model, chat, progress=False).values, np.abs(signed.values)))
    True

    Args:
        model: A TransformerLens model in eval mode; its parameters stay as they are.
        items: Chats (lists of messages with role and content), strings, or lists of token ids.
        positions: For every item, the positions of the tokens whose log-likelihood is explained: one list, or two lists
            whose means are added; None where ``tokens`` says it.
        tokens: Tokens whose log-likelihood is explained: ``"answer"``, ``"special"``, ``"content"``, ``"all"`` or
            ``"random"``. None takes the answers where there are no ``positions``.
        aggregate: How the items' scores are put together: ``"sum_abs"`` (the published score), ``"mean_abs"``,
            ``"abs_mean"``, or signed ``"mean"`` and ``"t"``.
        **options: Options of :func:`tl_fbn.cgvst`: ``groups`` (None here: one mean of all tokens), ``weight``,
            ``spans``, ``bos_eos``, ``max_tokens``, ``batch_size``, ``seed`` (of random tokens) and ``progress``.

    Returns:
        (unit,) nats, at least 0 unless ``aggregate`` is signed.

    Raises:
        InputError: No items, no such tokens, positions outside an item, an item too long, or a model without gradients.
    """
    found = gradient_x_activation(model, items, positions, tokens=tokens, aggregate=aggregate, **options)
    return UnitMap(found.space, found.values, found.kind, {**found.provenance, "method": "taylor"})


@checked
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
    """Integrated gradients of the answers' log-likelihood along each layer's activations, from zero (Dai et al. 2022).

    With enough steps the scores of a layer add up to what the answers lose, in nats a token, when the whole layer is
    set to zero. A neuron gets its share also where the model is so sure that the gradient alone vanishes:

    >>> scores = fbn.attribution.integrated_gradients(model, fbn.chats("sort", n=8), progress=False)
    >>> [round(float(layer.sum()), 1) for layer in scores.by_layer()]  # silencing a layer costs 4.8, 0.0 and 0.0
    [4.9, 0.0, 0.0]

    Args:
        model: A TransformerLens model in eval mode; its parameters stay as they are.
        items: Chats (lists of messages with role and content), strings, or lists of token ids.
        positions: For every item, the positions of the tokens whose log-likelihood is explained: one list, or two lists
            whose means are added; None where ``tokens`` says it.
        tokens: Tokens whose log-likelihood is explained: ``"answer"``, ``"special"``, ``"content"``, ``"all"`` or
            ``"random"``. None takes the answers where there are no ``positions``.
        n_steps: Number of points on the path (Dai et al. 2022: 20); here the middles of as many equal parts.
        aggregate: How the items' scores are put together: ``"mean"`` (signed: nats that are lost), ``"t"`` (signed),
            ``"sum_abs"``, ``"mean_abs"`` or ``"abs_mean"``.
        spans: Literal texts that are special, e.g. ``["[INST]", "[/INST]"]``; None takes the chat template's own.
        bos_eos: True keeps the beginning and end of text that the template writes; False makes both empty.
        max_tokens: Largest number of tokens of an item; longer items are left out and counted. With None an item longer
            than the model's context is an error.
        batch_size: Number of items in a pass; changes nothing but speed and memory.
        seed: Seed of the random draw of tokens; needed for ``tokens="random"`` and not used otherwise.
        progress: True shows a progress bar.

    Returns:
        (unit,) nats; where signed, positive where the neuron helps.

    Raises:
        InputError: No step, no items or tokens, positions outside an item, an item too long, or no gradients.
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
        tokens=_explained_tokens(tokens, positions),
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
                whole = value / scale  # the activation at the end of the path, a: the point is scale * a
                # adds a dlog p/da / n_steps, with the gradient at scale * a; the loss is minus log p
                scores[:, space.layer_slice(layer)] -= per_item(gradient, whole).double().cpu().numpy() / n_steps

            # one layer at a time: layers before it are as they were, those after it follow from the scaled activations
            for layer, name in points.items():
                for step in range(n_steps):
                    scale = (step + 0.5) / n_steps  # the middle of the step's part of the path from 0 to 1
                    take_step = partial(take, scale=scale, scores=scores)
                    propagate(model, chosen, {layer: name}, take_step, edit=partial(_scaled, scale=scale))
                    bar.update(len(numbers))
            sums.add(scores)
    about = {"method": "integrated_gradients", "n_steps": n_steps, "aggregate": aggregate, **prepared.provenance}
    return UnitMap(space, sums.value(aggregate), "t" if aggregate == "t" else "attribution", about)


def _explained_tokens(tokens: Tokens | None, positions: Sequence[Any] | None) -> Tokens:
    """The tokens asked for; without tokens and positions the answers'."""
    # with positions, "special" is the value that prepare() takes for: not given
    return tokens or ("special" if positions is not None else "answer")


def _scaled(layer: int, tensor: torch.Tensor, scale: float) -> torch.Tensor:
    return tensor * scale


@checked
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

    The metric is log p(right) - log p(wrong) of the next token, its gradient taken on the corrupted prompt.

    >>> sort = ["[INST] sort : b a d c [/INST]", "[INST] sort : c a f [/INST]"]
    >>> reverse = ["[INST] reverse : b a d c [/INST]", "[INST] reverse : c a f [/INST]"]
    >>> answers = [("a", "c"), ("a", "f")]  # the first letter of the answer to each task
    >>> fbn.attribution.attribution_patching(model, sort, reverse, answers, progress=False).top(5)
    Network "top 5": 5 of 1,152 units (0.43%) of tl_fbn-demo mlp.neurons (3 x 384), per layer 0 1 4

    Args:
        model: A TransformerLens model in eval mode; its parameters stay as they are.
        clean: Prompts, as strings or lists of token ids.
        corrupted: As many prompts, each with as many tokens as the clean prompt of its pair.
        answers: (right, wrong) for each pair; the right one is what should follow the clean prompt. Both are strings,
            whose first token counts, or token ids.
        positions: ``"last"`` patches the last token of the prompt alone (Han et al. 2026); ``"all"`` adds up the
            effects at all its tokens.
        batch_size: Number of pairs in a pass; changes nothing but speed and memory.
        progress: True shows a progress bar.

    Returns:
        (unit,) nats, the mean over pairs; positive where the clean activation favours the right answer.

    Raises:
        InputError: No pairs, pairs of different lengths, answers that begin with the same token or merge with the end
            of their prompt, or a model without gradients.
    """
    one_of(positions, PatchedPositions, "positions")
    if not len(clean) or not len(clean) == len(corrupted) == len(answers):
        raise InputError(
            "attribution_patching needs as many clean as corrupted prompts and pairs of answers; "
            f"got {len(clean)}, {len(corrupted)} and {len(answers)}"
        )
    if not all(isinstance(both, (list, tuple)) and len(both) == 2 for both in answers):
        raise InputError("answers= holds a (right, wrong) pair for every pair of prompts; some are none")
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
                f"pair {number} has {len(ids)} clean and {len(changed)} corrupted tokens; "
                "a position must be the same in both"
            )
        right, wrong = (_first_token(tokenizer, one, answer, ids, d_vocab) for answer in both)
        every = (*ids, *changed, right, wrong)
        if d_vocab is not None and not 0 <= min(every) <= max(every) < d_vocab:
            raise InputError(
                f"pair {number} has token ids {min(every)} to {max(every)}, the vocabulary is 0 to {d_vocab - 1}"
            )
        if right == wrong:
            raise InputError(f"the answers of pair {number}, {both[0]!r} and {both[1]!r}, begin with the same token")
        last = len(ids) - 1
        # minus the metric as a loss, CE(right) - CE(wrong) = log p(wrong) - log p(right), both at the last token
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
    """(a_clean - a_corrupted) times the metric's gradient, by layer; a pair is clean token ids and corrupted item."""
    clean: dict[int, torch.Tensor] = {}
    effects: dict[int, np.ndarray] = {}
    ids, mask, _ = host.pad_batch([ids for ids, _ in pairs], host.model_device(model))
    # (batch, pos) 1 where activations are patched, the same for both prompts of a pair, which are of one length
    counted = torch.zeros_like(mask)
    for row, (tokens, _) in enumerate(pairs):
        counted[row, len(tokens) - 1 if positions == "last" else 0 : len(tokens)] = 1

    def keep(tensor: torch.Tensor, hook: Any, layer: int) -> None:
        clean[layer] = tensor.detach().clone()

    def take(layer: int, gradient: torch.Tensor, value: torch.Tensor) -> None:
        # a_clean - a_corrupted; the gradient is the loss's, which is minus the metric
        difference = (clean.pop(layer) - value) * counted.to(value)[..., None]
        effects[layer] = -per_item(gradient, difference).double().cpu().numpy()

    # clean activations first, then the pass with gradients over the corrupted prompts
    with torch.no_grad(), model.hooks(fwd_hooks=[(name, partial(keep, layer=layer)) for layer, name in points.items()]):
        host.forward(model, ids, mask)
    propagate(model, [item for _, item in pairs], points, take)
    return effects


def _prompt(text: Text) -> str | tuple[int, ...]:
    return text if isinstance(text, str) else tuple(whole_number(token, "a token id") for token in text)


def _first_token(tokenizer: Any, prompt: Text, answer: Any, ids: tuple[int, ...], d_vocab: int | None) -> int:
    if not isinstance(answer, str):
        return whole_number(answer, "an answer as a token id")
    if not isinstance(prompt, str):
        raise InputError(f"answer {answer!r} is a string and its prompt token ids; give token ids for both")
    # tokenised after its prompt: how a tokenizer cuts a word depends on what stands before it
    whole = encode(tokenizer, f"{prompt.rstrip()} {answer.lstrip()}", d_vocab=d_vocab)
    if whole[: len(ids)] != ids or len(whole) <= len(ids):
        raise InputError(
            f"answer {answer!r} merges with the end of its prompt, so it has no first token of its own; give token ids"
        )
    return whole[len(ids)]


@checked
def random_scores(model: HookedModel, *, seed: int) -> UnitMap:
    """Uniform noise over a model's MLP neurons: what a score must beat.

    >>> fbn.attribution.random_scores(model, seed=0).top(0.05)
    Network "top 0.05": 57 of 1,152 units (4.95%) of tl_fbn-demo mlp.neurons (3 x 384), per layer 29 18 10

    Args:
        model: A TransformerLens model.
        seed: Seed of the random draw of scores; the same seed gives the same scores.

    Returns:
        (unit,) numbers from 0 to 1.

    Raises:
        InputError: The model has no MLP neurons that a hook can reach.
    """
    space = resolve_site(model, "mlp.neurons").space
    values = np.random.default_rng(seed).random(space.n_units)
    return UnitMap(space, values, "attribution", {"method": "random", "seed": seed, "prompts": []})
