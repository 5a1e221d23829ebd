"""The lines of the table that ``python -m tests.benchmarks`` writes: ours, a peer, a limit, the ratio that counts, and
its target.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

_COMPARE = {">=": operator.ge, "<=": operator.le}


@dataclass(frozen=True)
class Line:
    """One figure.

    Args:
        group: The benchmark it comes from.
        what: What is measured.
        ours: Our value, in ``unit``.
        unit: ``"s"``, ``"MB"``, ``"rows/s"`` ...
        other: What stands beside it, a peer or a limit, by name.
        theirs: Its value in the same unit.
        ratio: The number that counts.
        means: What the ratio is, in words.
        target: Such as ``">= 0.85"``; empty where none was set.
    """

    group: str
    what: str
    ours: float | None = None
    unit: str = ""
    other: str = ""
    theirs: float | None = None
    ratio: float | None = None
    means: str = ""
    target: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the ratio reaches the target; None where there is none."""
        if not self.target or self.ratio is None:
            return None
        sign, value = self.target.split()
        return bool(_COMPARE[sign](self.ratio, float(value)))

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "met": self.met}


def markdown(lines: Sequence[Line]) -> str:
    """The lines as a Markdown table."""
    head = ("benchmark", "what", "ours", "beside it", "ratio", "which is", "target", "met")
    rows = [head, tuple("---" for _ in head)]
    for line in lines:
        beside = f"{line.other}{'' if line.theirs is None else f': {_number(line.theirs)} {line.unit}'}".strip()
        ours = "" if line.ours is None else f"{_number(line.ours)} {line.unit}".strip()
        met = {None: "", True: "yes", False: "**no**"}[line.met]
        ratio = "" if line.ratio is None else _number(line.ratio)
        rows.append((line.group, line.what, ours, beside, ratio, line.means, line.target, met))
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def _number(value: float) -> str:
    """Three significant digits, with commas where it is large."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
