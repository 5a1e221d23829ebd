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
from functools import partial
from typing import Any

import numpy as np

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.acquisition.recording.massive import COST_COLUMNS, Massive
from tl_fbn.attribution.loss_items import passages
from tl_fbn.errors import InputError
from tl_fbn.intervention.behaviour.battery import Battery
from tl_fbn.intervention.hooks.interventions import inhibit
from tl_fbn.intervention.studies.engine import Condition, StudyRuns
from tl_fbn.intervention.studies.item_statistics import METRICS
from tl_fbn.signatures import checked
from tl_fbn.units import Network


@checked
def zeroing_costs(
    model: HookedModel,
    massive: Massive,
    texts: Sequence[Any],
    *,
    batch_tokens: int = 8192,
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
        batch_tokens: Largest number of tokens in a forward pass, padding counted; it changes speed and memory only.
        progress: Whether to show a bar.

    Returns:
        The same result with the columns ``cost`` and ``layer_cost`` in its table of units, and what all of them
        together cost.

    Raises:
        InputError: The model has other units, no texts, or a text that is too short or does not fit the context.
    """
    host.require_eval(model, "zeroing_costs")
    ids = passages(model, texts)
    # a passage is scored at every token behind its first
    battery = Battery.from_texts({"texts": ids})
    n_scored = np.array([len(one) - 1 for one in ids])
    if massive.units.empty:
        raise InputError("no unit is listed, so there is none to set to zero; ask for a larger share=")
    layers = massive.units["layer"].tolist()
    flat = [massive.space.index(*at) for at in zip(layers, massive.units["unit"].tolist(), strict=True)]
    # sets of units, each once: every unit, all of a layer, all together
    of_layer = {
        layer: frozenset(unit for unit, its in zip(flat, layers, strict=True) if its == layer) for layer in layers
    }
    sets = list(dict.fromkeys([*(frozenset([unit]) for unit in flat), *of_layer.values(), frozenset(flat)]))
    zeroed = [Network.from_indices(massive.space, np.array(sorted(units))) for units in sets]
    with StudyRuns(
        model, n_conditions=1 + len(sets), title="zeroing", unit="set", batch_tokens=batch_tokens, progress=progress
    ) as runs:
        conditions = [Condition("nothing zeroed"), *Condition.each(partial(inhibit, model), zeroed)]
        scores = runs.scores("sets", battery, conditions)[0][..., METRICS.index("log_likelihood")]
    # every token counts once, whatever the length of its text
    nats = -(scores * n_scored).sum(1) / n_scored.sum()
    baseline = float(nats[0])
    lost = dict(zip(sets, (nats[1:] - baseline).tolist(), strict=True))
    columns = ([lost[frozenset([unit])] for unit in flat], [lost[of_layer[layer]] for layer in layers])
    about = {"texts": len(n_scored), "tokens": int(n_scored.sum()), "model_dtype": host.number_type(model)}
    return replace(
        massive,
        units=massive.units.assign(**dict(zip(COST_COLUMNS, columns, strict=True))),
        together=lost[frozenset(flat)],
        baseline=baseline,
        provenance={**massive.provenance, **about},
    )
