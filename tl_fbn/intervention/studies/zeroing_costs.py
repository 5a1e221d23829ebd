"""What a model loses when the units that hold most of a recording's variance are zero, each alone.

The loss is the mean cross-entropy of the tokens of some texts, each token given those before it, in nats a token. Its
*cost* is by how much it grows when a unit is zero at every position::

    cost(u) = CE with u zero - CE of the untouched model

Beside each unit alone stand all listed units of its layer together, and all listed units: units may stand in for each
other, so that none costs much alone (in SmolLM2-135M two neurons of one layer do so).

A cost has no control here: it is a check of whether a unit may be silenced at all without breaking the model, and no
claim about a task. :func:`tl_fbn.lesion_study` makes those, with matched controls.

Cost: one reading of the texts for each unit, for each layer with several, and two more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.acquisition.model.model_lock import serves_one_thread
from tl_fbn.acquisition.recording.massive import COST_COLUMNS, Massive
from tl_fbn.attribution.backward import batches
from tl_fbn.attribution.cross_entropy import LossItem, losses_of
from tl_fbn.attribution.loss_items import prepare
from tl_fbn.errors import InputError
from tl_fbn.intervention.hooks.interventions import inhibit
from tl_fbn.signatures import checked
from tl_fbn.units import Network


@checked
def zeroing_costs(
    model: HookedModel,
    massive: Massive,
    texts: Sequence[Any],
    *,
    batch_size: int = 8,
    progress: bool = True,
) -> Massive:
    """Measure what zeroing each unit that holds much of the variance costs the model.

    >>> found = recording.massive(share=0.25, top=2)
    >>> costs = fbn.studies.zeroing_costs(model, found, fbn.prompts("sort", n=8), progress=False)
    >>> bool((costs.units["cost"].abs() < 0.1).all())  # the embedded model can do without either of the two
    True

    Args:
        model: A TransformerLens model in eval mode that has the units.
        massive: Which units to set to zero: those in its table.
        texts: What the model reads: strings, chats or lists of token ids, each of at least two tokens.
        batch_size: Number of texts in a forward pass.
        progress: Whether to show a bar.

    Returns:
        The same result with the columns ``cost`` and ``layer_cost`` in its table of units, and what all of them
        together cost.

    Raises:
        InputError: The model has other units, no texts, or a text that is too short or does not fit the context.
    """
    host.require_eval(model, "zeroing_costs")
    prepared = prepare(
        model,
        texts,
        None,
        tokens="all",
        groups=None,
        weight=1.0,
        spans=None,
        bos_eos=True,
        max_tokens=None,
        seed=None,
    )
    # every token behind the first counts once, whatever the length of its text
    items = [LossItem.next_tokens(item.ids, [range(1, len(item.ids))]) for item in prepared.items]
    if massive.units.empty:
        raise InputError("no unit is listed, so there is none to set to zero; ask for a larger share=")
    layers = massive.units["layer"].tolist()
    flat = [massive.space.index(*at) for at in zip(layers, massive.units["unit"].tolist(), strict=True)]
    # sets of units, each once: every unit, all of a layer, all together
    of_layer = {
        layer: frozenset(unit for unit, its in zip(flat, layers, strict=True) if its == layer) for layer in layers
    }
    sets = list(dict.fromkeys([*(frozenset([unit]) for unit in flat), *of_layer.values(), frozenset(flat)]))
    lost = {}
    with tqdm(total=1 + len(sets), desc="zeroing", unit="set", disable=not progress) as bar:
        baseline = _nats_a_token(model, items, batch_size)
        bar.update()
        for units in sets:
            with inhibit(model, Network.from_indices(massive.space, np.array(sorted(units)))):
                lost[units] = _nats_a_token(model, items, batch_size) - baseline
            bar.update()
    columns = ([lost[frozenset([unit])] for unit in flat], [lost[of_layer[layer]] for layer in layers])
    about = {"texts": len(items), "tokens": sum(len(item.at) for item in items), "model_dtype": host.number_type(model)}
    return replace(
        massive,
        units=massive.units.assign(**dict(zip(COST_COLUMNS, columns, strict=True))),
        together=lost[frozenset(flat)],
        baseline=baseline,
        provenance={**massive.provenance, **about},
    )


@serves_one_thread("zeroing costs")
@torch.no_grad()
def _nats_a_token(model: HookedModel, items: Sequence[LossItem], batch_size: int) -> float:
    """Mean cross-entropy of all tokens behind the first of each text, as the model is now."""
    total = 0.0
    device = host.model_device(model)
    for numbers in batches(items, batch_size):
        batch = [items[number] for number in numbers]
        ids, mask, _ = host.pad_batch([item.ids for item in batch], device)
        logits = host.forward(model, ids, mask)
        assert logits is not None
        # the mean over the tokens of each text, times their number
        losses = losses_of(logits, batch, list(range(ids.shape[1])), ids.shape[1])
        sizes = torch.tensor([len(item.at) for item in batch], device=losses.device, dtype=losses.dtype)
        total += float((losses * sizes).sum())
    return total / sum(len(item.at) for item in items)
