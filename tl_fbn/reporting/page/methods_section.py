"""The methods of a page: a text ready to paste into a paper, and every setting with where it comes from.

Results say themselves how they were made (``_methods_``) and what they were made with (``_settings_`` and their
provenance). Here that is put into the order of a methods section: settings of a paper, recording, linear model, number
of components and decomposition, scores, networks, comparisons, answers with lesions and amplification, pruning. Nothing
is inferred: what a result does not say is "not recorded", and a result that says nothing is left out.

A setting is ``measured`` where the data decided it. Any other is *our choice*, unless a preset among the results
(``fbn.papers``) has the same option at the same value: then its line says whether the paper states it. Every line of a
preset is listed too, and each that the paper leaves open is labelled.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
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
# the steps of an analysis that share a paragraph, in the order of the paragraphs
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
# entries of provenance that the data decided, whichever result carries them
_MEASURED_ENTRIES = {
    "n_items",
    "skipped_as_too_long",
    "scored_positions",
    "preamble_share",
    "discovery",
    "tau",
    "removed_share",
    "flag",
    "variant_reason",
}
# entries of provenance that have a place of their own on the page, such as origins, which the section Provenance lists
_SHOWN_ELSEWHERE = {
    "prompts",
    "recording",
    "weights",
    "model_dtype",
    "key",
    "atlas",
    "first",
    "second",
    "network",
    "of",
    "parts",
    "versions",
    "fields",
    "balance",
    "flags",
    "chance",
    "majority",
    "baseline",
    "description",
}


def sections(results: Sequence[Any]) -> list[Section]:
    """The methods of a page: a section with the text and one with the table of settings.

    Args:
        results: The results of the page.

    Returns:
        Two sections; fewer where no result says how it was made, or with which settings.
    """
    text = paragraphs(results)
    table = settings(results)
    found = [Section(TITLE, "\n\n".join(text))] if text else []
    if len(table):
        about = (
            "Every setting that the results carry. What no paper states is our choice, and is labelled so; a preset "
            "given to the report (fbn.papers) marks what its paper states and what it leaves open. Measured: the data "
            "decided it."
        )
        found.append(Section(SETTINGS, about, table=table))
    return found


def paragraphs(results: Sequence[Any]) -> list[str]:
    """The text of the methods, a paragraph for the steps that belong together; no sentence comes twice.

    Args:
        results: The results of the page.
    """
    found = [one for one in parts(results) if isinstance(one, Result)]
    text: list[str] = []
    said: set[str] = set()
    for together in PARAGRAPHS:
        here = [one for one in found if one._step_ in together]
        # results of one class are given to it together, as they may share a sentence
        sentences = [
            sentence
            for kind in _classes_of(here)
            for sentence in kind._methods_of_([r for r in here if type(r) is kind])
        ]
        new = [sentence for sentence in dict.fromkeys(sentences) if sentence not in said]
        said |= set(new)
        if new:
            text.append(" ".join(new))
    return _with_formula_once([*text, *_number_types(found)])


def _number_types(results: Sequence[Result]) -> list[str]:
    """One sentence on what the models of results computed in; none where no result says."""
    said: dict[str, None] = {}
    for one in results:
        about = origin(one)
        for each in (about, about.get("decoding"), about.get("first"), about.get("second")):
            if isinstance(each, Mapping) and each.get("model_dtype"):
                model = getattr(getattr(one, "space", None), "model", None) or about.get("model") or "the model"
                said[f"{model} in {each['model_dtype']}"] = None
    # a result that names no model speaks of one that others name
    named = [one for one in said if not one.startswith("the model in ")]
    types = [one.removeprefix("the model") for one in said if one not in named]
    more = [f"the model{one}" for one in types if not any(other.endswith(one) for other in named)]
    return [f"Models computed in these number types: {listed([*named, *more])}."] if said else []


def _classes_of(results: Sequence[Result]) -> list[type[Result]]:
    """The classes of some results, in the order in which they first come."""
    return list(dict.fromkeys(type(one) for one in results))


def _with_formula_once(paragraphs: Sequence[str]) -> list[str]:
    """The formula of p in full where it comes first, and "p likewise" afterwards."""
    if not paragraphs:
        return []
    # joined by a character that no text holds, so that "first" counts over all paragraphs
    first, formula, rest = "\0".join(paragraphs).partition(P_FORMULA)
    return (first + formula + rest.replace(P_FORMULA, "p likewise")).split("\0")


def settings(results: Sequence[Any]) -> pd.DataFrame:
    """Every setting of the results, and where it comes from.

    Args:
        results: The results of the page.

    Returns:
        One line a setting: of (the result or the preset), setting, value, source. Results whose settings are all the
        same share their lines.
    """
    found = [one for one in parts(results) if isinstance(one, Result)]
    presets: list[Any] = [one for one in found if is_preset(one)]
    lines = []
    # first the presets: all that their papers state, and all that they leave open
    for one in presets:
        lines += [(one.name, what, value, f"stated by {one.source}") for what, value in one.stated.items()]
        lines += [(one.name, what, value, f"{OURS}: not stated by {one.source}") for what, value in one.unknown.items()]
    # (setting, value, source) of all settings of a result, to the titles of the results that have these
    titles_of: dict[tuple[tuple[str, str, str], ...], list[str]] = {}
    for one in found:
        if not is_preset(one):
            measured = _MEASURED_ENTRIES | set(one._measured_)
            rows = tuple(
                (name, _value_text(value), _source_of(name, value, measured, presets))
                for name, value in _settings_of(one)
            )
            titles_of.setdefault(rows, []).append(title_of(one))
    for rows, titles in titles_of.items():
        lines += [(listed(list(dict.fromkeys(titles)), 6), *row) for row in rows]
    return pd.DataFrame(lines, columns=["of", "setting", "value", "source"]).drop_duplicates(ignore_index=True)


def _settings_of(result: Result) -> Iterator[tuple[str, Any]]:
    """Names and values of the settings that a result carries: its provenance, then its own fields, each name once."""
    seen = set()
    for name, value in _flat_entries({**origin(result), **result._setting_values_()}):
        if name not in seen and not _SHOWN_ELSEWHERE & set(name.split(": ")):
            seen.add(name)
            yield name, value


def _flat_entries(about: Mapping[Any, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Names and values of nested mappings; the name of an inner entry is ``outer: inner``."""
    for name, value in about.items():
        if callable(value) or name in _SHOWN_ELSEWHERE:
            continue
        if isinstance(value, Mapping) and value:
            yield from _flat_entries(value, f"{before}{name}: ")
        else:
            yield f"{before}{name}", value


