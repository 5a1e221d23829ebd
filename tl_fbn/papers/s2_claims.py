"""What the networks of the protocol of Nencka et al. (2023) say: overlaps, sizes and claims."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tl_fbn.analysis.networks.identification import Identification
from tl_fbn.analysis.networks.overlap import overlap
from tl_fbn.papers.claims import Claim, judged, mean_interval, sign_flip_p
from tl_fbn.papers.table_reading import column, records, where
from tl_fbn.units import Atlas, Network, UnitSpace
from tl_fbn.units.prose import listed

RELATED = ("medical imaging", "pathology")
TOP = 0.05  # share of units in networks of one size
SELECTIONS = {
    "token": "significant over tokens, as the paper",
    "block": "significant over block means",
    "sized": f"the {TOP:.0%} of largest t over block means",
}


def _joint(atlases: Sequence[Atlas], task: str) -> Network:
    """The networks of a task at several sites as one; every layer of every site counts as a layer of its own."""
    widths = tuple(width for atlas in atlases for width in atlas.space.widths)
    space = UnitSpace("all outputs", widths, model=atlases[0].space.model)
    members = np.concatenate([atlas[task].members for atlas in atlases])
    return Network.from_indices(space, np.flatnonzero(members), name=task)


def overlap_table(
    networks: Mapping[tuple[str, str], Atlas], sites: Sequence[str], tasks: Sequence[str], seed: int
) -> pd.DataFrame:
    """Dice of every two networks at every site and at all together, beside layer-matched chance.

    Args:
        networks: Site and selection to the networks of all tasks.
        sites: The sites.
        tasks: The tasks.
        seed: Seed of the overlaps.
    """
    lines = []
    for chosen in SELECTIONS:
        for site in ("all", *sites):
            atlases = [networks[one, chosen] for one in (sites if site == "all" else [site])]
            whole = {task: _joint(atlases, task) for task in tasks}
            for a, b in itertools.combinations(tasks, 2):
                one = overlap(whole[a], whole[b], seed=seed, n_null=9)
                lines.append((chosen, site, a, b, one.dice, one.expected, one.dice - one.expected, one.p))
    return pd.DataFrame(lines, columns=["selection", "site", "a", "b", "dice", "by chance", "more", "p"])


def size_table(networks: Mapping[tuple[str, str], Atlas], sites: Sequence[str], tasks: Sequence[str]) -> pd.DataFrame:
    """Share of every site's output values in each network.

    Args:
        networks: Site and selection to the networks of all tasks.
        sites: The sites.
        tasks: The tasks.
    """
    lines = [
        (site, chosen, *(networks[site, chosen][task].share for task in tasks))
        for site in sites
        for chosen in ("token", "block")
    ]
    return pd.DataFrame(lines, columns=["site", "selection", *tasks])


def dice_square(overlaps: pd.DataFrame, tasks: Sequence[str]) -> pd.DataFrame:
    """Dice of networks of one size over all sites, as a square.

    Args:
        overlaps: What :func:`overlap_table` made.
        tasks: The tasks.
    """
    lines = where(overlaps, selection="sized", site="all")
    dice = {frozenset((a, b)): value for a, b, value in zip(lines["a"], lines["b"], lines["dice"], strict=True)}
    rows = [[a, *(1.0 if a == b else dice[frozenset((a, b))] for b in tasks)] for a in tasks]
    return pd.DataFrame(rows, columns=["network", *tasks])


def _is_pair(line: Mapping[str, Any], pair: tuple[str, str]) -> bool:
    return {line["a"], line["b"]} == set(pair)


def _rank(overlaps: pd.DataFrame, pair: tuple[str, str], selection: str, site: str) -> int:
    """Rank of a pair among all pairs by Dice, 1 for the largest."""
    lines = records(where(overlaps, selection=selection, site=site))
    own = next(line["dice"] for line in lines if _is_pair(line, pair))
    return 1 + sum(line["dice"] > own for line in lines)


def _n(about: Mapping[str, Any]) -> str:
    return f"{len(about['conditions'])} conditions x {about['runs']} runs of {about['tokens']} tokens a block"


def _distinct(overlaps: pd.DataFrame, tasks: Sequence[str], about: Mapping[str, Any]) -> Claim:
    lines = where(overlaps, selection="sized", site="all")
    dice, p = column(lines, "dice"), column(lines, "p")
    beyond = int((p < 0.01).sum())
    low, high = mean_interval(dice)
    return Claim(
        "Networks of tasks are distinct but overlap",
        "no figure known",
        f"mean Dice of two networks of {TOP:.0%} of the outputs",
        float(dice.mean()),
        judged(bool(dice.max() < 0.9) and beyond == len(lines), beyond > 0),
        f"{beyond} of {len(lines)} pairs share more than layer-matched chance (exact p < .01); the most alike have "
        f"Dice {dice.max():.2f}, the least {dice.min():.2f}.",
        float(column(lines, "by chance").mean()),
        "random networks of as many units in every layer of every site",
        low,
        high,
        n=f"{len(lines)} pairs of {len(tasks)} conditions, all sites together",
    )


def _largest(overlaps: pd.DataFrame, pair: tuple[str, str], about: Mapping[str, Any]) -> Claim:
    lines = records(where(overlaps, selection="sized", site="all"))
    own = next(line for line in lines if _is_pair(line, pair))
    n_pairs, rank = len(lines), _rank(overlaps, pair, "sized", "all")
    at_sites = [_rank(overlaps, pair, "sized", site) for site in about["sites"]]
    first = sum(one == 1 for one in at_sites)
    return Claim(
        f"The largest overlap is that of {pair[0]} and {pair[1]}",
        "the largest of all pairs" if set(pair) == set(RELATED) else "not in the paper",
        f"Dice of the two networks, {TOP:.0%} of the outputs each",
        float(own["dice"]),
        judged(rank == 1, first > 0),
        f"Rank {rank} of {n_pairs} with networks of one size over all sites (alone at {first} of {len(at_sites)} "
        f"sites); rank {_rank(overlaps, pair, 'token', 'all')} with what is significant over tokens, whose sizes "
        f"differ, rank {_rank(overlaps, pair, 'block', 'all')} over block means. p is the share of pairs that would be "
        "first by chance.",
        max(float(line["dice"]) for line in lines if not _is_pair(line, pair)),
        "the largest of the other pairs",
        p=rank / n_pairs,
        n=_n(about),
    )


def _repeat(likeness: pd.DataFrame, main: str, about: Mapping[str, Any]) -> Claim:
    lines = where(likeness, site=main)
    within, between = column(lines, "dice_within"), column(lines, "dice_between")
    more = within - between
    low, high = mean_interval(more)
    alike = [line["task"] for line in records(lines) if line["discriminability"] > 0.75]
    missing = [line["task"] for line in records(lines) if line["task"] not in alike]
    at_sites = [float(column(where(likeness, site=site), "discriminability").mean()) for site in about["sites"]]
    return Claim(
        "Networks are repeatable over performances of a task",
        "no figure known",
        "Dice of two runs of a task less that of runs of two tasks",
        float(more.mean()),
        judged(not missing and bool(low > 0), bool(low > 0) or bool(alike)),
        f"At {main} two runs of a task have Dice {within.mean():.2f}, of two tasks {between.mean():.2f}; in "
        f"{len(alike)} of {len(lines)} conditions a run is more like its own than like others three times in four "
        f"(not: {listed(missing) or 'none'}). Mean discriminability over conditions {min(at_sites):.2f} to "
        f"{max(at_sites):.2f} at the sites.",
        0.0,
        "no difference",
        low,
        high,
        sign_flip_p(more),
        _n(about),
    )


def _identified(told: Mapping[str, Identification], main: str, about: Mapping[str, Any]) -> Claim:
    one = told[main]
    low, high = one.interval
    accuracies = [each.accuracy for each in told.values()]
    return Claim(
        "Networks identify the task of prompts that did not define them",
        '"accurately"; no figure known',
        "share of runs given to their own task",
        one.accuracy,
        judged(one.p < 0.01 and low > 0.5, one.p < 0.01),
        f"{round(one.accuracy * one.n)} of {one.n} runs at {main}; {min(accuracies):.2f} to {max(accuracies):.2f} at "
        f"the {len(told)} sites. p from shuffled labels; holds: p < .01 and the interval above one half.",
        one.chance,
        "chance",
        low,
        high,
        one.p,
        f"{one.n} runs of {len(one.tasks)} conditions, none of whose prompts defined a network",
    )


def claims(
    overlaps: pd.DataFrame,
    likeness: pd.DataFrame,
    told: Mapping[str, Identification],
    main: str,
    about: Mapping[str, Any],
) -> list[Claim]:
    """The claims of the abstract.

    Args:
        overlaps: What :func:`overlap_table` made.
        likeness: How alike networks of single runs are, at every site.
        told: Site to how the tasks of other prompts' runs were told.
        main: Site at which claims about single sites are read.
        about: Settings of the run; ``related`` names the pair that should overlap most, or is None.
    """
    found = [_distinct(overlaps, about["conditions"], about)]
    if (pair := about["related"]) is not None:
        found.append(_largest(overlaps, (pair[0], pair[1]), about))
    return [*found, _repeat(likeness, main, about), _identified(told, main, about)]
