"""The methods of a page: a text ready to paste into a paper, and every setting with where it comes from.

Results say themselves how they were made (``_methods_``) and what they were made with (``_settings_`` and their provenance); here that is put in the order
of the argument: what was recorded, the linear model, networks, comparisons, scores, lesions, pruning. Nothing is inferred: what a result does not say is "not
recorded", and a result that says nothing is left out.

A setting is ``measured`` where the data decided it, else *our choice*, unless a preset among the results (``fbn.presets``) has the same option at the
same value: then its line says whether the paper states it. Every line of a preset is listed too, and each that the paper leaves open is labelled.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tl_fbn.reporting.page.provenance import is_preset, origin, parts, title_of
from tl_fbn.reporting.page.section import Section
from tl_fbn.units.prose import P_FORMULA, listed
from tl_fbn.units.result import Result, Step

TITLE = "Methods"
SETTINGS = "Settings and where they come from"
OURS = "our choice"
MEASURED = "measured"
# the steps of an argument that share a paragraph, in order
PARAGRAPHS: tuple[tuple[Step, ...], ...] = (
    ("settings",),
    ("design", "recording"),
    ("fit", "contrast"),
    ("model order", "decomposition"),
    ("scores",),
    ("networks",),
    ("comparison",),
    ("answers", "lesions", "amplification"),
    ("pruning",),
)
_MEASURED_ORIGINS = {  # entries of provenance that the data decided, whichever result carries them
    *(
        "n_items",
        "skipped_as_too_long",
        "scored_positions",
        "discovery",
        "tau",
        "removed_share",
        "flag",
        "variant_reason",
    ),
}
_TOLD_ELSEWHERE = {  # entries of provenance that have a place of their own on the page
    *(
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
    ),
    *("balance", "flags", "chance", "majority", "baseline", "description"),
}


def sections(results: Sequence[Any]) -> list[Section]:
    """The methods of a page, as text and as settings; none where no result says anything of its making."""
    text = paragraphs(results)
    table = settings(results)
    found = [Section(TITLE, "\n\n".join(text))] if text else []
    if len(table):
        about = (
            "Every setting that the results carry. What no paper states is our choice, and is labelled so; a preset given to the report (fbn.presets) marks what its "
            "paper states and what it leaves open. Measured: the data decided it."
        )
        found.append(Section(SETTINGS, about, table=table))
    return found


def paragraphs(results: Sequence[Any]) -> list[str]:
    """The text, one paragraph for steps that belong together, no sentence twice."""
    found = [one for one in parts(results) if isinstance(one, Result)]
    text: list[str] = []
    said: set[str] = set()
    for together in PARAGRAPHS:
        here = [one for one in found if one._step_ in together]
        sentences = [
            sentence for kind in _kinds(here) for sentence in kind._methods_of_([r for r in here if type(r) is kind])
        ]
        new = [sentence for sentence in dict.fromkeys(sentences) if sentence not in said]
        said |= set(new)
        if new:
            text.append(" ".join(new))
    return _formula_once(text)


def _kinds(results: Sequence[Result]) -> list[type[Result]]:
    """The classes of some results, in the order in which they first come."""
    return list(dict.fromkeys(type(one) for one in results))


def _formula_once(paragraphs: Sequence[str]) -> list[str]:
    """The formula of p in full where it comes first, and "p likewise" afterwards."""
    if not paragraphs:
        return []
    first, formula, rest = "\0".join(paragraphs).partition(P_FORMULA)
    return (first + formula + rest.replace(P_FORMULA, "p likewise")).split("\0")


def settings(results: Sequence[Any]) -> pd.DataFrame:
    """Every setting: of (what), setting, value, source. Results with the same settings throughout share their lines."""
    found = [one for one in parts(results) if isinstance(one, Result)]
    presets: list[Any] = [one for one in found if is_preset(one)]
    lines = []
    for one in presets:
        lines += [(one.name, what, value, f"stated by {one.source}") for what, value in one.stated.items()]
        lines += [(one.name, what, value, f"{OURS}: not stated by {one.source}") for what, value in one.unknown.items()]
    alike: dict[tuple[tuple[str, str, str], ...], list[str]] = {}
    for one in found:
        if not is_preset(one):
            measured = _MEASURED_ORIGINS | set(one._measured_)
            said = tuple(
                (name, _short(value), _source_of(name, value, measured, presets)) for name, value in _settings_of(one)
            )
            alike.setdefault(said, []).append(title_of(one))
    for said, titles in alike.items():
        lines += [(listed(list(dict.fromkeys(titles)), 6), *line) for line in said]
    return pd.DataFrame(lines, columns=["of", "setting", "value", "source"]).drop_duplicates(ignore_index=True)


def _settings_of(result: Result) -> Iterator[tuple[str, Any]]:
    """What a result carries: its provenance, flat, then its own fields."""
    seen = set()
    for name, value in _flat({**origin(result), **result._setting_values_()}):
        if name not in seen and not _TOLD_ELSEWHERE & set(name.split(": ")):
            seen.add(name)
            yield name, value


def _flat(about: Mapping[Any, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in about.items():
        if callable(value) or name in _TOLD_ELSEWHERE:
            continue
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{before}{name}: ")
        else:
            yield f"{before}{name}", value


def _source_of(name: str, value: Any, measured: set[str], presets: Sequence[Any]) -> str:
    """Where a setting comes from."""
    bare = name.rpartition(": ")[2]
    if bare in measured or "discovery" in name:
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
