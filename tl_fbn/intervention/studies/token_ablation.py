"""Do the special tokens matter? The central claim of CGVST, taken apart.

::

    chats = {task: fbn.chats(task, n=100) for task in ("sort", "reverse", "add")}
    found = fbn.studies.token_ablation(model, chats, fbn.demo.battery(), seed=0)
    found.table.groupby(["variant", "tokens"])["isolated"].sum()

For every set of tokens and every variant of the score, each task's neurons are found, made specific, and silenced while all tasks are scored on held-out
items. A set of tokens earns its place if networks found on it *isolate* their tasks more often than networks found on the others, above all on
as many random positions: ``isolated`` is true where the own task loses more than every other task and more than layer-matched random
networks (p < ``alpha``).

Intervals are of the items: the drop is a mean over items, resampled. Which tokens and which variant win is a choice made on these items: confirm it on others.

Cost: tokens x variants x tasks x (all tasks' items + ``n_controls`` times the own task's items).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Unpack

import numpy as np
import pandas as pd
from jaxtyping import Float
from tqdm.auto import tqdm

from tl_fbn.acquisition.model.chat_template import Items
from tl_fbn.acquisition.model.host import HookedModel, tokenizer_of
from tl_fbn.acquisition.model.token_layout import Tokens
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.analysis.networks.specificity import Specificity, specific_scores, task_unique
from tl_fbn.attribution.cgvst import ScoredSite, TextOptions, Variant, cgvst
from tl_fbn.errors import InputError, one_of
from tl_fbn.intervention.behaviour.battery import Battery, Scores
from tl_fbn.intervention.hooks.interventions import silencer
from tl_fbn.intervention.hooks.replacements import ReplacementMethod
from tl_fbn.intervention.studies.controls import matched_controls
from tl_fbn.intervention.studies.item_statistics import check_disjoint, check_metric, empirical_p, paired_interval
from tl_fbn.intervention.studies.study_prose import method_in_words
from tl_fbn.units import Network, UnitMap
from tl_fbn.units.prose import NOT_RECORDED, listed
from tl_fbn.units.result import TableResult

Selection = Literal["top", "unique", "specific"]
TOKENS: tuple[Tokens, ...] = ("special", "answer", "content", "all", "random")
VARIANTS: tuple[Variant, ...] = ("row_sum", "row_l1", "row_l2", "grad_x_act", "grad")


@dataclass(frozen=True, eq=False)
class TokenAblation(TableResult, step="scores", picture="special_tokens"):
    """One line a variant, set of tokens and task: variant, tokens, task, units, metric, baseline, drop, low and high (95 % interval
    over items), control_median, control_p95, p, other_median, other_worst, worst_task, isolated."""

    def _methods_(self) -> list[str]:
        about = self.provenance
        table = self.table
        return [
            f"Networks of {listed(table['task'].unique().tolist())} were found by {table['variant'].nunique()} variants of CGVST on {table['tokens'].nunique()} "
            f"sets of tokens ({about.get('select', NOT_RECORDED)}; top {about.get('top', NOT_RECORDED)}), and each was {method_in_words(about)} beside "
            f"{about.get('n_controls', NOT_RECORDED)} layer-matched random networks (seed {about.get('seed', NOT_RECORDED)})."
        ]

    def _report_sections_(self) -> list[dict[str, Any]]:
        text = (
            "Networks scored on different tokens by different formulas, silenced. Isolated: the own task is hurt more than every other, and more than "
            "matched random networks."
        )
        return [
            {
                "title": "Which tokens find task neurons",
                "text": text,
                "picture": "special_tokens",
                "table": self.table,
            }
        ]

    def __repr__(self) -> str:
        table = self.table
        isolated: dict[tuple[str, str], int] = {}
        for variant, tokens, yes in zip(table["variant"], table["tokens"], table["isolated"], strict=True):
            isolated[variant, tokens] = isolated.get((variant, tokens), 0) + bool(yes)
        variant, tokens = max(isolated, key=lambda pair: isolated[pair])
        most = isolated[variant, tokens]
        return (
            f"TokenAblation of {table['task'].nunique()} tasks: most isolated ({most}) by {variant} on {tokens} tokens"
        )


def token_ablation(
    model: HookedModel,
    chats: Mapping[str, Items],
    battery: Battery,
    *,
    seed: int,
    tokens: Sequence[Tokens] = TOKENS,
    variants: Sequence[Variant] = VARIANTS,
    select: Selection = "specific",
    how: Specificity = "difference",
    top: int | float = 0.05,
    n_controls: int = 100,
    alpha: float = 0.02,
    metric: str = "exact_match",
    method: ReplacementMethod = "zero",
    reference: Recording | None = None,
    n_bootstrap: int = 1000,
    batch_size: int = 64,
    progress: bool = True,
    site: ScoredSite = "mlp.up",
    **options: Unpack[TextOptions],
) -> TokenAblation:
    """Find, silence and compare networks for every set of tokens and variant of CGVST.

    ::

        fbn.studies.token_ablation(model, {task: fbn.chats(task) for task in ("sort", "add")}, fbn.demo.battery(), seed=0)

    Args:
        model: A TransformerLens model in eval mode.
        chats: Task to the chats its neurons are found on, at least two tasks.
        battery: Tasks of the same names, with other items.
        seed: Of random positions, controls and resampling.
        tokens: Sets of tokens, as for :func:`tl_fbn.cgvst`.
        variants: Variants of the score, as for :func:`tl_fbn.cgvst`.
        select: ``"specific"``: the top of the map contrasted with the other tasks'; ``"unique"``: the top of the map, less the other tasks' tops;
            ``"top"``: the top as it is (Song et al. 2024).
        how: The contrast, as for :func:`tl_fbn.specific_scores`.
        top: Size of the networks.
        n_controls: Layer-matched random networks for each.
        alpha: p below which a drop counts as more than theirs.
        metric: ``"exact_match"`` or ``"log_likelihood"``.
        method: As for :func:`.hooks.inhibit`.
        reference: A recording for the methods that need one, as for :func:`tl_fbn.inhibit`.
        n_bootstrap: Resamplings of the items behind each interval.
        batch_size: Items in a pass.
        progress: Show a bar.
        site: What the gradient is taken of, as for :func:`tl_fbn.cgvst`.
        **options: groups, weight, spans, bos_eos and max_tokens, as for :func:`tl_fbn.cgvst`.

    Returns:
        One line a variant, set of tokens and task; :class:`TokenAblation` says which columns.

    Raises:
        InputError: Fewer than two tasks, tasks without items in the battery, or items the networks were found on.
    """
    one_of(select, Selection, "select")
    check_metric(metric)
    if len(chats) < 2:
        raise InputError(f"a token ablation compares at least two tasks; got {len(chats)}")
    if n_controls < 1:
        raise InputError(f"n_controls={n_controls} leaves nothing to compare with; give at least 1, better 100")
    own = {
        task: battery.select([task]) for task in battery.select(list(chats)).tasks
    }  # raises where a task has no items
    before = battery.score(model, batch_size=batch_size)
    silence = silencer(model, method=method, reference=reference, seed=seed)
    lines: list[dict[str, Any]] = []
    total = len(tokens) * len(variants) * len(chats) * (2 + n_controls)
    with tqdm(total=total, desc="token ablation", unit="pass", disable=not progress) as bar:
        for variant in variants:
            for which in tokens:
                maps = {}
                for task, items in chats.items():
                    drawn = seed if which == "random" else None
                    maps[task] = cgvst(
                        model,
                        items,
                        tokens=which,
                        variant=variant,
                        site=site,
                        batch_size=batch_size,
                        seed=drawn,
                        progress=False,
                        **options,
                    )
                    bar.update()
                networks = _networks(maps, select, how, top)
                for number, (task, network) in enumerate(networks.items()):
                    check_disjoint(network, battery, tokenizer_of(model), task)
                    sham = matched_controls(network, n_controls, seed=seed + number)
                    with silence(network):
                        after = battery.score(model, batch_size=batch_size)
                    bar.update()
                    chance = []
                    for control in sham:
                        with silence(control):
                            chance.append(own[task].score(model, batch_size=batch_size)[task].of(metric))
                        bar.update()
                    drops = {other: before[other].of(metric) - after[other].of(metric) for other in before}
                    change = _items(before[task], metric) - _items(after[task], metric)
                    low, high = paired_interval(change, n_bootstrap, seed)
                    null = before[task].of(metric) - np.array(chance)
                    p = float(empirical_p(drops[task], null))
                    others = {other: drop for other, drop in drops.items() if other != task}
                    worst = max(others, key=lambda other: others[other])
                    lines.append(
                        {
                            "variant": variant,
                            "tokens": which,
                            "task": task,
                            "units": len(network),
                            "metric": metric,
                            "baseline": before[task].of(metric),
                            "drop": drops[task],
                            "low": low,
                            "high": high,
                            "control_median": float(np.median(null)),
                            "control_p95": float(np.quantile(null, 0.95)),
                            "p": p,
                            "other_median": float(np.median(list(others.values()))),
                            "other_worst": others[worst],
                            "worst_task": worst,
                            "isolated": bool(p < alpha and drops[task] > others[worst]),
                        }
                    )
    about = {
        "seed": seed,
        "select": select,
        "how": how,
        "top": top,
        "n_controls": n_controls,
        "alpha": alpha,
        "method": method,
    }
    return TokenAblation(pd.DataFrame(lines), about)


def _networks(maps: Mapping[str, UnitMap], select: Selection, how: Specificity, top: int | float) -> dict[str, Network]:
    """One network a task."""
    if select == "specific":
        return {task: one.top(top) for task, one in specific_scores(maps, how).items()}
    tops = {task: one.top(top) for task, one in maps.items()}
    return dict(task_unique(tops)) if select == "unique" else tops


def _items(scores: Scores, metric: str) -> Float[np.ndarray, " item"]:
    return np.asarray(getattr(scores, metric), dtype=float)
