"""CGVST: which neurons' weights would change most if the model learned the special tokens of a task's chats.

::

    scores = fbn.cgvst(model, fbn.chats("sort"))
    neurons = scores.top(0.05)

Song et al. (2024) take, for item n, the loss L_n at the tokens of the chat template, the gradient of the up projection
W_up (neuron x input), its sum over the inputs, and add up magnitudes over items:

    s_j = sum_n | sum_d dL_n / dW_up[j, d] |  =  sum_n | sum_t delta_tj sum_d h_td |,

with h the MLP's input and delta the gradient at the up projection's output. The right side is what is computed here: one
forward and one backward pass to the neurons, no weight gradients. ``variant`` names what is summed over tokens:

============= ============================================ ==========================================================
variant       score of an item                             is
============= ============================================ ==========================================================
``row_sum``   sum_t delta_tj sum_d h_td                    the released formula; depends on the basis of the input
``row_l1``    sum_d abs(sum_t delta_tj h_td)               the L1 norm of the weight gradient's row
``row_l2``    sqrt(sum_d (sum_t delta_tj h_td)^2)          its L2 norm, which no rotation of the input changes
``grad_x_act`` sum_t delta_tj u_tj                         first-order effect of the activation u (at ``site``)
``grad``      sum_t delta_tj                               the gradient alone
============= ============================================ ==========================================================

**Where the released formula cannot work.** sum_d h is the sum of a normalized vector. Under LayerNorm without an affine
part (Galactica, a model at initialisation, or one whose norms were folded into the weights, as TransformerLens's compatibility mode
does) it is zero and so is every score: this is detected and refused, and without a variant asked for ``row_l1`` is used.

**What the score is not.** It compares no two tasks: the released masks of eight tasks share six times as many neurons as
chance would have them. :func:`tl_fbn.specific_scores` and :func:`tl_fbn.networks.task_unique` make it specific. And it is not causal before
a lesion says so.
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
from tl_fbn.acquisition.model.chat_template import Items
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.acquisition.model.sites import resolve_site
from tl_fbn.acquisition.model.token_layout import Groups, Tokens
from tl_fbn.attribution.aggregation import Aggregate, ItemScores, Sums, check_aggregate
from tl_fbn.attribution.backward import batches, per_item, propagate
from tl_fbn.attribution.cross_entropy import LossItem
from tl_fbn.attribution.loss_items import prepare
from tl_fbn.errors import InputError, one_of
from tl_fbn.units import UnitMap, UnitSpace

Variant = Literal["row_sum", "row_l1", "row_l2", "grad_x_act", "grad"]
ScoredSite = Literal["mlp.up", "mlp.pre", "mlp.neurons"]
ROWS = ("row_sum", "row_l1", "row_l2")
VANISHING = 1e-4
_CHUNK = 1 << 24  # elements of a weight gradient at a time


class TextOptions(TypedDict, total=False):
    """How texts are laid out and their positions weighed, for those who pass it on; :func:`cgvst` explains each."""

    groups: Groups
    weight: float
    spans: Sequence[str] | None
    bos_eos: bool
    max_tokens: int | None


class ScoreOptions(TextOptions, total=False):
    """What every gradient score of the projections takes, for those who pass it on; :func:`cgvst` explains each."""

    tokens: Tokens
    variant: Variant | None
    site: ScoredSite
    seed: int | None


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
    batch_size: int = 8,
    seed: int | None = None,
    progress: bool = True,
) -> UnitMap:
    """Score every MLP neuron by gradients restricted to some tokens.

    >>> scores = cgvst(model, fbn.chats("sort"))                               # doctest: +SKIP
    >>> scores.top(0.05)                                                       # doctest: +SKIP

    Args:
        model: A TransformerLens model in eval mode; its parameters stay as they are.
        items: Chats (lists of messages with role and content), strings, or lists of token ids.
        positions: For every item, the positions that are scored: one list, or two whose means are added. Position 0 has no
            prediction and is left out. Needed for token ids unless ``tokens="all"``.
        tokens: Which tokens are scored: ``"special"`` (those of the chat template), ``"answer"`` (the assistant's),
            ``"content"`` (the other messages'), ``"all"``, or ``"random"`` (as many as there are special ones, by turn).
        variant: See the table above; by default the released ``"row_sum"``, or ``"row_l1"`` where that is zero.
        site: ``"mlp.up"`` (released: the up projection; W_in of an ungated MLP), ``"mlp.pre"`` (the gate's projection), or
            ``"mlp.neurons"`` (the down projection's input), for ``grad_x_act`` and ``grad`` only.
        groups: ``"turns"``: the mean over the turns before the last, plus the mean over the last; None: one mean; a number n:
            P[1:n] and P[n+1:] of the sorted positions P, as released with n = 28.
        weight: Weight of the first of two groups of positions (released: 1).
        aggregate: Over items: ``"sum_abs"`` (released), ``"mean_abs"``, ``"abs_mean"``, or signed ``"mean"`` and ``"t"`` (mean
            over its standard error; positive where the loss rises with what is scored). A norm has no sign: its ``"abs_mean"`` is its mean.
        spans: Literal special texts, e.g. ``["[INST]", "[/INST]"]``; by default the chat template's own.
        bos_eos: False: beginning and end of text are empty in the template, as released.
        max_tokens: Longer items are left out and counted (released: 1300); by default an item beyond the context is an error.
        batch_size: Items in a pass; changes nothing but speed and memory.
        seed: Seed of the positions drawn where ``tokens="random"``.
        progress: Show a bar.

    Returns:
        (unit,) scores over ``mlp.neurons``, whatever the site, in units of the loss (nats) per unit of what is differentiated.

    Raises:
        InputError: No items, no such tokens, positions outside an item, an item longer than the context, ``row_sum`` where it
            is zero by construction, a model without gradients.

    Source: Song et al. 2024, EMNLP, pp. 7101-7113, and the released code.
    """
    check_aggregate(aggregate)
    work = _work(
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
    )
    if aggregate == "t" and len(work.items) < 2:
        raise InputError('aggregate="t" needs at least two items; got 1. Use "sum_abs"')
    sums = Sums(work.space.n_units)
    for _, values in work.scored(batch_size, progress):
        sums.add(values)
    provenance = work.provenance() | {"aggregate": aggregate}
    return UnitMap(work.space, sums.value(aggregate), "t" if aggregate == "t" else "attribution", provenance)


def item_scores(
    model: HookedModel,
    items: Items,
    positions: Sequence[Any] | None = None,
    *,
    batch_size: int = 8,
    progress: bool = True,
    **options: Unpack[ScoreOptions],
) -> ItemScores:
    """The scores that :func:`cgvst` aggregates, one row an item, signed where the variant is.

    ::

        items = fbn.attribution.item_scores(model, fbn.chats("sort", n=64))
        items.split_half(seed=0)

    Takes items x units x 4 bytes. Its ``.map(aggregate)`` is what :func:`cgvst` returns, its ``.split_half(...)`` says how
    steady the ranking is.

    Args:
        model: A TransformerLens model in eval mode.
        items: Chats (lists of messages with role and content), strings, or lists of token ids.
        positions: For every item, the positions that are scored, as for :func:`cgvst`.
        batch_size: Items in a pass; changes nothing but speed and memory.
        progress: Show a bar.
        **options: tokens, variant, site, groups, weight, spans, bos_eos, max_tokens and seed, as for :func:`cgvst`.

    Returns:
        (item, unit) scores, float32.

    Raises:
        InputError: As :func:`cgvst`.
    """
    work = _work(model, items, positions, **options)
    values: Float[np.ndarray, "item unit"] = np.zeros((len(work.items), work.space.n_units), dtype=np.float32)
    for numbers, scores in work.scored(batch_size, progress):
        values[numbers] = scores
    return ItemScores(work.space, values, work.provenance())


@dataclass
class _Work:
    """What is scored and how; the variant may be settled by the first pass."""

    model: HookedModel
    items: list[LossItem]
    space: UnitSpace
    points: dict[int, str]
    inputs: dict[int, str]
    variant: Variant
    settled: bool
    about: dict[str, Any] = field(repr=False)

    def scored(self, batch_size: int, progress: bool) -> Iterator[tuple[list[int], Float[np.ndarray, "item unit"]]]:
        """Numbers and scores of the items of each pass."""
        if batch_size < 1:
            raise InputError(f"batch_size={batch_size} holds no item; give at least 1")
        host.require_eval(self.model, "a gradient score")
        with tqdm(total=len(self.items), desc=f"{self.variant}", unit="item", disable=not progress) as bar:
            for numbers in batches(self.items, batch_size):
                yield numbers, self._pass([self.items[number] for number in numbers])
                bar.update(len(numbers))

    def provenance(self) -> dict[str, Any]:
        return {"method": "cgvst", "variant": self.variant, **self.about}

    def _pass(self, items: list[LossItem]) -> Float[np.ndarray, "item unit"]:
        scores = np.zeros((len(items), self.space.n_units))
        inputs: dict[int, torch.Tensor] = {}
        shares: dict[int, float] = {}
        real = torch.zeros(len(items), max(len(item.ids) for item in items), dtype=torch.bool)
        for row, item in enumerate(items):
            real[row, : len(item.ids)] = True

        def see(layer: int, tensor: torch.Tensor) -> None:
            wide = tensor if tensor.dtype == torch.float64 else tensor.float()
            summed = wide.sum(-1)
            share = (summed.abs() / wide.norm(dim=-1).clamp_min(1e-30))[real.to(tensor.device)]
            shares[layer] = float(share.max()) / max(1.0, 2e4 * torch.finfo(tensor.dtype).eps)
            inputs[layer] = summed if self.settled and self.variant == "row_sum" else tensor

        def ready() -> None:
            if self.variant == "row_sum":
                self._settle([layer for layer, share in shares.items() if share < VANISHING])

        def take(layer: int, gradient: torch.Tensor, activation: torch.Tensor) -> None:
            found = _VARIANTS[self.variant](gradient, activation, inputs.pop(layer, None))
            scores[:, self.space.layer_slice(layer)] = found.double().cpu().numpy()

        rows = self.variant in ROWS
        propagate(
            self.model,
            items,
            self.points,
            take,
            watch=self.inputs if rows else None,
            see=see if rows else None,
            ready=ready if rows else None,
        )
        return scores

    def _settle(self, vanishing: list[int]) -> None:
        """Refuse the released formula where it is zero by construction, or take the default for such models."""
        if not vanishing:
            self.settled = True
            return
        where = "every layer" if len(vanishing) == len(self.points) else f"layers {', '.join(map(str, vanishing))}"
        why = (
            f"the inputs of the MLPs of {where} sum to zero (LayerNorm without an affine part, or folded into the weights), so "
            "row_sum is zero for every neuron there"
        )
        if self.settled:
            raise InputError(f'{why}; use variant="row_l1" or "grad_x_act"')
        self.variant = "row_l1"
        self.settled = True
        self.about["variant_reason"] = f"row_l1 instead of the released row_sum: {why}"


def _work(
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
) -> _Work:
    """What is scored and how, checked; arguments as for :func:`cgvst`."""
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
    )
    inputs = mlp_inputs(model, list(points)) if chosen in ROWS else {}
    about = {"site": site, **prepared.provenance}
    return _Work(model, prepared.items, neurons, points, inputs, chosen, variant is not None, about)


def gradient_points(model: HookedModel, site: str) -> tuple[UnitSpace, dict[int, str]]:
    """The space of MLP neurons and, for each layer that has some, the hook point of the site whose gradient scores them.

    Raises:
        InputError: An unknown site, or a model without MLP neurons.
    """
    one_of(site, ScoredSite, "site")
    neurons = resolve_site(model, "mlp.neurons")
    gated = any(name.endswith(".mlp.hook_pre_linear") for name in model.hook_dict)
    own = "mlp.pre" if site == "mlp.up" and not gated else site  # W_in is the up projection of an ungated MLP
    names = resolve_site(model, own).hook_names
    return neurons.space, {layer: names[layer] for layer in neurons.hook_names}


def mlp_inputs(model: HookedModel, layers: Sequence[int]) -> dict[int, str]:
    """The hook point of each layer's MLP input: what the up projection reads."""
    found = {}
    for layer in layers:
        # TransformerBridge; HookedTransformer
        names = [f"blocks.{layer}.mlp.in.hook_in", f"blocks.{layer}.ln2.hook_normalized"]
        have = [name for name in names if name in model.hook_dict]
        if not have:
            raise InputError(
                f"layer {layer} of {host.model_label(model)} has no hook at its MLP's input ({' or '.join(names)}); use "
                'variant="grad_x_act" or "grad"'
            )
        found[layer] = have[0]
    return found


def _row_sum(gradient: torch.Tensor, activation: torch.Tensor, inputs: torch.Tensor | None) -> torch.Tensor:
    assert inputs is not None
    summed = inputs if inputs.ndim == 2 else (inputs if inputs.dtype == torch.float64 else inputs.float()).sum(-1)
    return per_item(gradient, summed)


def _row_norm(
    gradient: torch.Tensor, activation: torch.Tensor, inputs: torch.Tensor | None, order: int
) -> Float[torch.Tensor, "batch unit"]:
    """Norms of the rows of each item's weight gradient, some rows at a time."""
    assert inputs is not None
    wide = torch.float64 if gradient.dtype == torch.float64 else torch.float32
    n_rows = max(1, _CHUNK // inputs.shape[-1])
    found = []
    for one, read in zip(gradient, inputs, strict=True):
        parts = one.to(wide).T.split(n_rows)
        found.append(torch.cat([torch.linalg.vector_norm(part @ read.to(wide), order, dim=-1) for part in parts]))
    return torch.stack(found)


_VARIANTS: dict[str, Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None], torch.Tensor]] = {
    "row_sum": _row_sum,
    "row_l1": lambda gradient, activation, inputs: _row_norm(gradient, activation, inputs, 1),
    "row_l2": lambda gradient, activation, inputs: _row_norm(gradient, activation, inputs, 2),
    "grad_x_act": lambda gradient, activation, inputs: per_item(gradient, activation),
    "grad": lambda gradient, activation, inputs: per_item(gradient),
}
