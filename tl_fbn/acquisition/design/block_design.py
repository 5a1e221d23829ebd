"""Which prompts are shown when: the block design.

A *block* shows prompts of one condition for a fixed number of rows (one row = one token position). A *run* is a
sequence of blocks that is recorded without a break; a *design* is a list of runs. Alternating a task with a baseline
lets a linear model tell units that follow the task from units that merely drift; a fixed number of rows a block keeps
conditions balanced.

Orders of the blocks in a run (:mod:`tl_fbn.acquisition.design.block_orders`):

- ``"alternate"``  A B A B ...: one block of every condition a cycle, always in the same order within a run. The order
  changes between runs by the rows of a Williams square, so that over runs every condition leads equally often, and
  within cycles every condition directly follows every other equally often. The balance is exact when the number of
  runs is a multiple of the square's size: the number of conditions, or twice that where it is odd.
- ``"off/on/off"`` the baseline, a condition, the baseline, the next condition ..., the baseline (Nencka et al. 2023).
- ``"random"``     every cycle is a fresh permutation; no condition follows itself.

Prompts are dealt to blocks in a random order that the seed decides. A prompt belongs to one condition and never comes
in two runs; within a run it comes once, or again with ``reuse=True``. Runs are therefore independent samples of
prompts, which a test over runs or blocks needs.

With ``generate=True`` rows are tokens that the model writes (Nencka et al. 2023 record at every output token): each
prompt is continued by ``tokens_per_prompt`` tokens, greedily or sampled at a temperature, from a fresh context or
from one context that is carried through the run.

A design knows nothing of a model: strings and chats become token ids when a scanner shows them
(:mod:`tl_fbn.acquisition.model.contexts`). Whether a prompt is long enough for its block is known only then. Events
have the columns of BIDS (onset, duration, trial_type); onset and duration count rows, not seconds.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import pandas as pd

from tl_fbn.acquisition.design.block_orders import alternating_schedule, off_on_off_schedule, random_schedule
from tl_fbn.acquisition.design.prompt_forms import ALLOWED, Prompt, checked_prompt, checked_prompts
from tl_fbn.errors import InputError, one_of, refuse_alike
from tl_fbn.signatures import checked
from tl_fbn.units import html_table
from tl_fbn.units.prose import listed
from tl_fbn.units.result import Arrays, Described, Result
from tl_fbn.units.space import Provenance

BlockOrder = Literal["alternate", "off/on/off", "random"]


@dataclass(frozen=True)
class BlockDesign(Result, step="design"):
    """Conditions, their prompts in the order in which they are shown, and the order of the blocks.

    :func:`block_design` makes one.

    >>> design.n_runs, design.n_blocks, design.n_rows
    (2, 24, 1536)
    >>> design.events(0).head(2)
       onset  duration trial_type
    0      0        64       sort
    1     64        64    reverse

    Args:
        conditions: Condition name to its distinct prompts, in the order in which blocks take them. A prompt is a
            string, a tuple of token ids, or a chat as a tuple of (role, content) pairs.
        schedule: For every run a tuple with the name of the condition of each block.
        tokens_per_block: Number of rows of every block.
        order: How the blocks of a run are ordered: ``"alternate"``, ``"off/on/off"`` or ``"random"``.
        seed: Seed of the order of prompts, of a random order of blocks, and of sampled tokens.
        generate: True where rows are tokens that the model writes, False where they are the prompts' own tokens.
        reuse: True where a run that has shown all its prompts begins again with the first.
        tokens_per_prompt: Number of tokens written after each prompt; None where rows are the prompts' own tokens.
        carry_context: True where every prompt of a run continues what was shown and written before it in that run.
        temperature: Temperature at which written tokens are sampled; 0 takes the most probable token.
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
        """Number of rows, over all runs; a row is one token position."""
        return self.n_blocks * self.tokens_per_block

    @checked
    def events(self, run: int) -> pd.DataFrame:
        """The blocks of one run as a table of events.

        Args:
            run: Number of the run, from 0.

        Returns:
            One line a block: ``onset`` (first row of the block, from 0), ``duration`` (rows) and ``trial_type``
            (condition).
        """
        blocks = self.schedule[run]
        # blocks follow each other without a gap, all of one length
        onsets = [self.tokens_per_block * block for block in range(len(blocks))]
        return pd.DataFrame({"onset": onsets, "duration": self.tokens_per_block, "trial_type": list(blocks)})

    def to_dataframe(self) -> pd.DataFrame:
        """One line a block: run, block (within the run), onset and duration (in rows), trial_type (condition)."""
        tables = [
            self.events(run).assign(run=run, block=range(len(blocks))) for run, blocks in enumerate(self.schedule)
        ]
        return pd.concat(tables, ignore_index=True).loc[:, ["run", "block", "onset", "duration", "trial_type"]]

    @property
    def provenance(self) -> Provenance:
        """The seed; all other settings of a design are fields of its own."""
        return {"seed": self.seed}

    def _pack_(self) -> tuple[Arrays, Described]:
        about = {one.name: getattr(self, one.name) for one in fields(self)}
        return {}, about | {"conditions": list(self.conditions.items())}  # a list, so that their order is kept

    @classmethod
    def _unpack_(cls, arrays: Arrays, about: Described) -> BlockDesign:
        conditions = {name: tuple(_prompt_from_json(one) for one in prompts) for name, prompts in about["conditions"]}
        schedule = tuple(tuple(run) for run in about["schedule"])
        return cls(**{**about, "conditions": conditions, "schedule": schedule})

    def _methods_(self) -> list[str]:
        how = "generated after the prompts" if self.generate else "read"
        return [
            f"Prompts of {listed(list(self.conditions))} were presented in {self.n_runs} runs of "
            f"{self.n_blocks // self.n_runs} blocks each, "
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
            f"BlockDesign {self.order}: {self.n_runs} runs, {self.n_blocks} blocks of {self.tokens_per_block} rows"
            f"{written}, {self.n_rows:,} rows; {counts}"
        )

    def _repr_html_(self) -> str:
        rows = [(run, " ".join(blocks)) for run, blocks in enumerate(self.schedule)]
        return html_table(repr(self), ("run", "blocks"), rows)


