"""What the masks, recurrences and prunings of the protocol of Liu et al. (2025) say: tables and claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tl_fbn.analysis.networks.connectivity import Connectivity
from tl_fbn.analysis.networks.recurrence import Recurrence
from tl_fbn.intervention.studies.item_statistics import empirical_p
from tl_fbn.papers.claims import Claim, judged, mean_interval
from tl_fbn.papers.conditions import Scored
from tl_fbn.papers.paper_study import PaperTable
from tl_fbn.papers.s0_masks import FEW, Variances
from tl_fbn.units import Atlas, Network

KINDS = ("layer-matched", "variance-matched", "uniform")
NEAR = 0.9  # share of the untouched model's exact match that counts as enough
_COLLAPSE = 0.5  # share of exact match that is lost where a model collapses


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


def _p_together(evidence: Evidence, scores: Scored) -> float:
    """p that random networks, one beside each network, cost as much as the networks do on average."""
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
        of = table[(table["mask"] == mask) & (table["networks"] != "corrected")]
        lines += [(series, share, exact) for share, exact in zip(of["share"], of["exact match"], strict=True)]
    return pd.DataFrame(lines, columns=["masks", "share of units", "exact match"])


def claims(evidence: Evidence) -> list[Claim]:
    """The claims of the paper, the later paper's, and ours.

    Args:
        evidence: What was measured.
    """
    masked, kept = mask_table(evidence, evidence.masked), mask_table(evidence, evidence.kept)
    return [
        _recur(evidence),
        _collapse(evidence, masked),
        _single(evidence),
        _enough(evidence, kept),
        _amplified(evidence),
        _pruned(evidence),
        _corrected(evidence, masked),
    ]


def _n(evidence: Evidence) -> str:
    about = evidence.about
    return f"{len(about['tasks'])} tasks x {about['items']} items, {about['controls']} random masks of a kind"


def _recur(evidence: Evidence) -> Claim:
    table = evidence.recurrence.to_dataframe()
    back = int((table["p"] <= 0.05).sum())
    rates = table["count"].to_numpy(dtype=float) / evidence.recurrence.n_samples
    low, high = mean_interval(rates)
    return Claim(
        "Networks recur in single samples",
        "0 to 2.08 maps a sample for GPT-2, 0 to .73 for Qwen2.5-3B, 0 to .08 for ChatGLM3 (IoU above .2)",
        "maps of a sample with IoU above .2, mean over networks",
        float(rates.mean()),
        judged(back > len(table) / 2, back > 0),
        f"{back} of {len(table)} networks come back in other prompts more often than shuffled ones (p <= .05 each, not "
        f"corrected; p of the claim is of all together); in {int(table['samples'].max())} of {evidence.recurrence.n_samples} prompts the commonest.",
        float(table["expected"].mean() / evidence.recurrence.n_samples),
        "networks shuffled within layers",
        low,
        high,
        float(empirical_p(evidence.recurrence.counts.sum(), evidence.recurrence.null.sum(1))),
        f"{len(table)} networks, {evidence.recurrence.n_samples} prompts",
    )


def _line(table: pd.DataFrame, union: str, mask: str) -> pd.Series | None:
    found = table[(table["networks"] == union) & (table["mask"] == mask)]
    return None if found.empty else found.iloc[0]


def _collapse(evidence: Evidence, table: pd.DataFrame) -> Claim:
    few = evidence.few
    union = _line(table, few, "union")
    assert union is not None
    before = evidence.masked.mean_score(None)
    fallen = before > 0 and union["exact match"] < (1 - _COLLAPSE) * before
    rival = _line(table, few, "variance-matched")
    rival = _line(table, few, "layer-matched") if rival is None else rival
    assert rival is not None
    five, rest, first = (_line(table, few, part) for part in ("five", "without five", "first tokens"))
    beyond = float(union["lost"]) > float(rival["largest"])
    trivial = bool(fallen and five is not None and five["lost"] >= 0.5 * union["lost"])
    said = [
        f"{int(union['units'])} of {evidence.variances.space.n_units:,} units ({union['share']:.1%}): exact match "
        f"{before:.2f} -> {union['exact match']:.2f}",
        f"{evidence.variances.first:.0%} of all variance lies in first tokens",
    ]
    parts = ((f"the {FEW} of largest variance alone", five), (f"the others without these {FEW}", rest))
    parts += (("those about first tokens alone", first),)
    said += [f"{words} ({int(one['units'])} units) cost {one['lost']:.1f} nats" for words, one in parts if one is not None]
    said.append(f"the costliest of {rival['mask']} masks {rival['largest']:.1f}")
    reason = ", but for a trivial reason: a few units of largest variance alone break the model" if trivial else ""
    return Claim(
        "Masking the networks, less than 2 % of all units, breaks the model",
        "8 GPT-2 tasks .05 to .37 lower; Qwen2.5-3B and ChatGLM3 near 0; one random mask of 15 % does little",
        "nats a token of the answer lost, mean over tasks",
        float(union["lost"]),
        judged(bool(fallen and beyond and not trivial), bool(fallen or beyond)),
        f"{'; '.join(said)}. {'It collapses' if fallen else 'It does not collapse'}{reason}.",
        float(rival["lost"]),
        f"{rival['mask']} random masks, median",
        float(union["low"]),
        float(union["high"]),
        float(rival["p"]),
        _n(evidence),
    )


def _single(evidence: Evidence) -> Claim:
    table = single_table(evidence, evidence.alone)
    matter = int((table["lost"] > table["random max"]).sum())
    low, high = mean_interval(table["lost"].to_numpy(dtype=float))
    return Claim(
        "Some single networks matter by themselves",
        "5 of 10 in GPT-2 on AGNews (accuracy .86 to .57 at worst)",
        "nats a token lost, mean over networks and tasks",
        float(table["lost"].mean()),
        judged(matter >= len(table) / 2, matter > 0),
        f"{matter} of {len(table)} networks cost more than all of their layer-matched random ones; the costliest "
        f"{table['lost'].max():.2f} nats, the cheapest {table['lost'].min():.2f}.",
        float(table["random median"].mean()),
        "random networks of as many units in every layer, median",
        low,
        high,
        _p_together(evidence, evidence.alone),
        _n(evidence),
    )


def _enough(evidence: Evidence, table: pd.DataFrame) -> Claim:
    before = evidence.kept.mean_score(None)
    unions = table[table["mask"] == "union"]
    near = unions[unions["exact match"] >= NEAR * before]
    ten = unions.iloc[(unions["share"] - 0.1).abs().argmin()]
    rival = _line(table, str(ten["networks"]), "layer-matched")
    assert rival is not None
    said = ", ".join(
        f"{line['networks']} ({line['share']:.1%}) {line['exact match']:.2f}" for line in unions.to_dict("records")
    )
    least = f"{near['share'].min():.0%}" if len(near) else "none of these"
    return Claim(
        "Keeping about 10 % of the units is enough",
        "smallest kept share within a point of normal: GPT-2 8 to 34 %, Qwen 10 to 17 %, ChatGLM3 10 to 19 %",
        f"exact match with {ten['share']:.0%} kept, mean over tasks",
        float(ten["exact match"]),
        judged(bool(ten["exact match"] >= NEAR * before and before > 0), bool((near["share"] <= 0.2).any())),
        f"Untouched {before:.2f}; kept: {said}. {least} reach {NEAR:.0%} of it; log-likelihood lost {ten['lost']:.1f} "
        f"nats a token (random masks of as many units in every layer {rival['lost']:.1f}).",
        float(rival["exact match"]),
        "random masks of as many units in every layer, median",
        p=float(rival["p"]),
        n=_n(evidence),
    )


def _amplified(evidence: Evidence) -> Claim:
    table = single_table(evidence, evidence.louder)
    gained = -table["lost"].to_numpy(dtype=float)
    better = table["lost"] < np.minimum(table["random min"], 0)
    low, high = mean_interval(gained)
    return Claim(
        "Amplifying networks improves performance",
        '"can enhance" (later version, abstract); factor not known, the released code adds 1',
        "nats a token gained with 1 added, mean over networks and tasks",
        float(gained.mean()),
        judged(bool(better.all()), bool(better.any())),
        f"{int(better.sum())} of {len(table)} networks gain, and more than all of their random ones; the best "
        f"{gained.max():.2f}, the worst {gained.min():.2f}. Nothing was calibrated.",
        float(-table["random median"].mean()),
        "1 added to random networks of as many units in every layer",
        low,
        high,
        n=_n(evidence),
    )


def _pruned(evidence: Evidence) -> Claim:
    table = evidence.pruned.set_index("model")
    random = table[table.index.str.startswith("random") & ~table.index.str.endswith("compensated")]
    fair = table[table.index.str.startswith("random") & table.index.str.endswith("compensated")]
    intact, plain, mended = (table.loc[one] for one in ("intact", "networks kept", "and compensated"))
    helps = bool(mended["perplexity"] < plain["perplexity"])
    better = bool(mended["perplexity"] < fair["perplexity"].min())
    near = bool(mended["perplexity"] < 2 * intact["perplexity"])
    return Claim(
        "A fifth of the parameters can be pruned by networks, and bias compensation helps",
        "Vicuna-7B: word perplexity 16.72 at 19.8 %, 15.85 compensated (arXiv 2508.05239)",
        "perplexity of held-out prompts, pruned and compensated",
        float(mended["perplexity"]),
        judged(helps and better and near, helps or better),
        f"Parameters {mended['parameters']:.0%}; perplexity intact {intact['perplexity']:.1f}, pruned "
        f"{plain['perplexity']:.1f}, compensated {mended['perplexity']:.1f}; random neurons of the same layers "
        f"{random['perplexity'].median():.1f} and {fair['perplexity'].median():.1f}. Exact match "
        f"{intact['exact match']:.2f}, {plain['exact match']:.2f}, {mended['exact match']:.2f}. Holds: compensation "
        "helps, all random models are worse, and perplexity stays below twice the intact model's.",
        float(fair["perplexity"].median()),
        f"{len(fair)} models with random neurons kept, compensated, median",
        p=float(empirical_p(-float(mended["perplexity"]), -fair["perplexity"].to_numpy(dtype=float))),
        n=f"{len(evidence.about['tasks'])} tasks x 10 prompts",
    )


def _corrected(evidence: Evidence, table: pd.DataFrame) -> Claim:
    union = _line(table, "corrected", "union")
    if union is None:
        return Claim(
            "Corrected networks matter (ours)",
            "not in the paper",
            "nats a token lost",
            float("nan"),
            "not tested",
            "No unit is in a stable network.",
        )
    rival = _line(table, "corrected", "variance-matched")
    rival = _line(table, "corrected", "layer-matched") if rival is None else rival
    five = _line(table, "corrected", "without five")
    assert rival is not None
    beyond = bool(union["lost"] > rival["largest"])
    rest = f"; without its {FEW} units of largest variance {five['lost']:.2f}" if five is not None else ""
    return Claim(
        "Robust, two-sided, stable networks matter beyond their variance (ours)",
        "not in the paper",
        "nats a token of the answer lost, mean over tasks",
        float(union["lost"]),
        judged(beyond),
        f"{len(evidence.corrected)} stable networks, {int(union['units'])} units ({union['share']:.1%}){rest}; the "
        f"costliest of {rival['mask']} masks costs {rival['largest']:.2f}.",
        float(rival["lost"]),
        f"{rival['mask']} random masks, median",
        float(union["low"]),
        float(union["high"]),
        float(rival["p"]),
        _n(evidence),
    )


def tables(evidence: Evidence) -> dict[str, PaperTable]:
    """The tables behind the claims.

    Args:
        evidence: What was measured.
    """
    nats = "Nats a token of the answer lost (mean over tasks, 95 % interval over tasks; of random masks median, 5th and 95th percentile and largest)"
    square = pd.DataFrame(evidence.connectivity.matrix, columns=list(evidence.connectivity.names))
    square.insert(0, "network", list(evidence.connectivity.names))
    found: Sequence[tuple[str, PaperTable]] = [
        ("masked", PaperTable("Networks masked", f"{nats}; p beside the union.", mask_table(evidence, evidence.masked))),
        ("kept", PaperTable("Networks alone kept", f"{nats}; p that random masks lose as little.", mask_table(evidence, evidence.kept))),
        ("masked curve", PaperTable("Exact match as more is masked", "Means over tasks.", curve(evidence, evidence.masked), "curves")),
        ("kept curve", PaperTable("Exact match as more is kept", "Means over tasks.", curve(evidence, evidence.kept), "curves")),
        ("single", PaperTable("Every network alone", "Masked, beside random networks of as many units in every layer.", single_table(evidence, evidence.alone))),
        ("added", PaperTable("1 added to every network", "A negative loss is a gain.", single_table(evidence, evidence.louder))),
        ("connectivity", PaperTable("Functional connectivity", "Pearson's r of the networks' mean courses over other prompts.", square, "matrix")),
        ("pruned", PaperTable("Pruned to 80 %", "By networks of every layer, and by random neurons of the same layers.", evidence.pruned)),
    ]
    return dict(found)
