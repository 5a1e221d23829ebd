"""The methods of a page: a text ready to paste into a paper, and every setting with where it comes from.

Both are made from what the results carry (:mod:`.accounts`), in the order of the argument: what was recorded, the linear model, networks, comparisons,
scores, lesions, pruning. Nothing is inferred: what a result does not say is "not recorded", and a result that says nothing is left out.

A setting is ``measured`` where the data decided it, else *our choice*, unless a preset among the results (``fbn.presets``) has the same option at the
same value: then its line says whether the paper states it. Every line of a preset is listed too, and each that the paper leaves open is labelled.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tl_fbn.reporting.page import methods_text as accounts
from tl_fbn.reporting.page import methods_text_behaviour as accounts_behaviour
from tl_fbn.reporting.page.provenance import is_preset, origin, parts, title_of
from tl_fbn.reporting.page.section import Section
from tl_fbn.units import Network

TITLE, SETTINGS = "Methods", "Settings and where they come from"
OURS, MEASURED = "our choice", "measured"
# in the order of the argument; a paragraph each
ACCOUNTS: tuple[dict[str, Callable[[Any], list[str]]], ...] = (
    {"Preset": accounts_behaviour.preset},
    {"BlockDesign": accounts.designed, "Recording": accounts.recorded},
    {
        "GLMFit": accounts.fitted,
        "Contrast": accounts.contrasted,
        "FContrast": accounts.contrasted,
        "PermutationTest": accounts.permuted,
    },
    {"ComponentChoice": accounts_behaviour.chosen, "Atlas": accounts.decomposed},
    {"UnitMap": accounts.mapped, "ItemScores": accounts_behaviour.scored, "Validation": accounts_behaviour.validated},
    {"Network": lambda one: accounts.networks([one])},
    {
        "Recurrence": accounts_behaviour.recurred,
        "SampleMaps": accounts_behaviour.regressed,
        "Connectivity": accounts_behaviour.connected,
        "Overlap": accounts_behaviour.overlapped,
        "Identification": accounts_behaviour.identified,
        "Fingerprint": accounts_behaviour.fingerprinted,
    },
    {
        "Responses": accounts_behaviour.responded,
        "LesionStudy": accounts_behaviour.lesioned,
        "DoseResponse": accounts_behaviour.dosed,
        "GainCalibration": accounts_behaviour.calibrated,
    },
    {"PruneReport": accounts_behaviour.pruned},
)
_FIELDS = (
    "expression",
    "expressions",
    "level",
    "noise_model",
    "dof",
    "runs",
    "null",
    "smallest_p",
    "kind",
    "metric",
    "method",
    "threshold",
    "n_samples",
    "skipped",
    "n_shuffles",
    "compensation",
    "difference",
    "doses",
    "amounts",
    "chosen",
    "order",
    "tokens_per_block",
    "n_runs",
    "n_blocks",
    "generate",
    "reuse",
    "tokens_per_prompt",
    "carry_context",
    "temperature",
    "seed",
)
_MEASURED = {
    *(
        "dof",
        "runs",
        "smallest_p",
        "n_samples",
        "skipped",
        "difference",
        "chosen",
        "converged",
        "n_items",
        "skipped_as_too_long",
    ),
    *(
        "scored_positions",
        "discovery",
        "tau",
        "removed_share",
        "baseline",
        "explained",
        "iq_of_noise_95",
        "flag",
        "variant_reason",
    ),
}
_ELSEWHERE = {
    "prompts",
    "recording",
    "weights",
    "key",
    "atlas",
    "first",
    "second",
    "network",
    "of",
    "parts",
    "versions",
    "fields",
}
_TABLES = {"balance", "flags", "chance", "majority", "explained", "baseline"}  # shown in the tables of results


def sections(results: Sequence[Any]) -> list[Section]:
    """The methods of a page, as text and as settings; none where no result says anything of its making."""
    text, table = paragraphs(results), settings(results)
    found = [Section(TITLE, "\n\n".join(text))] if text else []
    if len(table):
        about = (
            "Every setting that the results carry. What no paper states is our choice, and is labelled so; a preset given to the report (fbn.presets) marks what its "
            "paper states and what it leaves open. Measured: the data decided it."
        )
        found.append(Section(SETTINGS, about, table=table))
    return found


def paragraphs(results: Sequence[Any]) -> list[str]:
    """The text, one paragraph a step of the argument, no sentence twice."""
    found = [one for one in parts(results) if _ours(one)]
    alone = [one for one in found if isinstance(one, Network)]
    text, said = [], set()
    for step in ACCOUNTS:
        sentences: list[str] = []
        if "Network" in step:
            sentences += accounts.networks(alone) if alone else []
        else:
            for one in found:
                if (tell := step.get(type(one).__name__)) is not None:
                    sentences += tell(one)
        new = [sentence for sentence in dict.fromkeys(sentences) if sentence not in said]
        said |= set(new)
        if new:
            text.append(" ".join(new))
    whole = "\0".join(text)
    first, formula, rest = whole.partition(accounts.P)  # once is enough
    return str(first + formula + rest.replace(accounts.P, "p likewise")).split("\0") if text else []


def settings(results: Sequence[Any]) -> pd.DataFrame:
    """Every setting: of (what), setting, value, source. Results with the same settings throughout share their lines."""
    found = [one for one in parts(results) if _ours(one)]
    presets = [one for one in found if is_preset(one)]
    lines = []
    for one in presets:
        lines += [(one.name, what, value, f"stated by {one.source}") for what, value in one.stated.items()]
        lines += [(one.name, what, value, f"{OURS}: not stated by {one.source}") for what, value in one.unknown.items()]
    alike: dict[tuple[tuple[str, str, str], ...], list[str]] = {}
    for one in found:
        if not is_preset(one):
            said = tuple((name, _short(value), _from(name, value, presets)) for name, value in _settings_of(one))
            alike.setdefault(said, []).append(title_of(one))
    for said, titles in alike.items():
        lines += [(accounts.listed(list(dict.fromkeys(titles)), 6), *line) for line in said]
    return pd.DataFrame(lines, columns=["of", "setting", "value", "source"]).drop_duplicates(ignore_index=True)


def _settings_of(result: Any) -> Iterator[tuple[str, Any]]:
    """What a result carries: its provenance, flat, then its own fields."""
    about, seen = origin(result), set()
    if hasattr(result, "runs_of"):  # a recording
        about = {**about, **(result.about.get("design") or {})}
        fields = result.about.get("fields") or {}
        about |= {
            name: fields[name] for name in ("site", "dtype", "pool", "generation", "interventions") if name in fields
        }
    own = {name: getattr(result, name) for name in _FIELDS if hasattr(result, name) and not hasattr(result, "runs_of")}
    for name, value in _flat({**about, **own}):
        bare = name.rpartition(": ")[2]
        if name == "runs" and not all(isinstance(run, int) for run in value):
            continue  # fits, not numbers of runs
        if name not in seen and not _ELSEWHERE & set(name.split(": ")) and bare not in _TABLES:
            seen.add(name)
            yield name, value


def _flat(about: Mapping[Any, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in about.items():
        if callable(value) or name in _ELSEWHERE | _TABLES:
            continue
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{before}{name}: ")
        else:
            yield f"{before}{name}", value


def _from(name: str, value: Any, presets: Sequence[Any]) -> str:
    """Where a setting comes from."""
    bare = name.rpartition(": ")[2]
    if bare in _MEASURED or "discovery" in name:
        return MEASURED
    for one in presets:
        for options in (one.design, one.glm, one.networks, one.chats, one.cgvst, one.inhibit, one.amplify, one.ratio):
            if bare in options and _same(options[bare], value):
                if any(bare in key for key in one.unknown):
                    return f"{OURS}: as in {one.name}, not stated by {one.source}"
                return f"as in {one.name}: see its lines"
    return OURS


def _same(option: Any, value: Any) -> bool:
    return str(list(option) if isinstance(option, tuple) else option) == str(
        list(value) if isinstance(value, tuple) else value
    )


def _short(value: Any) -> str:
    """A setting in a cell."""
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return f"{len(value)} entries" if len(value) > 12 else ", ".join(map(_short, value)) or "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    if value is None or (isinstance(value, Mapping) and not value):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    return text[:16] if re.fullmatch("[0-9a-f]{40,}", text) else text


def _ours(result: Any) -> bool:
    return type(result).__module__.split(".")[0] == "tl_fbn"
