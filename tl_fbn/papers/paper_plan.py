"""What a paper's protocol will cost, step by step, before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from tl_fbn.units import html_frame
from tl_fbn.units.prose import duration_in_words


@dataclass(frozen=True)
class Step:
    """One step of a protocol, and what it will cost.

    Args:
        name: What is done, in a few words.
        tokens: Number of tokens that the model reads or writes.
        seconds: Expected time, in seconds.
        bytes: Size of what is kept on disk.
    """

    name: str
    tokens: int
    seconds: float
    bytes: int = 0


@dataclass(frozen=True, repr=False)
class PaperPlan:
    """What a protocol will cost: :func:`tl_fbn.papers.s1.run` and its siblings return it with ``plan=True``.

    >>> chats = fbn.demo.tasks(n=10, chat=True)
    >>> plan = fbn.papers.s1.run(model, chats, "s1", seed=0, quick=True, plan=True)
    >>> plan  # doctest: +ELLIPSIS
    PaperPlan of s1: 3 steps, ... tokens, about ..., 0 MB on disk
    >>> [step.name for step in plan.steps]
    ['scores', 'lesions', 'random networks']

    Times are counted from one pass that was timed; analyses without a model are not in them.

    Args:
        paper: Name of the protocol: ``"s0"``, ``"s1"`` or ``"s2"``.
        steps: The steps, in their order.
    """

    paper: str
    steps: Sequence[Step]

    @property
    def tokens(self) -> int:
        """Number of tokens that the model reads or writes in all steps."""
        return sum(step.tokens for step in self.steps)

    @property
    def seconds(self) -> float:
        """Expected time of all steps, in seconds."""
        return sum(step.seconds for step in self.steps)

    @property
    def bytes(self) -> int:
        """Size of what all steps keep on disk."""
        return sum(step.bytes for step in self.steps)

    def to_dataframe(self) -> pd.DataFrame:
        """One line a step: step, tokens, seconds, bytes."""
        lines = [(step.name, step.tokens, step.seconds, step.bytes) for step in self.steps]
        return pd.DataFrame(lines, columns=["step", "tokens", "seconds", "bytes"])

    def __repr__(self) -> str:
        return (
            f"PaperPlan of {self.paper}: {len(self.steps)} steps, {self.tokens:,} tokens, about "
            f"{duration_in_words(self.seconds)}, {self.bytes / 1e6:,.0f} MB on disk"
        )

    def __str__(self) -> str:
        table = self.to_dataframe().assign(seconds=lambda one: one["seconds"].round(1))
        return f"{self!r}\n{table.to_string(index=False)}"

    def _repr_html_(self) -> str:
        return html_frame(repr(self), self.to_dataframe())