def _source_of(name: str, value: Any, measured: set[str], presets: Sequence[Any]) -> str:
    """Where a setting comes from, in words: the data, a preset, or our choice."""
    bare = name.rpartition(": ")[2]  # without the names of the mappings it is in
    if bare in measured or "discovery" in name:
        return MEASURED
    # a preset sorts its options by the function that takes them; a setting carries the name alone
    for one in presets:
        for options in _options_of(one):
            if bare in options and _same_value(options[bare], value):
                if any(bare in key for key in one.unknown):
                    return f"{OURS}: as in {one.name}, not stated by {one.source}"
                return f"as in {one.name}: see its lines"
    return OURS


def _options_of(preset: Any) -> Iterator[Mapping[str, Any]]:
    """Every field of a preset that holds options, and its ``top``; what it says in words is none."""
    for each in fields(preset):
        value = getattr(preset, each.name)
        if isinstance(value, Mapping) and each.name not in ("stated", "unknown"):
            yield value
    if preset.top is not None:
        yield {"top": preset.top}


def _same_value(option: Any, value: Any) -> bool:
    """Whether an option of a preset and a setting are the same when written out; a tuple is as good as a list."""
    return str(list(option) if isinstance(option, tuple) else option) == str(
        list(value) if isinstance(value, tuple) else value
    )


def _value_text(value: Any) -> str:
    """The value of a setting as the text of a cell."""
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return f"{len(value)} entries" if len(value) > 12 else ", ".join(map(_value_text, value)) or "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    if value is None or (isinstance(value, Mapping) and not value):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    # a digest is cut, as in the section Provenance
    return text[:16] if re.fullmatch("[0-9a-f]{40,}", text) else text
