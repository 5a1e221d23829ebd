"""What the masks, recurrences and prunings of the protocol of Liu et al. (2025) say, claim by claim."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tl_fbn.intervention.studies.item_statistics import empirical_p
from tl_fbn.papers.claims import Claim, judged, mean_interval
from tl_fbn.papers.s0_masks import FEW
from tl_fbn.papers.s0_tables import Evidence, mask_table, p_together, single_table
from tl_fbn.papers.table_reading import column, one_line, records, where

NEAR = 0.9  # share of the untouched model's exact match that counts as enough
_NOTHING = 0.05  # nats a token, 5 % of a token's probability: less is told as no gain
_COLLAPSE = 0.5  # share of exact match that is lost where a model collapses


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
    back = int((column(table, "p") <= 0.05).sum())
    rates = column(table, "count") / evidence.recurrence.n_samples
    low, high = mean_interval(rates)
    return Claim(
        "Networks recur in single samples",
        "0 to 2.08 maps a sample for GPT-2, 0 to .73 for Qwen2.5-3B, 0 to .08 for ChatGLM3 (IoU above .2)",
        "maps of a sample with IoU above .2, mean over networks",
        float(rates.mean()),
        judged(back > len(table) / 2, back > 0),
        f"{back} of {len(table)} networks come back in other prompts more often than shuffled ones (p <= .05 each, not "
        f"corrected; p of the claim is of all together); the commonest in {int(evidence.recurrence.samples.max())} of "
        f"{evidence.recurrence.n_samples} prompts.",
        float(column(table, "expected").mean() / evidence.recurrence.n_samples),
        "networks shuffled within layers",
        low,
        high,
        float(empirical_p(evidence.recurrence.counts.sum(), evidence.recurrence.null.sum(1))),
        f"{len(table)} networks, {evidence.recurrence.n_samples} prompts",
    )


def _line(table: pd.DataFrame, union: str, mask: str) -> dict[str, Any] | None:
    return one_line(table, networks=union, mask=mask)


def _fairest(table: pd.DataFrame, union: str) -> dict[str, Any]:
    """The line of variance-matched masks, or of layer-matched ones where a layer had too few units for these."""
    found = _line(table, union, "variance-matched") or _line(table, union, "layer-matched")
    assert found is not None
    return found


def _collapse(evidence: Evidence, table: pd.DataFrame) -> Claim:
    few = evidence.few
    union = _line(table, few, "union")
    assert union is not None
    before = evidence.masked.mean_score(None)
    fallen = before > 0 and union["exact match"] < (1 - _COLLAPSE) * before
    rival = _fairest(table, few)
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
    said += [
        f"{words} ({int(one['units'])} units) cost {one['lost']:.1f} nats" for words, one in parts if one is not None
    ]
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
    lost = column(table, "lost")
    matter = int((lost > column(table, "random max")).sum())
    low, high = mean_interval(lost)
    return Claim(
        "Some single networks matter by themselves",
        "5 of 10 in GPT-2 on AGNews (accuracy .86 to .57 at worst)",
        "nats a token lost, mean over networks and tasks",
        float(lost.mean()),
        judged(matter >= len(table) / 2, matter > 0),
        f"{matter} of {len(table)} networks cost more than all of their layer-matched random ones; the costliest "
        f"{lost.max():.2f} nats, the cheapest {lost.min():.2f}.",
        float(column(table, "random median").mean()),
        "random networks of as many units in every layer, median",
        low,
        high,
        p_together(evidence, evidence.alone),
        _n(evidence),
    )


def _enough(evidence: Evidence, table: pd.DataFrame) -> Claim:
    before = evidence.kept.mean_score(None)
    unions = records(where(table, mask="union"))
    near = [line["share"] for line in unions if line["exact match"] >= NEAR * before]
    ten = min(unions, key=lambda line: abs(line["share"] - 0.1))
    rival = _line(table, ten["networks"], "layer-matched")
    assert rival is not None
    said = ", ".join(f"{line['networks']} ({line['share']:.1%}) {line['exact match']:.2f}" for line in unions)
    least = f"{min(near):.0%} of the units or more" if near else "none of these"
    return Claim(
        "Keeping about 10 % of the units is enough",
        "smallest kept share within a point of normal: GPT-2 8 to 34 %, Qwen 10 to 17 %, ChatGLM3 10 to 19 %",
        f"exact match with {ten['share']:.0%} kept, mean over tasks",
        float(ten["exact match"]),
        judged(bool(ten["exact match"] >= NEAR * before and before > 0), any(share <= 0.2 for share in near)),
        f"Untouched {before:.2f}; kept: {said}. {least} reach {NEAR:.0%} of it; log-likelihood lost {ten['lost']:.1f} "
        f"nats a token (random masks of as many units in every layer {rival['lost']:.1f}).",
        float(rival["exact match"]),
        "random masks of as many units in every layer, median",
        p=float(rival["p"]),
        n=_n(evidence),
    )


def _amplified(evidence: Evidence) -> Claim:
    table = single_table(evidence, evidence.louder)
    lost = column(table, "lost")
    gained = -lost
    better = lost < np.minimum(column(table, "random min"), -_NOTHING)
    low, high = mean_interval(gained)
    return Claim(
        "Amplifying networks improves performance",
        '"can enhance" (later version, abstract); factor not known, the released code adds 1',
        "nats a token gained with 1 added, mean over networks and tasks",
        float(gained.mean()),
        judged(bool(better.all()), bool(better.any())),
        f"{int(better.sum())} of {len(table)} networks gain {_NOTHING:g} nats or more, and more than all of their "
        f"random ones; the best {gained.max():.2f}, the worst {gained.min():.2f}. Nothing was calibrated.",
        -float(column(table, "random median").mean()),
        "1 added to random networks of as many units in every layer",
        low,
        high,
        n=_n(evidence),
    )


def _pruned(evidence: Evidence) -> Claim:
    lines = {line["model"]: line for line in records(evidence.pruned)}
    intact, plain, mended = (lines[one] for one in ("intact", "networks kept", "and compensated"))
    drawn = {name: line["perplexity"] for name, line in lines.items() if name.startswith("random")}
    fair = np.array([value for name, value in drawn.items() if name.endswith("compensated")])
    random = np.array([value for name, value in drawn.items() if not name.endswith("compensated")])
    helps, better = mended["perplexity"] < plain["perplexity"], mended["perplexity"] < fair.min()
    near = mended["perplexity"] < 2 * intact["perplexity"]
    return Claim(
        "A fifth of the parameters can be pruned by networks, and bias compensation helps",
        "Vicuna-7B: word perplexity 16.72 at 19.8 %, 15.85 compensated (arXiv 2508.05239)",
        "perplexity of held-out prompts, pruned and compensated",
        float(mended["perplexity"]),
        judged(helps and better and near, helps or better),
        f"Parameters {mended['parameters']:.0%}; perplexity intact {intact['perplexity']:.1f}, pruned "
        f"{plain['perplexity']:.1f}, compensated {mended['perplexity']:.1f}; random neurons of the same layers "
        f"{np.median(random):.1f} and {np.median(fair):.1f}. Exact match "
        f"{intact['exact match']:.2f}, {plain['exact match']:.2f}, {mended['exact match']:.2f}. Holds: compensation "
        "helps, all random models are worse, and perplexity stays below twice the intact model's.",
        float(np.median(fair)),
        f"{len(fair)} models with random neurons kept, compensated, median",
        p=float(empirical_p(-mended["perplexity"], -fair)),
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
    rival = _fairest(table, "corrected")
    five = _line(table, "corrected", "without five")
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
