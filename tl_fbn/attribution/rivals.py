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
``attribution_patching``   (a_clean - a_corrupted) times dmetric/da on the corrupted prompt, of whole answers (Nanda
                           2023; as Han et al. 2026 score neurons)
``random_scores``          uniform noise, which knows nothing
========================== ============================================================================================

These, :func:`tl_fbn.cgvst` itself (with ``tokens="all"`` it is plain gradient variation), and on recordings
:func:`tl_fbn.glm.lape`, :func:`tl_fbn.glm.welch_t` and :func:`tl_fbn.glm.activation_difference` are what a task's
neurons are usually looked for with. None is causal by itself: :func:`tl_fbn.validate_scores` compares them with
lesions.

Signed maps are in nats and positive where the neuron helps: setting it to zero is predicted to lower the
log-likelihood. Cost: one forward and one backward pass an item; integrated gradients take one for every layer and step.
``attribution_patching`` is in :mod:`.patching`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Unpack

import numpy as np
import torch
from tqdm.auto import tqdm

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.chat_rendering import TemplateVariables
from tl_fbn.acquisition.model.chat_template import Items
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.acquisition.model.sites import resolve_site
from tl_fbn.acquisition.model.token_layout import Tokens
from tl_fbn.attribution.aggregation import Aggregate, Sums, check_aggregate
from tl_fbn.attribution.backward import per_item, propagate
from tl_fbn.attribution.cgvst import TextOptions, cgvst
from tl_fbn.attribution.gradient_batches import gradient_batches
from tl_fbn.attribution.gradient_points import gradient_points
from tl_fbn.attribution.loss_items import prepare
from tl_fbn.errors import InputError
from tl_fbn.signatures import checked
from tl_fbn.units import UnitMap


class RivalOptions(TextOptions, total=False):
    """Options of :func:`tl_fbn.cgvst` that gradient scores of neurons take too, for functions that pass them on."""

    batch_tokens: int
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
            ``spans``, ``bos_eos``, ``prepend_bos``, ``chat_template_kwargs``, ``max_tokens``, ``batch_tokens``,
            ``seed`` (of random tokens) and ``progress``.

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
            ``spans``, ``bos_eos``, ``prepend_bos``, ``chat_template_kwargs``, ``max_tokens``, ``batch_tokens``,
            ``seed`` (of random tokens) and ``progress``.

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
    batch_tokens: int = 8192,
    seed: int | None = None,
    progress: bool = True,
    prepend_bos: bool | None = None,
    chat_template_kwargs: TemplateVariables = None,
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
        batch_tokens: Largest number of tokens in a pass, padding counted; it changes speed and memory only.
        seed: Seed of the random draw of tokens; needed for ``tokens="random"`` and not used otherwise.
        progress: True shows a progress bar.
        prepend_bos: True or False puts the beginning-of-text token before items that are strings, or leaves it out;
            None does as the host does.
        chat_template_kwargs: Variables of the tokenizer's chat template by name; None gives none.

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
        prepend_bos=prepend_bos,
        chat_template_kwargs=chat_template_kwargs,
    )
    sums = Sums(space.n_units)
    total = len(prepared.items) * len(points) * n_steps
    with tqdm(total=total, desc="integrated gradients", unit="pass", disable=not progress) as bar:
        for numbers in gradient_batches(model, prepared.items, batch_tokens, space, points):
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
