"""What the lesions of the protocol of Song et al. (2024) say: tables and claims."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tl_fbn.analysis.networks.overlap import overlap
from tl_fbn.papers.claims import Claim, judged, mean_interval
from tl_fbn.papers.conditions import Scored
from tl_fbn.papers.table_reading import column, one_line, records, where
from tl_fbn.units import Network
from tl_fbn.units.prose import listed

TOKENS = ("special", "all", "answer", "random")
"""Sets of tokens that the score is made at: the paper's, and what it is compared with."""

LARGE = "top 5 %"
SMALL = {"plain": "top .2 %", "least": "top .2 % of own less largest other"}
"""How lists are cut beside the released 5 %, and what that is called."""

BETTER = 0.002
"""Share of all neurons in a network of the better score."""


def called(found: Scored, prefix: str) -> Scored:
    """Scores under the networks of one score, named like their tasks.

    Args:
        found: Scores under networks whose names begin with that of their score.
        prefix: Name of the score.
    """
    places = [number for number, label in enumerate(found.labels) if label.startswith(f"{prefix}: ")]
    labels = [found.labels[number].removeprefix(f"{prefix}: ") for number in places]
    return Scored(labels, found.tasks, found.counts, found.before, found.after[places], found.seed)


def overlap_table(networks: Mapping[str, Network], seed: int) -> pd.DataFrame:
    """Jaccard of every two lists, beside layer-matched chance.

    Args:
        networks: Name of a task to its list.
        seed: Seed of the overlaps.
    """
    lines = []
    for a, b in itertools.combinations(networks, 2):
        found = overlap(networks[a], networks[b], seed=seed, n_null=99)
        dice = found.expected
        lines.append((a, b, found.shared, found.jaccard, dice / (2 - dice), found.p))
    return pd.DataFrame(lines, columns=["a", "b", "shared", "jaccard", "by chance", "p"])


def token_table(lists_at: Mapping[tuple[str, str], Scored], names: Sequence[str]) -> pd.DataFrame:
    """Own and worst other task of the lists found at every set of tokens, by how they are cut.

    Args:
        lists_at: Tokens and cut to the scores under the lists, which are named like their tasks.
        names: The tasks.
    """
    lines = []
    for (tokens, cut), of in lists_at.items():
        own = np.array([of.loss(name, name) for name in names])
        worst = np.array([max(of.loss(name, other) for other in names if other != name) for name in names])
        isolated = int(((own >= 0.05) & (own >= 3 * worst)).sum())
        lines.append((tokens, cut, float(own.mean()), float(worst.mean()), int((own > worst).sum()), isolated))
    return pd.DataFrame(lines, columns=["tokens", "cut", "own", "worst other", "own is worst hit", "isolated"])


def _counted(table: pd.DataFrame, about: Mapping[str, Any]) -> str:
    return f"{len(table)} tasks x {about['items']} items, {about['controls']} random networks each"


def _needed(silent: pd.DataFrame, about: Mapping[str, Any]) -> Claim:
    beyond = int((column(silent, "own") > column(silent, "control max")).sum())
    low, high = mean_interval(column(silent, "own"))
    return Claim(
        "Inhibiting a task's neurons breaks the task",
        "tables not known to us; 5 % of all neurons",
        "nats a token lost on the own task, mean over tasks",
        float(column(silent, "own").mean()),
        judged(beyond == len(silent), beyond > 0),
        f"{beyond} of {len(silent)} lists cost their own task more than all of their random networks (exact match "
        f"{silent['before'].mean():.2f} -> {silent['after'].mean():.2f}).",
        float(column(silent, "control median").mean()),
        "random networks of as many units in every layer",
        low,
        high,
        float(column(silent, "p").max()),
        _counted(silent, about),
    )


def _specific(silent: pd.DataFrame, tokens: pd.DataFrame, about: Mapping[str, Any]) -> Claim:
    isolated = int(column(silent, "isolated").sum())
    more = column(silent, "own") - column(silent, "worst")
    low, high = mean_interval(more)
    line = one_line(tokens, tokens="special", cut=LARGE)
    hit = 0 if line is None else int(line["own is worst hit"])
    return Claim(
        "The neurons are the task's own",
        "eight tasks; tables not known to us",
        "nats lost on the own task less those of the worst other, mean over tasks",
        float(more.mean()),
        judged(isolated == len(silent), isolated > 0),
        f"{isolated} of {len(silent)} tasks are isolated (three times the worst other's loss, beyond all random "
        f"networks); the own task is hit worst by {hit} of {len(silent)} lists, where 1 in {len(silent)} is chance.",
        0.0,
        "no difference between own and worst other task",
        low,
        high,
        n=_counted(silent, about),
    )


