"""What each kind of result says of its own making, in sentences for a paper.

One function a noun, known by the name of its type: result in, sentences out. They read what the result carries and nothing else; what it does not
carry is called "not recorded". Settings are not repeated here to the last digit: :mod:`.methods` lists every one of them beside the sentences.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tl_fbn.reporting.page import citations as attributions
from tl_fbn.reporting.page.provenance import NOT_RECORDED
from tl_fbn.units import Atlas, Network, UnitMap

NOISE = {
    "ar1": "first-order autoregressive noise, with one coefficient a unit",
    "ar1_pooled": "first-order autoregressive noise, with one coefficient a layer",
    "newey_west": "ordinary least squares with Newey-West covariance",
    "ols": "ordinary least squares (independent noise)",
}
LEVELS = {
    "block": "one estimate a {replicate} after confounds, tested over {replicates}, so that it speaks about such prompts",
    "token": "tested over rows, so that it speaks about these prompts only",
    "run": "tested over runs",
}
NULLS = {
    "labels": "labels of {replicates} exchanged within runs",
    "shift": "the sequence of labels of each run rotated",
    "signs": "signs of the effects of {over} changed",
}
CORRECTIONS = {
    "bh": "Benjamini-Hochberg",
    "by": "Benjamini-Yekutieli",
    "layers": "layers first, then units",
    "holm": "Holm",
    "bonferroni": "Bonferroni",
}
METHODS = {
    "zero": "set to zero",
    "mean": "set to their mean",
    "position_mean": "set to their mean at that position",
    "resample": "replaced by what they were in another text",
    "noise": "replaced by noise",
}
METRICS = {
    "exact_match": "exact match (answers teacher-forced; of choices and pairs, whether the right one is the likeliest)",
    "log_likelihood": "log-likelihood in nats a token (of the answers; of choices and pairs, of the right one)",
}
NUISANCE = (  # names that design_matrix gives to what is not asked about
    r"constant|(log_)?position|prompt_onset|surprisal|entropy|is_(space|punctuation|digit|newline|special)|spike_\d+|drift_\d+"
)
P = "p = (1 + number of controls at least as extreme) / (1 + number of controls)"


def listed(names: Sequence[object], most: int = 12) -> str:
    """Names in a sentence."""
    shown = [str(name) for name in names[:most]]
    if len(names) > most:
        shown.append(f"{len(names) - most} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}" if shown else "none"


def where(space: Any) -> str:
    """A space in words."""
    if space is None:
        return f"a space that is {NOT_RECORDED}"
    return (
        f"{space.model} at {space.site} ({space.n_units:,} units in {sum(width > 0 for width in space.widths)} layers)"
    )


def recorded(result: Any) -> list[str]:
    about, fields = result.about.get("design") or {}, result.about.get("fields") or {}
    blocks = sum(len(run.events) for run in result.runs_of[0])
    size, order = about.get("tokens_per_block"), about.get("order", NOT_RECORDED)
    unit = "token" if fields.get("pool") is None else f"prompt ({fields['pool']} of its tokens)"
    kind = "generated " if fields.get("generation") else ""
    return [
        f"Activations of {' and '.join(map(where, result.spaces))} were recorded at every {kind}{unit}: {result.n_rows:,} rows in {len(result)} runs, "
        f"{blocks} blocks of {size or 'a number of'} tokens{'' if size else f' that is {NOT_RECORDED}'} of the conditions {listed(result.conditions)} "
        f"(order: {order}; design seed: {about.get('seed', NOT_RECORDED)})."
    ]


def designed(result: Any) -> list[str]:
    how = "generated after the prompts" if result.generate else "read"
    return [
        f"Prompts of {listed(list(result.conditions))} were presented in {result.n_runs} runs of {result.n_blocks // result.n_runs} blocks each, "
        f"{result.tokens_per_block} tokens a block, {how}, in {result.order} order (seed {result.seed})."
    ]


def fitted(result: Any) -> list[str]:
    nuisance = [name for name in result.columns if re.fullmatch(NUISANCE, name)]
    asked = [name for name in result.columns if name not in nuisance]
    drift = [name for name in nuisance if name.startswith("drift_")]
    others = [name for name in nuisance if name not in drift] + (
        [f"{len(drift)} slow drift term{'s' if len(drift) > 1 else ''}"] if drift else []
    )
    rows = sum(run.n_rows for run in result.runs)
    return [
        f"A general linear model with the regressors {listed(asked)} and the confounds {listed(others)} was fitted to every unit of "
        f"{where(result.space)}, run by run ({len(result.runs)} runs, {rows:,} rows), with {NOISE.get(result.noise_model, result.noise_model)}."
    ]


def contrasted(result: Any) -> list[str]:
    expressions = getattr(result, "expressions", None) or (result.expression,)
    test = "F" if hasattr(result, "expressions") else "t"
    left_out = (
        f"; left out: {', '.join(f'run {run} ({why})' for run, why in result.skipped.items())}"
        if result.skipped
        else ""
    )
    noise = result.provenance.get("noise")
    dof = listed([f"{value:g}" for value in np.atleast_1d(result.dof)])
    return [
        f"The contrast {listed(expressions)} was tested ({test}, {dof} degrees of freedom, runs {listed(result.runs)}{left_out}) at the "
        f"{result.level} level: {_level(result.level, result.provenance)}; noise: {NOISE.get(str(noise), noise or NOT_RECORDED)}. "
        "p of single units is uncorrected."
    ]


def permuted(result: Any) -> list[str]:
    about = result.provenance
    how = NULLS[result.null].format(replicates=about.get("replicates", "blocks"), over=about.get("over", "runs"))
    return [
        f"The contrast {result.expression} was tested against the largest statistic over all units under {len(result.largest):,} relabellings "
        f"({how}; seed {about.get('seed', NOT_RECORDED)}), which controls the family-wise error; the smallest p these allow is {result.smallest_p:.2g}."
    ]


def decomposed(result: Atlas) -> list[str]:
    about = result.provenance
    if not str(about.get("method", "")).startswith("ica"):
        return networks(list(result.values()))
    kind = str(about["method"]).removeprefix("ica, ")
    cutting, prepared = about.get("threshold") or {}, about.get("preparation") or {}
    rule, sided = cutting.get("threshold"), "" if cutting.get("one_sided") else "|"
    members = f"by the rule {rule}" if isinstance(rule, str) else f"of {sided}z{sided} at least {rule}"
    steps = [f"{name} {value}" for name, value in prepared.items() if value not in (None, False, 0)]
    said = [
        f"{about.get('n_components')} networks were sought in {where(result.space)} by {kind} independent component analysis "
        f"({'all layers together' if about.get('across_layers') else 'each layer by itself'}; contrast function {about.get('fun')}; "
        f"{about.get('n_restarts')} restarts; seed {about.get('seed')}; {', '.join(steps) or 'activations as they were'}). "
        f"Members are units {members}."
    ]
    if result.stability is not None:
        said.append(
            "Stability is Iq over resampled restarts"
            + ("" if result.stability_p is None else ", with p from matched noise")
            + "."
        )
    if about.get("converged") is False:
        said.append("The final rotation did not converge.")
    return said


def networks(found: Sequence[Network]) -> list[str]:
    """How networks were chosen; those chosen alike share a sentence."""
    groups: dict[str, list[Network]] = {}
    for one in found:
        groups.setdefault(_chosen(one), []).append(one)
    said = []
    for how, alike in groups.items():
        many = len(alike) > 1
        sizes = sorted({len(one) for one in alike})
        units = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
        names = listed([one.name for one in alike])
        said.append(
            f"Network{'s' if many else ''} {names} ({units} units{' each' if many and len(sizes) == 1 else ''}): {how}."
        )
    return said


def _chosen(network: Network) -> str:
    about = network.provenance
    if not about:
        return f"how they were chosen is {NOT_RECORDED}"
    source = _source(about)
    if isinstance(taken := about.get("selection"), Mapping):
        amount = taken["top"]
        how_many = (
            f"{100 * amount:.3g} % of the units" if isinstance(amount, float) and amount < 1 else f"{amount} units"
        )
        return f"the {how_many}{' of every layer' if taken.get('per_layer') else ''} with the largest {'|' if taken.get('two_sided') else ''}{taken.get('kind')}{'|' if taken.get('two_sided') else ''} of {source}"
    rule = about.get("threshold")
    return (
        f"units of {source} with {_threshold(rule)}"
        if isinstance(rule, Mapping)
        else f"{source}; threshold {NOT_RECORDED}"
    )


def _source(about: Mapping[str, Any]) -> str:
    method, contrast = about.get("method"), about.get("contrast")
    if method in ("glm", "max_t"):
        asked = contrast if isinstance(contrast, str) else listed(contrast or [NOT_RECORDED])
        level = f" at the {about['level']} level" if "level" in about else ""
        return f"the contrast {asked}{level}" + (" (maximum statistic)" if method == "max_t" else "")
    if method == "cgvst":
        return f"CGVST ({about.get('variant')}, {about.get('tokens')} tokens)"
    if method == "conjunction":
        return f"the conjunction (smallest value) of {_conjoined(about.get('of') or ())}"
    named = str(method or NOT_RECORDED).replace("_", " ")
    return f"{named} of {contrast}" if contrast else named


def _conjoined(parts: Sequence[Mapping[str, Any]]) -> str:
    """The contrasts of a conjunction; those of one column against others share it."""
    asked = [str(part.get("contrast", NOT_RECORDED)).replace("`", "") for part in parts]
    sides = [one.split(" - ") for one in asked]
    if len(sides) > 1 and all(len(pair) == 2 for pair in sides) and len({first for first, _ in sides}) == 1:
        return f"{sides[0][0]} against each of {listed([second for _, second in sides])}"
    return f"the contrasts {listed(asked)}" if asked else f"contrasts {NOT_RECORDED}"


def _threshold(rule: Mapping[str, Any]) -> str:
    method = rule.get("method")
    if "fdr" in rule:
        what = f"a false discovery rate of {rule['fdr']:g} ({CORRECTIONS[method or 'bh']})"
    elif "fwe" in rule:
        what = f"a family-wise error of {rule['fwe']:g}" + (f" ({CORRECTIONS[method]})" if method else "")
    elif "top" in rule:
        what = f"the largest t (top {rule['top']:g}, no test)"
    elif "threshold" in rule:
        what = f"z at least {rule['threshold']}"
    else:
        what = f"a threshold that is {NOT_RECORDED}"
    sides = "" if "two_sided" not in rule else ", two-sided" if rule["two_sided"] else ", one-sided"
    least = f", and an effect of at least {rule['min_effect']:g}" if rule.get("min_effect") else ""
    return what + sides + least


def _level(level: str, about: Mapping[str, Any]) -> str:
    many = str(about.get("replicates", "blocks"))
    return LEVELS[level].format(replicate=many.removesuffix("s"), replicates=many)


def mapped(result: UnitMap) -> list[str]:
    about = result.provenance
    if words := attributions.describe(result):
        kept = [
            f"{name.replace('_', ' ')} {about[name]}"
            for name in ("site", "groups", "weight_of_demonstrations", "n_steps")
            if name in about
        ]
        return [f"{words.partition(' The score compares')[0].rstrip('.')} ({', '.join(kept)})."]
    return [f"The map of {result.kind} over {where(result.space)} is {_source(about)}."]