@checked
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
    """Plan a block design: which condition each block of each run shows, and with which prompts.

    >>> prompts = {"sort": fbn.prompts("sort"), "reverse": fbn.prompts("reverse")}
    >>> design = fbn.block_design(prompts, n_runs=2, n_cycles=2, seed=0)
    >>> design.schedule
    (('sort', 'reverse', 'sort', 'reverse'), ('reverse', 'sort', 'reverse', 'sort'))

    Args:
        conditions: Condition name to its prompts, for two conditions or more. A prompt is a string, a list of token
            ids, or a chat (a list of ``{"role": ..., "content": ...}``, shown through the tokenizer's chat template).
            A prompt that is repeated within a condition counts once.
        seed: Seed of the order of prompts, of the blocks of ``order="random"``, and of sampled tokens; the same seed
            gives the same design.
        n_runs: Number of runs. No prompt is shown in two runs.
        n_cycles: How often a run shows every condition.
        tokens_per_block: Number of rows of a block; the last prompt of a block is cut where the block ends.
        order: ``"alternate"`` repeats one order within a run and changes it between runs; ``"off/on/off"`` puts the
            baseline around every block of another condition; ``"random"`` draws a permutation for each cycle.
        baseline: Name of the "off" condition of ``"off/on/off"``; by default ``"rest"`` if there is one, else the last.
        generate: True: rows are tokens that the model writes after each prompt (as Nencka et al. 2023); False: rows
            are the prompts' own tokens.
        reuse: True: a run that has shown all its prompts begins again with the first; False: too few prompts are an
            error.
        tokens_per_prompt: Number of tokens written after each prompt, with ``generate=True`` only; by default a whole
            block, so that a block shows one prompt.
        carry_context: True: the prompts of a run and what is written after them are one growing text; False: every
            prompt begins a context of its own. With ``generate=True`` only.
        temperature: Temperature at which written tokens are sampled, with ``generate=True`` only; 0 takes the most
            probable.

    Returns:
        The design, which :meth:`tl_fbn.Scanner.scan` shows to a model.

    Raises:
        InputError: An unknown order, fewer than two conditions, two whose names differ in case only, an empty prompt, a
            prompt in two conditions, too few prompts, a baseline that is no condition, or an option of written rows
            without ``generate=True``.
    """
    # everything that needs no tokenizer is refused here, before a model is loaded
    one_of(order, BlockOrder, "order")
    for name, value in (("n_runs", n_runs), ("n_cycles", n_cycles), ("tokens_per_block", tokens_per_block)):
        if not isinstance(value, int) or value < 1:
            raise InputError(f"{name}={value!r} plans no block; give an integer of at least 1")
    n_written = _tokens_written_per_prompt(generate, tokens_per_block, tokens_per_prompt, carry_context, temperature)
    if len(conditions) < 2:
        given = ", ".join(conditions) or "none"
        raise InputError(f'a block design compares at least two conditions; got {given}. Add a baseline such as "rest"')
    refuse_alike(conditions, "the conditions")
    pools = {name: _distinct_prompts(name, prompts) for name, prompts in conditions.items()}
    _refuse_prompts_in_two_conditions(pools)
    names = list(pools)
    if order == "off/on/off":
        # the baseline that was named, a condition called rest, or the last one
        off = baseline if baseline is not None else ("rest" if "rest" in pools else names[-1])
        if off not in pools:
            raise InputError(f"baseline={off!r} is no condition; conditions: {', '.join(names)}")
        schedule = off_on_off_schedule(names, off, n_runs, n_cycles)
    elif baseline is not None:
        raise InputError(f'baseline={baseline!r} has a meaning only with order="off/on/off"; got order={order!r}')
    elif order == "alternate":
        schedule = alternating_schedule(names, n_runs, n_cycles)
    else:
        schedule = random_schedule(names, n_runs, n_cycles, seed)
    for name, pool in pools.items():
        # a block of written rows takes ceil(tokens_per_block / n_written) prompts; one of read rows takes at least one,
        # and how many more depends on their lengths in tokens, which only a tokenizer knows
        per_block = -(-tokens_per_block // n_written) if n_written else 1
        needed = n_runs if reuse else per_block * sum(run.count(name) for run in schedule)
        if len(pool) < needed:
            raise InputError(too_few_prompts(name, len(pool), f"at least {needed}", n_runs, reuse))
    # each condition is shuffled by a stream of its own, so that adding a condition leaves the others' order as it was
    shuffled = {name: _shuffled(pool, f"{seed}/{name}") for name, pool in pools.items()}
    options = (n_written, carry_context, float(temperature))
    return BlockDesign(shuffled, schedule, tokens_per_block, order, seed, generate, reuse, *options)


def _tokens_written_per_prompt(
    generate: bool, tokens_per_block: int, tokens_per_prompt: int | None, carry_context: bool, temperature: int | float
) -> int | None:
    """Number of tokens to write after each prompt; None where rows are the prompts' own tokens."""
    given = {"tokens_per_prompt": tokens_per_prompt, "carry_context": carry_context, "temperature": temperature}
    if not generate:
        # options that would have no effect are mistakes
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
            f"tokens_per_prompt={tokens_per_prompt!r} does not fit blocks of {tokens_per_block}; "
            f"give 1 to {tokens_per_block}"
        )
    return tokens_per_prompt


