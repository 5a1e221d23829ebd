"""Which prompts when: the block design.

A *block* presents prompts of one condition for a fixed number of rows (one row = one token position); a *run* is a list
of blocks; a *design* is a list of runs. Alternating a task with a baseline is what lets a linear model tell the
task's units from units that merely drift, and fixing the tokens per block is what keeps conditions balanced.

Orders of the blocks in a run:

- ``"alternate"``  A B A B ...: one block of every condition a cycle, always in the same order within a run. The order
  changes between runs by the rows of a Williams square, so that over runs every condition leads, and within cycles
  directly follows every other, equally often (exactly so when the number of runs is a multiple of the square's size:
  the number of conditions, or twice that where it is odd).
- ``"off/on/off"`` the baseline, a condition, the baseline, the next condition ..., the baseline (Nencka et al. 2023).
- ``"random"``     every cycle is a fresh permutation in which no condition follows itself.

Prompts are dealt to blocks in a seeded random order and never twice: not within a run unless ``reuse=True``, never in two
runs; a prompt belongs to one condition. Runs are then independent samples of prompts, which is what a test over runs or blocks needs.

With ``generate=True`` rows are tokens that the model writes (Nencka et al. 2023 record at every output token): each prompt is
continued by ``tokens_per_prompt`` tokens, greedily or sampled at a temperature, from a fresh context or one carried
through the run.

A design knows nothing of a model: strings and chats become token ids when a scanner presents them (:mod:`.presentation`).
Events are BIDS-shaped (onset, duration, trial_type); onset and duration count rows.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeGuard

import pandas as pd

from tl_fbn.errors import InputError, one_of
from tl_fbn.text_files import delimited_rows
from tl_fbn.units import html_table
from tl_fbn.units.prose import listed
from tl_fbn.units.result import Arrays, Described, Result
from tl_fbn.units.space import Provenance

Chat = tuple[tuple[str, str], ...]  # (role, content) of every message
Prompt = str | tuple[int, ...] | Chat
BlockOrder = Literal["alternate", "off/on/off", "random"]


@dataclass(frozen=True)
class BlockDesign(Result, step="design"):
    """Conditions, their prompts in order of use, and the order of the blocks.

    Args:
        conditions: Condition name to its distinct prompts: a string, a tuple of token ids, or a chat as (role, content) pairs.
        schedule: For every run, the condition of each block.
        tokens_per_block: Rows of every block.
        order: How the schedule was made.
        seed: What it was made with.
        generate: Rows are generated tokens rather than prompt tokens.
        reuse: A run that has used up its prompts starts over.
        tokens_per_prompt: Tokens generated after each prompt; None where rows are prompt tokens.
        carry_context: Every prompt of a run continues what was shown and generated before it.
        temperature: 0 for greedy, else that of sampling, which ``seed`` decides.
    """

    conditions: Mapping[str, tuple[Prompt, ...]]
    schedule: tuple[tuple[str, ...], ...]
    tokens_per_block: int
    order: str
    seed: int
    generate: bool = False
    reuse: bool = False
    tokens_per_prompt: int | None = None
    carry_context: bool = False
    temperature: float = 0.0

    _settings_ = (
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

    @property
    def n_runs(self) -> int:
        """Number of runs."""
        return len(self.schedule)

    @property
    def n_blocks(self) -> int:
        """Number of blocks, over all runs."""
        return sum(len(run) for run in self.schedule)

    @property
    def n_rows(self) -> int:
        """Number of rows, over all runs; a row is a token position."""
        return self.n_blocks * self.tokens_per_block

    def events(self, run: int) -> pd.DataFrame:
        """Events of one run: onset and duration in rows, trial_type."""
        blocks = self.schedule[run]
        onsets = [self.tokens_per_block * block for block in range(len(blocks))]
        return pd.DataFrame({"onset": onsets, "duration": self.tokens_per_block, "trial_type": list(blocks)})

    def to_dataframe(self) -> pd.DataFrame:
        """Events of all runs, one line a block, with the run in front."""
        tables = [
            self.events(run).assign(run=run, block=range(len(blocks))) for run, blocks in enumerate(self.schedule)
        ]
        return pd.concat(tables, ignore_index=True).loc[:, ["run", "block", "onset", "duration", "trial_type"]]

    @property
    def provenance(self) -> Provenance:
        """What a design is made with: its settings are its fields."""
        return {"seed": self.seed}

    def _pack_(self) -> tuple[Arrays, Described]:
        about = {one.name: getattr(self, one.name) for one in fields(self)}
        return {}, about | {"conditions": list(self.conditions.items())}  # a list, so that their order is kept

    @classmethod
    def _unpack_(cls, arrays: Arrays, about: Described) -> BlockDesign:
        conditions = {name: tuple(_frozen(one) for one in prompts) for name, prompts in about["conditions"]}
        schedule = tuple(tuple(run) for run in about["schedule"])
        return cls(**{**about, "conditions": conditions, "schedule": schedule})

    def _methods_(self) -> list[str]:
        how = "generated after the prompts" if self.generate else "read"
        return [
            f"Prompts of {listed(list(self.conditions))} were presented in {self.n_runs} runs of {self.n_blocks // self.n_runs} blocks each, "
            f"{self.tokens_per_block} tokens a block, {how}, in {self.order} order (seed {self.seed})."
        ]

    def _report_sections_(self) -> list[dict[str, Any]]:
        blocks = self.to_dataframe().groupby("trial_type", sort=False, as_index=False)
        table = blocks.agg(blocks=("block", "size"), rows=("duration", "sum"))
        return [{"title": "What is shown", "text": f"{self!r}.", "table": table}]

    def __repr__(self) -> str:
        counts = ", ".join(f"{name} ({len(prompts)} prompts)" for name, prompts in self.conditions.items())
        written = ""
        if self.generate:
            how = f"sampled at temperature {self.temperature:g}" if self.temperature else "greedy"
            context = "carried" if self.carry_context else "fresh"
            written = f" generated ({self.tokens_per_prompt} a prompt, {how}, {context} context)"
        return (
            f"BlockDesign {self.order}: {self.n_runs} runs, {self.n_blocks} blocks of {self.tokens_per_block} rows{written}, "
            f"{self.n_rows:,} rows; {counts}"
        )

    def _repr_html_(self) -> str:
        rows = [(run, " ".join(blocks)) for run, blocks in enumerate(self.schedule)]
        return html_table(repr(self), ("run", "blocks"), rows)


def block_design(
    conditions: Mapping[str, Sequence[str] | Sequence[Sequence[int]] | Sequence[Sequence[Mapping[str, str]]]],
    *,
    seed: int,
    n_runs: int = 4,
    n_cycles: int = 6,
    tokens_per_block: int = 64,
    order: BlockOrder = "alternate",
    baseline: str | None = None,
    generate: bool = False,
    reuse: bool = False,
    tokens_per_prompt: int | None = None,
    carry_context: bool = False,
    temperature: int | float = 0.0,
) -> BlockDesign:
    """Plan a block design.

    >>> design = block_design({"a": ["x y z", "x x", "y y", "z z"], "b": ["1 2", "3 4", "5 6", "7 8"]},
    ...                       n_runs=2, n_cycles=2, tokens_per_block=2, seed=0)
    >>> design.schedule
    (('a', 'b', 'a', 'b'), ('b', 'a', 'b', 'a'))

    Args:
        conditions: Condition name to prompts: strings, lists of token ids, or chats (lists of ``{"role": ..., "content": ...}``,
            shown through the tokenizer's template). Repetitions within a condition count once.
        seed: Decides the order of prompts and of blocks.
        n_runs: Runs; no prompt is shared between them.
        n_cycles: How often a run presents every condition.
        tokens_per_block: Rows of a block; the last prompt of a block is cut to fit.
        order: ``"alternate"``, ``"off/on/off"`` or ``"random"`` (see the module).
        baseline: The "off" condition of ``"off/on/off"``; default ``"rest"`` if there is one, else the last.
        generate: Rows are generated tokens (as Nencka et al. 2023) rather than the prompts' own.
        reuse: Allow a prompt to come back within its run.
        tokens_per_prompt: With ``generate``: tokens written after each prompt; default a whole block, one prompt a block.
        carry_context: With ``generate``: a run is one growing context instead of a fresh one a prompt.
        temperature: With ``generate``: 0 takes the most probable token, else tokens are sampled (seeded by ``seed``).

    Raises:
        InputError: An unknown order, no conditions, an empty prompt, a prompt in two conditions, too few prompts, or an
            option of generated rows without ``generate=True``.
    """
    one_of(order, BlockOrder, "order")
    for name, value in (("n_runs", n_runs), ("n_cycles", n_cycles), ("tokens_per_block", tokens_per_block)):
        if not isinstance(value, int) or value < 1:
            raise InputError(f"{name}={value!r} plans no block; give an integer of at least 1")
    new = _check_generation(generate, tokens_per_block, tokens_per_prompt, carry_context, temperature)
    if len(conditions) < 2:
        given = ", ".join(conditions) or "none"
        raise InputError(f'a block design compares at least two conditions; got {given}. Add a baseline such as "rest"')
    pools = {name: _distinct(name, prompts) for name, prompts in conditions.items()}
    _refuse_shared(pools)
    names = list(pools)
    if order == "off/on/off":
        off = baseline if baseline is not None else ("rest" if "rest" in pools else names[-1])
        if off not in pools:
            raise InputError(f"baseline={off!r} is no condition; conditions: {', '.join(names)}")
        schedule = _off_on_off(names, off, n_runs, n_cycles)
    elif baseline is not None:
        raise InputError(f'baseline={baseline!r} has a meaning only with order="off/on/off"; got order={order!r}')
    else:
        schedule = (
            _alternate(names, n_runs, n_cycles) if order == "alternate" else _random(names, n_runs, n_cycles, seed)
        )
    for name, pool in pools.items():
        # every block opens with a prompt of its own; how many more it takes depends on their lengths, where they are the rows
        a_block = -(-tokens_per_block // new) if new else 1
        needed = n_runs if reuse else a_block * sum(run.count(name) for run in schedule)
        if len(pool) < needed:
            raise InputError(too_few_prompts(name, len(pool), f"at least {needed}", n_runs, reuse))
    shuffled = {name: _shuffled(pool, f"{seed}/{name}") for name, pool in pools.items()}
    options = (new, carry_context, float(temperature))
    return BlockDesign(shuffled, schedule, tokens_per_block, order, seed, generate, reuse, *options)


def _check_generation(
    generate: bool, tokens_per_block: int, tokens_per_prompt: int | None, carry_context: bool, temperature: int | float
) -> int | None:
    """Tokens to generate after each prompt; None where rows are the prompts' own."""
    given = {"tokens_per_prompt": tokens_per_prompt, "carry_context": carry_context, "temperature": temperature}
    if not generate:
        named = [f"{name}={value!r}" for name, value in given.items() if value]
        if named:
            raise InputError(f"{', '.join(named)} has a meaning only for generated rows; give generate=True with it")
        return None
    if not (isinstance(temperature, (int, float)) and 0 <= temperature < float("inf")):
        raise InputError(f"temperature={temperature!r} is none; give 0 for greedy decoding, or a positive number")
    if tokens_per_prompt is None:
        return tokens_per_block
    if not isinstance(tokens_per_prompt, int) or not 1 <= tokens_per_prompt <= tokens_per_block:
        raise InputError(
            f"tokens_per_prompt={tokens_per_prompt!r} does not fit blocks of {tokens_per_block}; give 1 to {tokens_per_block}"
        )
    return tokens_per_prompt


def too_few_prompts(name: str, given: int, needed: str, n_runs: int, reuse: bool) -> str:
    """The message for a condition that runs out of prompts."""
    remedy = "give more prompts, shorter blocks, fewer runs or cycles" + (
        "" if reuse else ", or let prompts come back within a run (reuse=True; in a shell, --reuse)"
    )
    return f"condition {name!r} has {given} distinct prompts, but {needed} are needed for {n_runs} runs; {remedy}"


def read_prompts(path: str | os.PathLike) -> dict[str, list[str]]:
    """Conditions and prompts from a table with the columns ``condition`` and ``prompt``.

    ::

        design = fbn.block_design(fbn.read_prompts("prompts.tsv"), seed=0)

    Args:
        path: A ``.tsv`` (tabs) or ``.csv`` (commas) file in UTF-8 with a header line. A ``prompt`` cell may be quoted.

    Returns:
        Condition name to prompts, both in the order of the file: what :func:`block_design` takes.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: A column is missing, a cell is empty (the message names the line), or there is no prompt at all.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file at {path}; give a .tsv or .csv file with the columns condition and prompt")
    conditions: dict[str, list[str]] = {}
    for number, row in delimited_rows(path, ("condition", "prompt")):
        if not row["condition"] or not row["prompt"]:
            raise InputError(f"{path}, line {number}: condition or prompt is empty; fill it or delete the line")
        conditions.setdefault(row["condition"], []).append(row["prompt"])
    if not conditions:
        raise InputError(f"{path} has a header and no prompt; add lines of condition and prompt")
    return conditions


def prompt_digest(prompt: str | Sequence[int]) -> str:
    """A short digest by which a prompt is known in provenance: of its words, or of its token ids.

    White space is normalized; token ids and text of the same prompt have different digests, so both are kept.
    """
    content = " ".join(prompt.split()) if isinstance(prompt, str) else "ids " + " ".join(map(str, prompt))
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _distinct(name: str, prompts: Sequence[Any]) -> tuple[Prompt, ...]:
    if isinstance(prompts, str):
        raise InputError(f"condition {name!r} is one string; give a list of prompts")
    distinct: dict[Prompt, None] = {}
    for prompt in prompts:
        if isinstance(prompt, str):
            empty = not prompt.strip()
            kept = prompt
        elif isinstance(prompt, Iterable):
            items = tuple(prompt)
            kept = _chat(name, items) if items and isinstance(items[0], Mapping) else tuple(map(int, items))
            empty = not kept
        else:
            raise InputError(
                f"condition {name!r} contains {prompt!r}; a prompt is a string, a list of token ids or a chat, a condition a "
                "list of them"
            )
        if empty:
            raise InputError(f"condition {name!r} contains an empty prompt; every prompt needs at least one token")
        distinct[kept] = None
    if not distinct:
        raise InputError(f"condition {name!r} has no prompts; give at least one a block")
    return tuple(distinct)


def _chat(name: str, messages: Sequence[Mapping[str, str]]) -> Chat:
    for message in messages:
        if not isinstance(message, Mapping) or not {"role", "content"} <= set(message):
            raise InputError(
                f"a chat of condition {name!r} has the message {message!r}; every message needs a role and a content"
            )
    return tuple((str(message["role"]), str(message["content"])) for message in messages)


def is_chat(prompt: object) -> TypeGuard[Chat]:
    """Whether a prompt of a design is a chat."""
    return isinstance(prompt, tuple) and bool(prompt) and isinstance(prompt[0], tuple)


def _frozen(prompt: Any) -> Prompt:
    """A prompt as JSON has it, as a design has it."""
    return prompt if isinstance(prompt, str) else tuple(tuple(x) if isinstance(x, list) else x for x in prompt)


def _refuse_shared(pools: Mapping[str, tuple[Prompt, ...]]) -> None:
    owner: dict[Prompt, str] = {}
    for name, pool in pools.items():
        for prompt in pool:
            if prompt in owner:
                raise InputError(
                    f"the prompt {str(prompt)[:60]!r} is in the conditions {owner[prompt]!r} and {name!r}; "
                    "a prompt belongs to one condition"
                )
            owner[prompt] = name


def _shuffled(pool: tuple[Prompt, ...], seed: str) -> tuple[Prompt, ...]:
    order = list(pool)
    random.Random(seed).shuffle(order)
    return tuple(order)


def _williams_row(n: int, row: int) -> list[int]:
    """Row of a Williams square: in the square every item directly precedes every other equally often."""
    zigzag = [(j // 2 + 1 if j % 2 else n - j // 2) % n for j in range(n)]
    base = [(item + row) % n for item in zigzag]
    return base[::-1] if n % 2 and (row // n) % 2 else base


def _alternate(names: list[str], n_runs: int, n_cycles: int) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(names[i] for i in _williams_row(len(names), run)) * n_cycles for run in range(n_runs))


def _off_on_off(names: list[str], off: str, n_runs: int, n_cycles: int) -> tuple[tuple[str, ...], ...]:
    others = [name for name in names if name != off]
    runs = []
    for run in range(n_runs):
        turned = [others[(i + run) % len(others)] for i in range(len(others))]
        runs.append((off, *(block for on in turned * n_cycles for block in (on, off))))
    return tuple(runs)


def _random(names: list[str], n_runs: int, n_cycles: int, seed: int) -> tuple[tuple[str, ...], ...]:
    rng = random.Random(f"{seed}/order")
    runs = []
    for _ in range(n_runs):
        blocks: list[str] = []
        for _ in range(n_cycles):
            cycle = names[:]
            rng.shuffle(cycle)
            while blocks and cycle[0] == blocks[-1]:
                rng.shuffle(cycle)
            blocks += cycle
        runs.append(tuple(blocks))
    return tuple(runs)
