"""Sentences about a recording for its repr, for reports and for papers: what was recorded, and where its variance lies.

Everything here is read from descriptions and tables, nothing from activations. So the sentence on first tokens needs a
scan that noted the sums (:mod:`.massive_units`); other recordings say nothing of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from tl_fbn.acquisition.recording.descriptions import computed_in, model_dtype_of
from tl_fbn.acquisition.recording.massive_units import first_token_shares, first_tokens_in_words
from tl_fbn.units.prose import NOT_RECORDED, listed, space_in_words

if TYPE_CHECKING:
    from tl_fbn.acquisition.recording.recording import Recording


def in_one_line(recording: Recording) -> str:
    """What a recording prints as.

    Args:
        recording: The recording.
    """
    where = f" at {recording.path}" if recording.path else " in memory"
    units = " and ".join(space.describe() for space in recording.spaces) + computed_in(recording.about)
    size = f"{len(recording)} runs, {recording.n_rows:,} rows, {units}"
    said = "; ".join(["", *first_tokens_of(recording)])
    return f"Recording{where}: {size}; conditions {', '.join(recording.conditions)}{said}"


def first_tokens_of(recording: Recording) -> list[str]:
    """How much of the variance lies in first tokens, a phrase for each site in which that is more than half.

    Args:
        recording: The recording; no activation of it is read.
    """
    phrases = []
    for space, runs in zip(recording.spaces, recording.runs_of, strict=True):
        said = first_tokens_in_words(first_token_shares([run.about for run in runs], space.site))
        if said:
            phrases.append(said if len(recording.spaces) == 1 else f"at {space.site} {said}")
    return phrases


def recorded_in_words(recording: Recording) -> str:
    """The sentence of a methods section about a recording.

    Args:
        recording: The recording.
    """
    about = recording.about.get("design") or {}  # known of scans only; arrays from elsewhere have no design
    fields = recording.about.get("fields") or {}
    blocks = sum(len(run.events) for run in recording.runs_of[0])
    size = about.get("tokens_per_block")
    order = about.get("order", NOT_RECORDED)
    pool = recording.about.get("pool") or fields.get("pool")  # afterwards, or while it was recorded
    row = "token" if pool is None else f"prompt ({pool} of its tokens)"
    kind = "generated " if fields.get("generation") else ""
    numbers = f"; activations{computed_in(recording.about)}" if model_dtype_of(recording.about) else ""
    length = f"{size} tokens" if size else f"a number of tokens that is {NOT_RECORDED}"
    return (
        f"Activations of {' and '.join(map(space_in_words, recording.spaces))} were recorded at every {kind}{row}: "
        f"{recording.n_rows:,} rows in {len(recording)} runs, "
        f"{blocks} blocks of {length} of the conditions {listed(recording.conditions)} "
        f"(order: {order}; design seed: {about.get('seed', NOT_RECORDED)}{numbers})."
    )


def table_of_runs(recording: Recording) -> pd.DataFrame:
    """One line a run: its number, rows, blocks and conditions.

    Args:
        recording: The recording.
    """
    lines = [
        (number, run.n_rows, len(run.events), ", ".join(dict.fromkeys(map(str, run.events["trial_type"]))))
        for number, run in enumerate(recording.runs_of[0])
    ]
    return pd.DataFrame(lines, columns=["run", "rows", "blocks", "conditions"])


def settings_of(recording: Recording) -> dict[str, Any]:
    """The settings with which a recording was made, by name.

    Args:
        recording: The recording.
    """
    fields = recording.about.get("fields") or {}
    named = ("site", "dtype", "pool", "generation", "interventions")
    pool = {"pool": recording.about["pool"]} if "pool" in recording.about else {}  # prompts that were pooled afterwards
    return {**(recording.about.get("design") or {}), **{name: fields[name] for name in named if name in fields}, **pool}


def recording_sections(recording: Recording) -> list[dict[str, Any]]:
    """The sections of a report about a recording: its runs, and its courses where its units are networks.

    Args:
        recording: The recording.
    """
    table = table_of_runs(recording)
    has_time_courses = "networks" in recording.about  # made by time_courses: a unit is a network there
    spaces = ", ".join(space.describe() for space in recording.spaces) + computed_in(recording.about)
    text = f"{recording.n_rows:,} rows in {len(recording)} runs of {spaces}. Key {recording.key[:16]}."
    for said in first_tokens_of(recording):
        text += f" {said[0].upper()}{said[1:]}: what is computed over all rows is mostly about them."
    sections = [{"title": "Time courses" if has_time_courses else "Recording", "text": text, "table": table}]
    if has_time_courses:
        text = "The first networks of the first run."
        sections.append({"title": "Networks over tokens", "text": text, "picture": "time_courses"})
    return sections