def _amplified(louder: pd.DataFrame, doubled: Scored, names: list[str], about: Mapping[str, Any]) -> Claim:
    gained = -column(louder, "own")
    helped = [name for name in names if doubled.interval(name, name)[1] < 0]
    low, high = mean_interval(gained)
    said = f": {listed(helped)}" if helped else ""
    return Claim(
        "Amplifying them improves the task",
        "factor and tables not known to us; ours: 2",
        "nats a token gained on the own task, mean over tasks",
        float(gained.mean()),
        judged(len(helped) == len(names), bool(helped)),
        f"{len(helped)} of {len(names)} tasks gain (95 % interval over items above 0){said}; exact match "
        f"{louder['before'].mean():.2f} -> {louder['after'].mean():.2f}.",
        float(-column(louder, "control median").mean()),
        "random networks of as many units in every layer, doubled",
        low,
        high,
        n=_counted(louder, about),
    )


def _by_tokens(tokens: pd.DataFrame, about: Mapping[str, Any]) -> Claim:
    large = where(tokens, cut=LARGE)
    more = dict(zip(large["tokens"], column(large, "own") - column(large, "worst other"), strict=True))
    isolated = dict(zip(large["tokens"], large["isolated"], strict=True))
    least = {line["tokens"]: line["isolated"] for line in records(where(tokens, cut=SMALL["least"]))}
    rivals = [one for one in TOKENS if one != "special"]
    best = max(rivals, key=lambda one: more[one])
    wins = bool(more["special"] > more[best] and isolated["special"] > 0)
    said = ", ".join(f"{one} {more[one]:.2f} ({isolated[one]} isolated)" for one in TOKENS)
    return Claim(
        "Special tokens find them better than other tokens",
        "better than traditional localization (abstract)",
        "own less worst other loss in nats a token, mean over tasks",
        float(more["special"]),
        judged(wins, bool(more["special"] > more["random"]) and not wins),
        f"Own less worst other task by tokens: {said}. Cut to {BETTER:.1%} of own less largest other score: "
        f"{', '.join(f'{one} {n}' for one, n in least.items())} isolated.",
        float(more[best]),
        f"the best of the others: {best} tokens",
        n=f"{about['items']} items a task",
    )


def _shared(overlaps: pd.DataFrame, n_tasks: int) -> Claim:
    values, chance, p = (column(overlaps, one) for one in ("jaccard", "by chance", "p"))
    chance = float(chance.mean())
    low, high = mean_interval(values)
    beyond = bool((p < 0.01).all())
    return Claim(
        "The tasks' lists share a core",
        "mean Jaccard .277 of the released lists, layer-matched chance .047",
        "mean Jaccard of two lists",
        float(values.mean()),
        judged(beyond and values.mean() > 2 * chance, bool((p < 0.01).any())),
        f"{int((p < 0.01).sum())} of {len(overlaps)} pairs share more than layer-matched chance (exact p < "
        f".01), {values.mean() / chance:.1f} times as much on average; so a list is not a task's own by itself.",
        chance,
        "random lists of as many units in every layer",
        low,
        high,
        float(p.max()),
        f"{len(overlaps)} pairs of {n_tasks} tasks",
    )


def _better(ours: pd.DataFrame, silent: pd.DataFrame, about: Mapping[str, Any]) -> Claim:
    isolated, of_paper = int(column(ours, "isolated").sum()), int(column(silent, "isolated").sum())
    more = column(ours, "own") - column(ours, "worst")
    low, high = mean_interval(more)
    return Claim(
        "Task neurons exist: own less largest other score, at answers (ours)",
        "not in the paper",
        "nats lost on the own task less those of the worst other, mean over tasks",
        float(more.mean()),
        judged(isolated == len(ours), isolated > 0),
        f"{isolated} of {len(ours)} tasks are isolated by {BETTER:.1%} of all neurons, {of_paper} by the released "
        "score's 5 %.",
        float((column(silent, "own") - column(silent, "worst")).mean()),
        "the released score at special tokens, 5 %",
        low,
        high,
        float(column(ours, "p").max()),
        _counted(ours, about),
    )


def claims(
    silent: pd.DataFrame,
    louder: pd.DataFrame,
    ours: pd.DataFrame,
    tokens: pd.DataFrame,
    overlaps: pd.DataFrame,
    doubled: Scored,
    about: Mapping[str, Any],
) -> list[Claim]:
    """The claims of the paper, and ours.

    Args:
        silent: Own task, worst other and controls of the lists at special tokens, silenced.
        louder: Own task, worst other and controls of these lists, doubled.
        ours: Own task, worst other and controls of the better score's networks, silenced.
        tokens: Own and worst other task by the tokens that lists are found at.
        overlaps: Jaccard of every two lists.
        doubled: Scores with the lists at special tokens doubled.
        about: Settings of the run.
    """
    names = list(doubled.labels)
    return [
        _needed(silent, about),
        _specific(silent, tokens, about),
        _amplified(louder, doubled, names, about),
        _by_tokens(tokens, about),
        _shared(overlaps, len(names)),
        _better(ours, silent, about),
    ]
