"""The pruning of the later paper (arXiv 2508.05239), on a model's neurons, beside random neurons of the same layers.

Neurons are kept whose \\|z\\| is above tau in any network of their layer, with tau tuned to the share of parameters
that is removed; the first three layers and the last two are not pruned where the model has enough layers. Ours, to be
done in minutes: one decomposition of every layer with one restart, as the released code for accelerators does.
"""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pandas as pd

from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.analysis.ica.find_networks import find_networks
from tl_fbn.intervention.behaviour.battery import Battery, Scores
from tl_fbn.intervention.behaviour.task_set import Tasks
from tl_fbn.intervention.pruning.prune import prune
from tl_fbn.intervention.pruning.prune_ratio import keep_for_ratio
from tl_fbn.intervention.studies.controls import matched_controls
from tl_fbn.papers.s0_settings import pruning
from tl_fbn.units import Network

RATIO = float(pruning.ratio["ratio"])
_FEW_LAYERS = 8  # below so many the protected five would leave too little to prune
_N_TEXTS = 10  # texts a task: whose perplexity is measured, and that compensation reads
_MOST_CONTROLS = 5  # each is a model of its own


def table(
    model: HookedModel,
    recording: Recording,
    tasks: Tasks,
    battery: Battery,
    n_controls: int,
    quick: bool,
    seed: int,
    bar: bool,
) -> pd.DataFrame:
    """Perplexity and scores of the intact model, the pruned ones, and randomly pruned ones.

    Args:
        model: A TransformerLens bridge.
        recording: Activations of ``mlp.neurons``.
        tasks: The tasks, whose discovery half compensation reads.
        battery: Held-out items.
        n_controls: Number of randomly pruned models; five at most.
        quick: Whether few components are enough.
        seed: Seed of the random neurons.
        bar: Show progress bars.

    Returns:
        One line a model: model, parameters (share that is left), perplexity (of held-out prompts), exact match and
        log-likelihood (of their answers, mean over tasks).
    """
    narrow = model.cfg.n_layers < _FEW_LAYERS
    protected: dict[str, Any] = {} if narrow else {k: v for k, v in pruning.ratio.items() if k != "ratio"}
    options = {**pruning.networks, "n_restarts": 1, "progress": bar}
    if quick or narrow:
        options["n_components"] = min(8, min(recording.space.widths) // 2)
    atlas = find_networks(recording, **options)
    keep = keep_for_ratio(model, atlas, ratio=RATIO, **protected)
    held_out = tasks.prompts("evaluation", n=_N_TEXTS)
    shown = [one for of in tasks.prompts("discovery", n=_N_TEXTS).values() for one in of]
    texts = Battery.from_texts(held_out)

    def line(name: str, subject: HookedModel, share: float) -> tuple[Any, ...]:
        passages, answers = texts.score(subject), battery.score(subject)
        perplexity = float(np.exp(-_mean(passages, "log_likelihood")))
        return name, share, perplexity, _mean(answers, "exact_match"), _mean(answers, "log_likelihood")

    def cut(name: str, network: Network, compensate: bool) -> tuple[Any, ...]:
        gc.collect()  # a bridge and its parts refer to each other: without it the models before this one stay in memory
        small = prune(model, keep=network, compensate=shown if compensate else None, progress=bar, **protected)
        return line(name, small, 1 - small.pruned.ratio)

    lines = [line("intact", model, 1.0), cut("networks kept", keep, False), cut("and compensated", keep, True)]
    for number, network in enumerate(matched_controls(keep, min(n_controls, _MOST_CONTROLS), seed=seed)):
        lines += [cut(f"random {number}", network, False), cut(f"random {number}, compensated", network, True)]
    columns = ["model", "parameters", "perplexity", "exact match", "log-likelihood"]
    return pd.DataFrame(lines, columns=columns)


def _mean(scores: dict[str, Scores], metric: str) -> float:
    """Mean over tasks of the mean over items."""
    return float(np.mean([np.mean(getattr(one, metric)) for one in scores.values()]))
