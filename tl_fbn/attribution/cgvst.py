"""CGVST: which neurons' weights would change most if the model learned the special tokens of a task's chats.

Song et al. (2024, EMNLP, pp. 7101-7113, and the released code) take, for item n, the loss L_n in nats at the special
tokens (those of the chat template), its gradient with respect to the up projection W_up (neuron x input), the sum of
that gradient over the inputs of each neuron j, and add up magnitudes over items:

    s_j = sum_n | sum_d dL_n / dW_up[j, d] |  =  sum_n | sum_t delta_tj sum_d h_td |

with t a token, d a dimension of the MLP's input h, and delta the gradient of L_n at the up projection's output. The
right side is what is computed here: one forward and one backward pass down to the neurons, without gradients of weights
(:mod:`tl_fbn.attribution.backward`). ``variant`` says how the tokens of an item are summed:

============== ===================================== ==================================================================
variant        score of an item                      what it is
============== ===================================== ==================================================================
``row_sum``    sum_t delta_tj sum_d h_td             the released formula; depends on the basis of the input
``row_l1``     sum_d abs(sum_t delta_tj h_td)        L1 norm of the neuron's row of the weight gradient
``row_l2``     sqrt(sum_d (sum_t delta_tj h_td)^2)   L2 norm of that row, which no rotation of the input changes
``grad_x_act`` sum_t delta_tj u_tj                   first-order effect of the activation u (at ``site``)
``grad``       sum_t delta_tj                        the gradient alone
============== ===================================== ==================================================================

**Where the released formula cannot work.** sum_d h is the sum of a normalized vector. Under a LayerNorm without an
affine part (Galactica, a model at initialisation, or one whose norms were folded into the weights, as TransformerLens's
compatibility mode does) it is zero, and so is every score. This is detected: an explicit ``variant="row_sum"`` is
refused, and without an explicit variant ``row_l1`` is used.

**What the score is not.** It is a map of one task and compares no two tasks: the released masks of eight tasks share
six times as many neurons as chance would have them. :func:`tl_fbn.specific_scores` and
:func:`tl_fbn.networks.task_unique` make it specific. And it is not causal before a lesion says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict, Unpack

import numpy as np
import torch
from jaxtyping import Float
from tqdm.auto import tqdm

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.chat_rendering import TemplateVariables
from tl_fbn.acquisition.model.chat_template import Items
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.acquisition.model.token_layout import Groups, Tokens
from tl_fbn.attribution.aggregation import Aggregate, ItemScores, Sums, check_aggregate
from tl_fbn.attribution.backward import per_item, propagate
from tl_fbn.attribution.cross_entropy import LossItem
from tl_fbn.attribution.gradient_batches import gradient_batches
from tl_fbn.attribution.gradient_points import ScoredSite, gradient_points, mlp_inputs
from tl_fbn.attribution.loss_items import prepare
from tl_fbn.errors import InputError, one_of
from tl_fbn.signatures import checked
from tl_fbn.units import UnitMap, UnitSpace

Variant = Literal["row_sum", "row_l1", "row_l2", "grad_x_act", "grad"]
ROWS = ("row_sum", "row_l1", "row_l2")  # made of rows of the weight gradient: these need the MLP's input
VANISHING = 1e-4  # an input h sums to zero if abs(sum_d h_d) / norm(h) is below this at every token
_MAX_GRADIENT_NUMBERS = 1 << 24  # of a weight gradient in memory at a time: 64 MiB in float32


class TextOptions(TypedDict, total=False):
    """Options of :func:`cgvst` that say how texts are laid out and weighed, for functions that pass them on."""

    groups: Groups
    weight: float
    spans: Sequence[str] | None
    bos_eos: bool
    max_tokens: int | None
    prepend_bos: bool | None
    chat_template_kwargs: TemplateVariables


class ScoreOptions(TextOptions, total=False):
    """Options of :func:`cgvst` that scores of single items take too, for functions that pass them on."""

    tokens: Tokens
    variant: Variant | None
    site: ScoredSite
    seed: int | None


@checked
def cgvst(
    model: HookedModel,
    items: Items,
    positions: Sequence[Any] | None = None,
    *,
    tokens: Tokens = "special",
    variant: Variant | None = None,
    site: ScoredSite = "mlp.up",
    groups: Groups = "turns",
    weight: float = 1.0,
    aggregate: Aggregate = "sum_abs",
    spans: Sequence[str] | None = None,
    bos_eos: bool = True,
    max_tokens: int | None = None,
    batch_tokens: int = 8192,
    seed: int | None = None,
    progress: bool = True,
    prepend_bos: bool | None = None,
    chat_template_kwargs: TemplateVariables = None,
) -> UnitMap:
    """Score every MLP neuron by the gradient of a loss that is restricted to some tokens (Song et al. 2024, EMNLP).

    Scores of one task are high for many neurons of every task; :func:`tl_fbn.specific_scores` sets tasks apart:

    >>> scores = {task: fbn.cgvst(model, fbn.chats(task, n=8), progress=False) for task in ("sort", "reverse")}
    >>> len(scores["sort"].top(0.05) & scores["reverse"].top(0.05))  # of 57 neurons each
    52
    >>> fbn.specific_scores(scores)["sort"].top(0.05)
    Network "top 0.05": 57 of 1,152 units (4.95%) of tl_fbn-demo mlp.neurons (3 x 384), per layer 39 7 11

    Args:
        model: A TransformerLens model in eval mode; its parameters stay as they are.
        items: Chats (lists of messages with role and content), strings, or lists of token ids.
        positions: For every item, the positions that are scored: one list, or two lists whose means are added. Position
            0 is left out, because nothing predicts it. Needed for token ids unless ``tokens="all"``.
        tokens: Which tokens are scored: ``"special"`` (those of the chat template), ``"answer"`` (the assistant's),
            ``"content"`` (the other messages'), ``"all"``, or ``"random"`` (in every turn as many, drawn at random, as
            it has special ones).
        variant: How the tokens of an item are summed, a row of the table above: ``"row_sum"``, ``"row_l1"``,
            ``"row_l2"``, ``"grad_x_act"`` or ``"grad"``. None takes the released ``"row_sum"``, or ``"row_l1"`` where
            that is zero, or ``"grad_x_act"`` at ``site="mlp.neurons"``.
        site: Where the gradient is taken: ``"mlp.up"`` (released: the up projection; W_in of an ungated MLP),
            ``"mlp.pre"`` (the gate's projection), or ``"mlp.neurons"`` (the down projection's input), for
            ``grad_x_act`` and ``grad`` only.
        groups: How scored tokens are grouped in the loss, the sum of the groups' means: ``"turns"`` for all turns
            before the last and the last, None for one group, a number n for P[1:n] and P[n+1:] of the sorted positions
            P (released: n = 28).
        weight: Weight of the first of two groups of positions in the loss (released: 1).
        aggregate: How the items' scores are put together: ``"sum_abs"`` (released), ``"mean_abs"``, ``"abs_mean"``, or
            signed ``"mean"`` and ``"t"`` (mean over its standard error; positive where the loss rises with what is
            scored). A norm has no sign: its ``"abs_mean"`` is its mean.
        spans: Literal texts that are special, e.g. ``["[INST]", "[/INST]"]``; None takes the chat template's own.
        bos_eos: True keeps the beginning and end of text that the template writes; False makes both empty (released).
        max_tokens: Largest number of tokens of an item; longer items are left out and counted (released: 1300). With
            None an item longer than the model's context is an error.
        batch_tokens: Largest number of tokens in a pass, padding counted; it changes speed and memory only.
        seed: Seed of the random draw of tokens; needed for ``tokens="random"`` and not used otherwise.
        progress: True shows a progress bar.
        prepend_bos: True or False puts the beginning-of-text token before items that are strings, or leaves it out;
            None does as the host does.
        chat_template_kwargs: Variables of the tokenizer's chat template by name, such as ``{"enable_thinking":
            False}``; None gives none.

    Returns:
        (unit,) scores over ``mlp.neurons``, whatever the site, in nats per unit of what is differentiated.

    Raises:
        InputError: No items, no such tokens, positions outside an item, an item longer than the context, ``row_sum``
            where it is zero by construction, or a model without gradients.
    """
    check_aggregate(aggregate)
    work = prepared_scoring(
        model,
        items,
        positions,
        variant=variant,
        site=site,
        tokens=tokens,
        groups=groups,
        weight=weight,
        spans=spans,
        bos_eos=bos_eos,
        max_tokens=max_tokens,
        seed=seed,
        prepend_bos=prepend_bos,
        chat_template_kwargs=chat_template_kwargs,
    )
    if aggregate == "t" and len(work.items) < 2:
        raise InputError('aggregate="t" needs at least two items; got 1. Use "sum_abs"')
    sums = Sums(work.space.n_units)
    for _, values in work.scored(batch_tokens, progress):
        sums.add(values)
    provenance = work.provenance() | {"aggregate": aggregate}
    return UnitMap(work.space, sums.value(aggregate), "t" if aggregate == "t" else "attribution", provenance)


@checked
def item_scores(
    model: HookedModel,
    items: Items,
    positions: Sequence[Any] | None = None,
    *,
    batch_tokens: int = 8192,
    progress: bool = True,
    **options: Unpack[ScoreOptions],
) -> ItemScores:
    """The scores that :func:`cgvst` aggregates, item by item; they tell how steady the ranking of neurons is.

    >>> items = fbn.attribution.item_scores(model, fbn.chats("sort", n=16), progress=False)
    >>> items.split_half(0.05, seed=0, n_splits=2).round(2)
       split  spearman  jaccard  jaccard_by_chance
    0      0      0.93     0.90               0.08
    1      1      0.93     0.93               0.08

    Args:
        model: A TransformerLens model in eval mode; its parameters stay as they are.
        items: Chats (lists of messages with role and content), strings, or lists of token ids.
        positions: For every item, the positions that are scored: one list, or two lists whose means are added. Needed
            for token ids unless ``tokens="all"``.
        batch_tokens: Largest number of tokens in a pass, padding counted; it changes speed and memory only.
        progress: True shows a progress bar.
        **options: Options and defaults of :func:`cgvst`: ``tokens`` (which are scored), ``variant`` (how they are
            summed), ``site`` (where the gradient is taken), ``groups`` and ``weight`` (of positions in the loss),
            ``spans`` and ``bos_eos`` (what is special), ``max_tokens`` (of an item), ``seed`` (of random tokens),
            ``prepend_bos`` (before strings), ``chat_template_kwargs`` (variables of the chat template).

    Returns:
        (item, unit) scores, float32, signed where the variant is; ``.map(aggregate)`` is what :func:`cgvst` returns.

    Raises:
        InputError: No items, no such tokens, positions outside an item, an item longer than the context, ``row_sum``
            where it is zero by construction, or a model without gradients.
    """
    work = prepared_scoring(model, items, positions, **options)
    values: Float[np.ndarray, "item unit"] = np.zeros((len(work.items), work.space.n_units), dtype=np.float32)
    for numbers, scores in work.scored(batch_tokens, progress):
        values[numbers] = scores
    return ItemScores(work.space, values, work.provenance())


@dataclass
class Scoring:
    """Items, hook points and variant of one scoring. Without an explicit variant the first pass decides on it."""

    model: HookedModel
    items: list[LossItem]
    space: UnitSpace  # of the MLP neurons, whatever the site
    points: dict[int, str]  # layer to the hook point at which the gradient delta is taken
    inputs: dict[int, str]  # layer to the hook point of its MLP's input h; empty if the variant does not need it
    variant: Variant
    variant_is_final: bool  # False until the first pass has shown whether row_sum works for this model
    about: dict[str, Any] = field(repr=False)  # provenance apart from method and variant

    def batches(self, batch_tokens: int) -> list[list[int]]:
        """Numbers of the items of each pass.

        Args:
            batch_tokens: Largest number of tokens in a pass, padding counted.
        """
        return gradient_batches(self.model, self.items, batch_tokens, self.space, self.points)

    def scored(self, batch_tokens: int, progress: bool) -> Iterator[tuple[list[int], Float[np.ndarray, "item unit"]]]:
        """Numbers of the items of each pass, and their scores.

        Args:
            batch_tokens: Largest number of tokens in a pass, padding counted.
            progress: Whether to show a bar.
        """
        host.require_eval(self.model, "a gradient score")
        with tqdm(total=len(self.items), desc=f"{self.variant}", unit="item", disable=not progress) as bar:
            for numbers in self.batches(batch_tokens):
                yield numbers, self.run(numbers)
                bar.update(len(numbers))

    def provenance(self) -> dict[str, Any]:
        """How the scores were made; complete only after the first pass, which may change the variant."""
        return {"method": "cgvst", "variant": self.variant, **self.about}

    def run(self, numbers: Sequence[int]) -> Float[np.ndarray, "item unit"]:
        """Scores of the items of one pass.

        Args:
            numbers: Numbers of the items.
        """
        items = [self.items[number] for number in numbers]
        scores = np.zeros((len(items), self.space.n_units))
        inputs: dict[int, torch.Tensor] = {}  # layer to h (batch, pos, d), or to sum_d h (batch, pos)
        shares: dict[int, float] = {}  # layer to the largest abs(sum_d h_d) / norm(h) of a token
        # (batch, pos) True for tokens, False for padding, whose inputs say nothing
        real = torch.zeros(len(items), max(len(item.ids) for item in items), dtype=torch.bool)
        for row, item in enumerate(items):
            real[row, : len(item.ids)] = True

        def see(layer: int, tensor: torch.Tensor) -> None:
            values = tensor if tensor.dtype == torch.float64 else tensor.float()
            summed = values.sum(-1)  # sum_d h_td
            share = (summed.abs() / values.norm(dim=-1).clamp_min(1e-30))[real.to(tensor.device)]
            # 16-bit inputs sum to zero only up to rounding: dividing by 2e4 eps makes their limit 2 eps, not VANISHING
            shares[layer] = float(share.max()) / max(1.0, 2e4 * torch.finfo(tensor.dtype).eps)
            # the sums are all that row_sum needs, but until it is final, row_l1 may have to take its place
            inputs[layer] = summed if self.variant_is_final and self.variant == "row_sum" else tensor

        def ready() -> None:
            if self.variant == "row_sum":
                self._decide_on_variant([layer for layer, share in shares.items() if share < VANISHING])

        def take(layer: int, gradient: torch.Tensor, activation: torch.Tensor) -> None:
            # each layer's input is let go as soon as its gradient has come
            layer_scores = _VARIANTS[self.variant](gradient, activation, inputs.pop(layer, None))
            scores[:, self.space.layer_slice(layer)] = layer_scores.double().cpu().numpy()

        propagate(self.model, items, self.points, take, watch=self.inputs, see=see, ready=ready)
        return scores

    def _decide_on_variant(self, vanishing: list[int]) -> None:
        """Refuse ``row_sum`` where it is zero by construction, or take ``row_l1`` if no variant was asked for."""
        if not vanishing:
            self.variant_is_final = True
            return
        where = "every layer" if len(vanishing) == len(self.points) else f"layers {', '.join(map(str, vanishing))}"
        why = (
            f"the inputs of the MLPs of {where} sum to zero (LayerNorm without an affine part, or folded into the "
            "weights), so row_sum is zero for every neuron there"
        )
        if self.variant_is_final:
            raise InputError(f'{why}; use variant="row_l1" or "grad_x_act"')
        self.variant = "row_l1"
        self.variant_is_final = True
        self.about["variant_reason"] = f"row_l1 instead of the released row_sum: {why}"


def prepared_scoring(
    model: HookedModel,
    items: Any,
    positions: Sequence[Any] | None,
    *,
    variant: Variant | None = None,
    site: ScoredSite = "mlp.up",
    tokens: Tokens = "special",
    groups: Groups = "turns",
    weight: float = 1.0,
    spans: Sequence[str] | None = None,
    bos_eos: bool = True,
    max_tokens: int | None = None,
    seed: int | None = None,
    prepend_bos: bool | None = None,
    chat_template_kwargs: TemplateVariables = None,
) -> Scoring:
    """Items, hook points and variant, checked against the model; arguments as for :func:`cgvst`."""
    if variant is not None:
        one_of(variant, Variant, "variant")
    neurons, points = gradient_points(model, site)
    chosen: Variant = variant or ("grad_x_act" if site == "mlp.neurons" else "row_sum")
    if site == "mlp.neurons" and chosen in ROWS:
        raise InputError(
            f'variant={chosen!r} is made of the gradient of the weights that lead into a neuron; use site="mlp.up", or '
            'variant="grad_x_act" or "grad"'
        )
    prepared = prepare(
        model,
        items,
        positions,
        tokens=tokens,
        groups=groups,
        weight=weight,
        spans=spans,
        bos_eos=bos_eos,
        max_tokens=max_tokens,
        seed=seed,
        prepend_bos=prepend_bos,
        chat_template_kwargs=chat_template_kwargs,
    )
    inputs = mlp_inputs(model, list(points)) if chosen in ROWS else {}
    about = {"site": site, **prepared.provenance}
    return Scoring(model, prepared.items, neurons, points, inputs, chosen, variant is not None, about)


def _row_sum(gradient: torch.Tensor, activation: torch.Tensor, inputs: torch.Tensor | None) -> torch.Tensor:
    """sum_t delta_tj sum_d h_td, from the inputs h or from their sums over d."""
    assert inputs is not None
    summed = inputs if inputs.ndim == 2 else (inputs if inputs.dtype == torch.float64 else inputs.float()).sum(-1)
    return per_item(gradient, summed)


def _row_norm(
    gradient: torch.Tensor, activation: torch.Tensor, inputs: torch.Tensor | None, order: int
) -> Float[torch.Tensor, "batch unit"]:
    """L1 or L2 norms (``order``) of the rows of each item's weight gradient, some rows at a time."""
    assert inputs is not None
    dtype = torch.float64 if gradient.dtype == torch.float64 else torch.float32
    n_rows = max(1, _MAX_GRADIENT_NUMBERS // inputs.shape[-1])
    norms = []
    for delta, h in zip(gradient, inputs, strict=True):
        # dL/dW_up[j, d] = sum_t delta_tj h_td: the product (unit, pos) (pos, d), n_rows units of it at a time
        parts = delta.to(dtype).T.split(n_rows)
        norms.append(torch.cat([torch.linalg.vector_norm(part @ h.to(dtype), order, dim=-1) for part in parts]))
    return torch.stack(norms)


_VARIANTS: dict[str, Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None], torch.Tensor]] = {
    "row_sum": _row_sum,
    "row_l1": lambda gradient, activation, inputs: _row_norm(gradient, activation, inputs, 1),
    "row_l2": lambda gradient, activation, inputs: _row_norm(gradient, activation, inputs, 2),
    "grad_x_act": lambda gradient, activation, inputs: per_item(gradient, activation),
    "grad": lambda gradient, activation, inputs: per_item(gradient),
}