def too_few_prompts(name: str, given: int, needed: str, n_runs: int, reuse: bool) -> str:
    """The error message for a condition that runs out of prompts.

    Args:
        name: Name of the condition.
        given: Number of distinct prompts that it has.
        needed: How many it needs, in words such as ``"at least 12"``.
        n_runs: Number of runs of the design.
        reuse: Whether prompts may come back within a run; where they may not, the message offers it.
    """
    remedy = "give more prompts, shorter blocks, fewer runs or cycles" + (
        "" if reuse else ", or let prompts come back within a run (reuse=True; in a shell, --reuse)"
    )
    return f"condition {name!r} has {given} distinct prompts, but {needed} are needed for {n_runs} runs; {remedy}"


def prompt_digest(prompt: str | Sequence[int]) -> str:
    """A short digest by which provenance names a prompt: 16 hexadecimal digits of a SHA-256.

    It is taken of the words, or of the token ids. The two differ for one and the same prompt, so results keep both.

    Args:
        prompt: A text, whose runs of white space count as one space, or the token ids of a prompt.
    """
    # "ids " keeps the digest of the token ids 1 2 apart from that of the text "1 2"
    content = " ".join(prompt.split()) if isinstance(prompt, str) else "ids " + " ".join(map(str, prompt))
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _distinct_prompts(name: str, prompts: Sequence[Any]) -> tuple[Prompt, ...]:
    distinct: dict[Prompt, None] = {}  # a set that keeps the order in which prompts were given
    for number, given in enumerate(checked_prompts(prompts, f"condition {name!r}")):
        if not isinstance(given, Iterable):  # the commonest slip: one list of token ids for a list of such lists
            raise InputError(f"condition {name!r} contains {given!r}; {ALLOWED}, a condition a list of them")
        if (isinstance(given, str) and not given.strip()) or (isinstance(given, (list, tuple)) and not given):
            raise InputError(
                f"condition {name!r} contains an empty prompt; every prompt needs at least one token (prompt {number})"
            )
        distinct[checked_prompt(given, f"prompt {number} of condition {name!r}")] = None
    if not distinct:
        raise InputError(f"condition {name!r} has no prompts; give at least one a block")
    return tuple(distinct)


def _prompt_from_json(prompt: Any) -> Prompt:
    """A prompt of a design from its form in JSON, which has lists where a design has tuples."""
    return prompt if isinstance(prompt, str) else tuple(tuple(x) if isinstance(x, list) else x for x in prompt)


def _refuse_prompts_in_two_conditions(pools: Mapping[str, tuple[Prompt, ...]]) -> None:
    # each condition deals its prompts to runs by itself, so that a shared one could come in two runs
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
