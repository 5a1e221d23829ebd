"""What was measured by the protocol of Liu et al. (2025), and its tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tl_fbn.analysis.networks.connectivity import Connectivity
from tl_fbn.analysis.networks.recurrence import Recurrence
from tl_fbn.intervention.studies.item_statistics import empirical_p
from tl_fbn.papers.claims import mean_interval
from tl_fbn.papers.conditions import Scored
from tl_fbn.papers.paper_study import PaperTable
from tl_fbn.papers.s0_masks import Variances
from tl_fbn.papers.table_reading import records, where
from tl_fbn.units import Atlas, Network

KINDS = ("layer-matched", "variance-matched", "uniform")


@dataclass(frozen=True, eq=False)
class Evidence:
    """Everything that a run measured.

    Args:
        about: Settings of the run.
        variances: Variances of the units.
        networks: All masks by name, such as ``"K=10: union"``.
        single: Networks of the smallest decomposition, by name.
        masked: Scores with each mask set to 0.
        kept: Scores with everything but each mask set to 0.
        alone: Scores with every single network, and its random ones, set to 0.
        louder: Scores with 1 added to every single network, and to its random ones.
        recurrence: How often networks come back in other prompts.
        connectivity: Correlations of their courses.
        corrected: Networks of the corrected analysis.
        pruned: Table of the intact and the pruned models.
    """

    about: Mapping[str, Any]
    variances: Variances
    networks: Mapping[str, Network]
    single: Mapping[str, Network]
    masked: Scored
    kept: Scored
    alone: Scored
    louder: Scored
    recurrence: Recurrence
    connectivity: Connectivity
    corrected: Atlas
    pruned: pd.DataFrame

    @property
    def few(self) -> str:
        """Name of the smallest decomposition."""
        return f"K={self.about['networks'][0]}"

    @property
    def unions(self) -> list[str]:
        """Names of the unions, without their parts and controls."""
        return [name.removesuffix(": union") for name in self.networks if name.endswith(": union")]


def _beside(scores: Scored, union: str, kind: str, metric: str) -> np.ndarray:
    """Mean loss over tasks under the random masks of a kind beside a union."""
    labels = [label for label in scores.labels if label.startswith(f"{union}: {kind} ")]
    return np.array([scores.mean_loss(label, metric) for label in labels])


def mask_table(evidence: Evidence, scores: Scored) -> pd.DataFrame:
    """One line a union, part of one and kind of random masks: units, share, loss, exact match before and after.

    Args:
        evidence: What was measured.
        scores: Scores under the masks, set to 0 or kept.
    """
    lines: list[tuple[Any, ...]] = []
    for union in evidence.unions:
        parts = [one for one in scores.labels if one.startswith(f"{union}: ")]
        fixed = [one for one in parts if not any(f": {kind} " in one for kind in KINDS)]
        for label in fixed:
            network = evidence.networks[label]
            by_task = np.array([scores.loss(label, task) for task in scores.tasks])
            line = (union, label.partition(": ")[2], len(network), network.share, float(by_task.mean()))
            lines.append((*line, *mean_interval(by_task), float(by_task.max()), scores.mean_score(label), np.nan))
        for kind in KINDS:
            lost = _beside(scores, union, kind, "log_likelihood")
            if not len(lost):
                continue
            own = scores.mean_loss(f"{union}: union")
            network = evidence.networks[f"{union}: {kind} 0"]
            exact = float(np.median([scores.mean_score(one) for one in parts if f": {kind} " in one]))
            # kept: the union is better than random where it loses less
            p = float(empirical_p(-own, -lost) if scores is evidence.kept else empirical_p(own, lost))
            low, high = np.quantile(lost, [0.05, 0.95])
            line = (union, kind, len(network), network.share, float(np.median(lost)), float(low), float(high))
            lines.append((*line, float(lost.max()), exact, p))
    columns = ["networks", "mask", "units", "share", "lost", "low", "high", "largest", "exact match", "p"]
    return pd.DataFrame(lines, columns=columns)


def single_table(evidence: Evidence, scores: Scored) -> pd.DataFrame:
    """One line a single network: units, loss (mean over tasks), median and largest of its random ones, p, exact match.

    Args:
        evidence: What was measured.
        scores: Scores under the networks and their random ones.
    """
    lines = []
    for name, network in evidence.single.items():
        lost = np.array([scores.mean_loss(one) for one in scores.labels if one.startswith(f"{name}: control ")])
        own = scores.mean_loss(name)
        gained = sum(scores.interval(name, task)[1] < 0 for task in scores.tasks)
        line = (name, len(network), own, float(np.median(lost)), float(lost.max()), float(lost.min()))
        lines.append((*line, float(empirical_p(own, lost)), scores.mean_score(name), int(gained)))
    columns = ["network", "units", "lost", "random median", "random max", "random min", "p", "exact match"]
    return pd.DataFrame(lines, columns=[*columns, "tasks that gain"])


def p_together(evidence: Evidence, scores: Scored) -> float:
    """p that random networks, one beside each network, cost as much as the networks do on average.

    Args:
        evidence: What was measured.
        scores: Scores under the single networks and their random ones.
    """
    names = list(evidence.single)
    n_controls = evidence.about["few"]
    drawn = [[scores.mean_loss(f"{name}: control {number}") for name in names] for number in range(n_controls)]
    return float(empirical_p(np.mean([scores.mean_loss(name) for name in names]), np.mean(drawn, axis=1)))


def curve(evidence: Evidence, scores: Scored) -> pd.DataFrame:
    """Exact match against the share of units that are masked or kept, for networks and both kinds of random masks.

    Args:
        evidence: What was measured.
        scores: Scores under the masks, set to 0 or kept.
    """
    lines = []
    table = mask_table(evidence, scores)
    for series, mask in (("networks", "union"), ("layer-matched", "layer-matched"), ("variance-matched", KINDS[1])):
        of = [line for line in records(where(table, mask=mask)) if line["networks"] != "corrected"]
        lines += [(series, line["share"], line["exact match"]) for line in of]
    return pd.DataFrame(lines, columns=["masks", "share of units", "exact match"])


def tables(evidence: Evidence) -> dict[str, PaperTable]:
    """The tables behind the claims.

    Args:
        evidence: What was measured.
    """
    nats = (
        "Nats a token of the answer lost: mean over tasks, its 95 % interval over tasks and the task that loses most; "
        "of random masks the median, 5th and 95th percentile and the largest"
    )
    square = pd.DataFrame(evidence.connectivity.matrix, columns=list(evidence.connectivity.names))
    square.insert(0, "network", list(evidence.connectivity.names))
    masked, left = evidence.masked, evidence.kept
    return {
        "masked": PaperTable("Networks masked", f"{nats}; p beside the union.", mask_table(evidence, masked)),
        "kept": PaperTable("Networks alone kept", f"{nats}; p of losing as little.", mask_table(evidence, left)),
        "masked curve": PaperTable(
            "Exact match as more is masked", "Means over tasks.", curve(evidence, masked), "curves"
        ),
        "kept curve": PaperTable("Exact match as more is kept", "Means over tasks.", curve(evidence, left), "curves"),
        "single": PaperTable(
            "Every network alone",
            "Masked, beside random networks of as many units in every layer.",
            single_table(evidence, evidence.alone),
        ),
        "added": PaperTable(
            "1 added to every network", "A negative loss is a gain.", single_table(evidence, evidence.louder)
        ),
        "connectivity": PaperTable(
            "Functional connectivity", "Pearson's r of the networks' mean courses over other prompts.", square, "matrix"
        ),
        "pruned": PaperTable(
            "Pruned to 80 %", "By networks of every layer, and by random neurons of the same layers.", evidence.pruned
        ),
    }
