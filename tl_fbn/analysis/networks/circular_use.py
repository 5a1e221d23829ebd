"""Are the rows on which something is tested those on which it was found?

A task that is told from rows on which its network was found is recognised by these rows, and not by the task. What a
run showed is known by digests of its prompts:

- a scan notes in ``run.json`` the digests of all prompts of a run, whatever its rows are:
  tokens of prompts, prompts cut by their block, pooled prompts, or tokens that the model wrote after them;
- of recordings without that note, the token ids of the prompts that the model wrote after, which ``run.json`` has, or
  of those in the row table, but for prompts that were cut.

Where prompts are not known at all, as of arrays from elsewhere, a recording is known by its key: equal keys are equal
rows.

What it does not do: see that a prompt is another one in other words, or find anything where neither is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tl_fbn.acquisition.design.block_design import prompt_digest
from tl_fbn.acquisition.recording.descriptions import DIGESTS
from tl_fbn.acquisition.recording.run import Run
from tl_fbn.errors import InputError
from tl_fbn.units.space import Provenance


@dataclass(frozen=True)
class Shown:
    """Digests of the prompts that a run showed.

    Args:
        ids: Digests of token ids, one for every whole prompt that is known.
        texts: Digests of texts that only one prompt of the recording has: of a chat, not the system message of all.
    """

    ids: frozenset[str]
    texts: frozenset[str] = frozenset()


def shown(run: Run, known: Iterable[str] = ()) -> Shown:
    """What a run showed; nothing where that is not known.

    Args:
        run: The run.
        known: Digests of all prompts of its recording, by which token ids with a beginning-of-text token are known.
    """
    if noted := run.about.get(DIGESTS):
        return Shown(frozenset(noted["ids"]), frozenset(noted["texts"]))
    known = set(known)
    found = {_digest_without_beginning(ids, known) for ids in run.about.get("prompts") or ()}
    rows = run.rows
    if "token_id" not in rows or "prompt" not in rows:
        return Shown(frozenset(found))  # pooled rows, or activations from elsewhere
    for _, part in rows.groupby("prompt"):
        # the ids of a prompt that its block cut short, or that a model continued, are not those of the prompt
        if "flags" in part and part["flags"].str.contains("cut|generated").any():
            continue
        ids = part["token_id"].tolist()
        if "flags" in part and "bos" in str(part["flags"].iloc[0]):
            ids = ids[1:]  # a token that starts every context is no part of the prompt
        found.add(prompt_digest(ids))
    return Shown(frozenset(found))


def _digest_without_beginning(ids: Sequence[int], known: set[str]) -> str:
    """Digest of a prompt's ids as its recording has it, which leaves a beginning-of-text token out."""
    whole, rest = prompt_digest(ids), prompt_digest(ids[1:])
    return rest if whole not in known and rest in known else whole


def require_other_rows(
    task: str, source: Provenance, prompts: Iterable[Shown], recordings: Mapping[str, str | None]
) -> None:
    """Raise an error where a network was found on rows from which tasks are told.

    Args:
        task: Task of the network, for the message.
        source: The network's provenance.
        prompts: What the runs showed.
        recordings: Task to the key of its recording.

    Raises:
        InputError: A prompt of the runs is among those of the network, or a recording is the one it was found in.
    """
    remedy = (
        "Tasks would be recognised by their prompts: record other prompts (with generate=True too: of one bank, give "
        "one half to each recording), or leave networks= out, and each run is told from the others"
    )
    found_on = set(source.get("prompts") or ())
    # a chat is known by its ids and by its texts, and counts once
    by_ids, by_texts = (
        len(found_on & {digest for one in prompts for digest in getattr(one, kind)}) for kind in ("ids", "texts")
    )
    if n_shared := max(by_ids, by_texts):
        raise InputError(
            f"{n_shared} prompts of these recordings were used to find the network of {task!r}; identify on other "
            f"prompts. {remedy}"
        )
    same = {*_recording_keys(source)}.intersection(recordings.values())
    if same:
        tasks = ", ".join(repr(name) for name, key in recordings.items() if key in same)
        raise InputError(
            f"the network of {task!r} was found in the recording of {tasks}; identify on other rows. {remedy}"
        )


def _recording_keys(source: Any) -> Iterator[str]:
    """Keys of all recordings that a provenance names, at any depth: that of an atlas names those of its parts."""
    if not isinstance(source, Mapping):
        return
    for name, value in source.items():
        if name == "recording" and isinstance(value, str):
            yield value
        elif name == "recordings":
            yield from (key for key in (value.values() if isinstance(value, Mapping) else value) if key is not None)
        elif isinstance(value, Mapping):
            yield from _recording_keys(value)


def require_prompts_of_their_own(prompts: Mapping[str, Sequence[Shown]], fold: int) -> None:
    """Raise an error if a prompt of the runs that are left out is also in runs that maps are learnt from.

    Args:
        prompts: Task to what each of its runs showed.
        fold: Number of the run that is left out of every task.

    Raises:
        InputError: A prompt is on both sides.
    """
    left_out = {digest for runs in prompts.values() if fold < len(runs) for digest in runs[fold].ids}
    # of all tasks: a prompt in another task's run would mislead as much as one in its own
    learnt_from = {
        digest for runs in prompts.values() for number, run in enumerate(runs) if number != fold for digest in run.ids
    }
    if shared := left_out & learnt_from:
        raise InputError(
            f"{len(shared)} prompts of run {fold} are also in other runs, so that telling tasks by them shows nothing; "
            "record tasks with prompts of their own (e.g. other parts of one bank)"
        )
