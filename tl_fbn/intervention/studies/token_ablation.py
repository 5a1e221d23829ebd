"""Do the special tokens matter? The central claim of CGVST, taken apart.

::

    chats = {task: fbn.chats(task, n=100) for task in ("sort", "reverse", "add")}
    found = fbn.studies.token_ablation(model, chats, fbn.demo.battery(), seed=0)
    found.table.groupby(["variant", "tokens"])["isolated"].sum()

CGVST (Song et al. 2024) scores units on the special tokens of chats: those of the template, not of content. For every
set of tokens and every variant of the score, the units of each task are found, made specific to it, and silenced
while all tasks are scored on held-out items. A set of tokens earns its place if networks found on it *isolate* their
tasks more often than networks found on the others, above all on as many random positions: ``isolated`` is true where
the own task loses more than every other task, and more than under random networks with as many units in each layer (p
< ``alpha``).

Intervals are of the items: the drop is a mean over items, which are resampled. p is of one line and not corrected for
the number of lines. Which tokens and which variant win is a choice made on these items: confirm it on others.

Cost: tokens x variants x tasks x (all tasks' items + ``n_controls`` times the own task's items).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Unpack

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from tl_fbn.acquisition.model.chat_template import Items
from tl_fbn.acquisition.model.host import HookedModel, number_type, tokenizer_of
from tl_fbn.acquisition.model.token_layout import Tokens
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.analysis.networks.specificity import Specificity, specific_scores, task_unique
from tl_fbn.arguments import share
from tl_fbn.attribution.cgvst import ScoredSite, TextOptions, Variant, cgvst
from tl_fbn.errors import InputError, one_of
from tl_fbn.intervention.behaviour.battery import Battery
from tl_fbn.intervention.hooks.interventions import silencer
from tl_fbn.intervention.hooks.replacements import ReplacementMethod
from tl_fbn.intervention.studies.controls import matched_controls
from tl_fbn.intervention.studies.engine import Condition, StudyRuns
from tl_fbn.intervention.studies.item_statistics import (
    METRICS,
    change_interval,
    check_disjoint,
    check_metric,
    empirical_p,
    item_counts,
    resamples,
    spans,
)
from tl_fbn.intervention.studies.resume import study_folder
from tl_fbn.intervention.studies.study_prose import method_in_words
from tl_fbn.signatures import checked
from tl_fbn.units import Network, UnitMap
from tl_fbn.units.prose import NOT_RECORDED, listed
from tl_fbn.units.result import TableResult

Selection = Literal["top", "unique", "specific"]
# what is compared unless other sets and variants are asked for; both as :func:`tl_fbn.cgvst` defines them
TOKENS: tuple[Tokens, ...] = ("special", "answer", "content", "all", "random")
VARIANTS: tuple[Variant, ...] = ("row_sum", "row_l1", "row_l2", "grad_x_act", "grad")


@dataclass(frozen=True, eq=False)
class TokenAblation(TableResult, step="scores", picture="special_tokens"):
    """Networks found on several sets of tokens by several variants of CGVST, and what silencing each of them does.

    >>> chats = {task: fbn.chats(task)[:8] for task in ("sort", "reverse")}
    >>> found = fbn.studies.token_ablation(model, chats, battery, tokens=("special", "random"), variants=("row_sum",),
    ...                                    n_controls=5, seed=0, progress=False)
    >>> found
    TokenAblation of 2 tasks: most isolated (0) by row_sum on special tokens

    Args:
        table: One line a variant, set of tokens and task: variant, tokens, task, units (in the network), metric,
            baseline (score without a lesion), drop (of the own task), low and high (95 % interval of the drop over
            items), control_median and control_p95 (drops under random networks), p, other_median, other_worst and
            worst_task (drops of the other tasks), isolated.
        provenance: Seed, selection of networks and their size, number of controls, alpha and method.
    """

    def _methods_(self) -> list[str]:
        about = self.provenance
        table = self.table
        return [
            f"Networks of {listed(table['task'].unique().tolist())} were found by {table['variant'].nunique()} "
            f"variants of CGVST on {table['tokens'].nunique()} sets of tokens ({about.get('select', NOT_RECORDED)}; "
            f"top {about.get('top', NOT_RECORDED)}), and each was {method_in_words(about)} beside "
            f"{about.get('n_controls', NOT_RECORDED)} layer-matched random networks (seed "
            f"{about.get('seed', NOT_RECORDED)})."
        ]

    def _report_sections_(self) -> list[dict[str, Any]]:
        text = (
            "Networks scored on different tokens by different formulas, silenced. Isolated: the own task is hurt "
            "more than every other, and more than matched random networks."
        )
        title = "Which tokens find task neurons"
        return [{"title": title, "text": text, "picture": "special_tokens", "table": self.table}]

    def __repr__(self) -> str:
        table = self.table
        isolated: dict[tuple[str, str], int] = {}  # number of isolated tasks of each variant and set of tokens
        for variant, tokens, is_isolated in zip(table["variant"], table["tokens"], table["isolated"], strict=True):
            isolated[variant, tokens] = isolated.get((variant, tokens), 0) + bool(is_isolated)
        variant, tokens = max(isolated, key=lambda pair: isolated[pair])
        most = isolated[variant, tokens]
        return (
            f"TokenAblation of {table['task'].nunique()} tasks: most isolated ({most}) by {variant} on {tokens} tokens"
        )


@checked
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
    allow_other_weights: bool = False,
    n_bootstrap: int = 1000,
    batch_tokens: int = 8192,
    path: str | os.PathLike | None = None,
    progress: bool = True,
    site: ScoredSite = "mlp.up",
    **options: Unpack[TextOptions],
) -> TokenAblation:
    """Find, silence and compare networks for every set of tokens and variant of CGVST.

    >>> chats = {task: fbn.chats(task)[:8] for task in ("sort", "reverse")}
    >>> found = fbn.studies.token_ablation(model, chats, battery, tokens=("special", "random"), variants=("row_sum",),
    ...                                    n_controls=5, seed=0, progress=False)
    >>> found.table[["tokens", "task", "drop", "other_worst", "p", "isolated"]].round(2)  # no p below 1 / 6
        tokens     task  drop  other_worst     p  isolated
    0  special     sort   0.0          0.0  1.00     False
    1  special  reverse   0.9          0.0  0.17     False
    2   random     sort   0.0          0.0  1.00     False
    3   random  reverse   0.0          0.0  1.00     False

    Args:
        model: A TransformerLens model in eval mode.
        chats: Name of a task to the chats its networks are found on, of at least two tasks.
        battery: A battery that has tasks of the same names, with other items.
        seed: Seed of random positions, controls and bootstrap; the same seed gives the same table.
        tokens: Sets of tokens that are scored: ``"special"`` (those of the template), ``"answer"``,
            ``"content"``, ``"all"`` or ``"random"`` (as many positions as there are special tokens, drawn at random);
            :func:`tl_fbn.cgvst` defines them.
        variants: Variants of the score: ``"row_sum"``, ``"row_l1"``, ``"row_l2"``, ``"grad_x_act"`` or ``"grad"``;
            :func:`tl_fbn.cgvst` defines them.
        select: How a network is taken from the maps: ``"specific"``, the top of the task's map contrasted with the
            other tasks'; ``"unique"``, the top of the task's map without the other tasks' tops; ``"top"``, the top as
            it is (Song et al. 2024).
        how: The contrast of ``select="specific"``, as :func:`tl_fbn.specific_scores` defines it, of maps over their
            mean magnitude: a plain contrast, so that the tokens make the difference.
        top: Number of units in a network before others' are removed, or their share of all units if it is below 1.
        n_controls: Number of random networks beside each, with as many units in each layer.
        alpha: p below which the drop of the own task counts as more than that of random networks.
        metric: ``"exact_match"`` or ``"log_likelihood"``, in which drops are measured.
        method: What silenced units are given instead of their activations: ``"zero"``, ``"mean"``,
            ``"position_mean"``, ``"resample"`` or ``"noise"``.
        reference: A recording of the same units on other prompts, for all methods but ``"zero"``.
        allow_other_weights: True also takes a reference that was recorded on other weights than this model's.
        n_bootstrap: Number of times the items are resampled for the intervals.
        batch_tokens: Largest number of tokens in a pass, padding counted; it changes speed and memory only.
        path: A folder that keeps item-level results as they come; an interrupted study goes on from there. None keeps
            nothing.
        progress: Show a progress bar.
        site: The weights or activations that the gradient is taken of, as :func:`tl_fbn.cgvst` defines them.
        **options: Options of :func:`tl_fbn.cgvst` on texts: groups, weight, spans, bos_eos and max_tokens.

    Returns:
        One line a variant, set of tokens and task: the drop of the own task, those of the others, and whether the own
        is isolated.

    Raises:
        InputError: Fewer than two tasks, tasks without items in the battery, or items the networks were found on.
    """
    share(alpha, "alpha")
    if not tokens or not variants:
        raise InputError("token_ablation compares at least one set of tokens= under one of variants=; got none")
    one_of(select, Selection, "select")
    check_metric(metric)
    if len(chats) < 2:
        raise InputError(f"a token ablation compares at least two tasks; got {len(chats)}")
    if n_controls < 1:
        raise InputError(f"n_controls={n_controls} leaves nothing to compare with; give at least 1, better 100")
    named = battery.select(list(chats))  # refuses a task without items
    own = {task: battery.select([task]) for task in named.tasks}
    metric_place = METRICS.index(metric)
    silence = silencer(model, method=method, reference=reference, seed=seed, allow_other_weights=allow_other_weights)
    networks: dict[tuple[str, str, str], Network] = {}  # by variant, tokens and task
    n_lines = len(variants) * len(tokens) * len(chats)
    with tqdm(total=n_lines, desc="gradients", unit="map", disable=not progress) as bar:
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
                        batch_tokens=batch_tokens,
                        seed=drawn,
                        progress=False,
                        **options,
                    )
                    bar.update()
                # maps of all tasks are needed before any network, which is specific beside the others
                for task, network in _select_networks(maps, select, how, top).items():
                    check_disjoint(network, battery, tokenizer_of(model), task)
                    networks[variant, which, task] = network
    settings = {
        "study": "token ablation",
        "method": method,
        "seed": seed,
        "n_controls": n_controls,
        "reference": None if reference is None else reference.key,
    }
    folder = study_folder(path, model, {" / ".join(key): one for key, one in networks.items()}, battery, settings)
    with StudyRuns(
        model,
        n_conditions=1 + n_lines * (1 + n_controls),
        title="token ablation",
        batch_tokens=batch_tokens,
        progress=progress,
        folder=folder,
    ) as runs:
        baseline = runs.untouched(battery)
        lesioned = runs.scores("networks", battery, Condition.each(silence, networks.values()))[0]
        null: dict[str, np.ndarray] = {}  # of each task (variant and tokens, control): its mean under random networks
        for number, task in enumerate(chats):
            # controls are scored on the own task alone, which is all that p needs
            sham = [
                control
                for key, network in networks.items()
                if key[2] == task
                for control in matched_controls(network, n_controls, seed=seed + number)
            ]
            scores = runs.scores(f"controls-{number:03d}", own[task], Condition.each(silence, sham))[0]
            null[task] = scores[..., metric_place].mean(1).reshape(-1, n_controls)
    of_task = dict(zip(battery.tasks, spans(item_counts(battery)), strict=True))
    before = {task: baseline[span, metric_place] for task, span in of_task.items()}
    lines = []
    for place, ((variant, which, task), network) in enumerate(networks.items()):
        after = {other: lesioned[place, span, metric_place] for other, span in of_task.items()}
        drops = {other: float(before[other].mean() - after[other].mean()) for other in before}
        change = before[task] - after[task]
        low, high = change_interval(change, metric, resamples(len(change), n_bootstrap, seed))
        chance = before[task].mean() - null[task][place // len(chats)]
        # p: share of controls that cost the own task as much, the network counted among them
        p = float(empirical_p(drops[task], chance))
        others = {other: drop for other, drop in drops.items() if other != task}
        # the other task that loses most
        worst = max(others, key=lambda other: others[other])
        lines.append(
            {
                "variant": variant,
                "tokens": which,
                "task": task,
                "units": len(network),
                "metric": metric,
                "baseline": float(before[task].mean()),
                "drop": drops[task],
                "low": low,
                "high": high,
                "control_median": float(np.median(chance)),
                "control_p95": float(np.quantile(chance, 0.95)),
                "p": p,
                "other_median": float(np.median(list(others.values()))),
                "other_worst": others[worst],
                "worst_task": worst,
                # more than every other task, and more than random networks
                "isolated": bool(p < alpha and drops[task] > others[worst]),
            }
        )
    about = {"seed": seed, "select": select, "how": how, "top": top}
    about |= {"n_controls": n_controls, "alpha": alpha, "method": method, "model_dtype": number_type(model)}
    return TokenAblation(pd.DataFrame(lines), about)


def _select_networks(
    maps: Mapping[str, UnitMap], select: Selection, how: Specificity, top: int | float
) -> dict[str, Network]:
    """One network a task, by the rule of ``select``."""
    if select == "specific":
        return {task: one.top(top) for task, one in specific_scores(maps, how, scale="mean").items()}
    tops = {task: one.top(top) for task, one in maps.items()}
    return dict(task_unique(tops)) if select == "unique" else tops
