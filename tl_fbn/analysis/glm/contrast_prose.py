"""Sentences about a contrast for reports and papers: which test it was, what it speaks about, and what chance gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tl_fbn.analysis.glm.run_fit import NOISE_IN_WORDS
from tl_fbn.units.prose import NOT_RECORDED, listed
from tl_fbn.units.unit_map import TOP_UNITS, order_by_magnitude

if TYPE_CHECKING:
    from tl_fbn.analysis.glm.contrast import Contrast
    from tl_fbn.analysis.glm.f_contrast import FContrast

LEVEL_IN_WORDS: dict[str, str] = {
    "block": "One estimate a block, tested over blocks: it speaks about prompts of this kind.",
    "token": "Tested over rows: it speaks about these prompts only.",
    "run": "Tested over runs.",
}
_LEVEL_FOR_PAPERS: dict[str, str] = {
    "block": (
        "one estimate a {replicate} after confounds, tested over {replicates}, so that it speaks about such prompts"
    ),
    "token": "tested over rows, so that it speaks about these prompts only",
    "run": "tested over runs",
}


def named_origin(expression: str, name: str) -> dict[str, str]:
    """What the provenance of a map says of a contrast: the expression, and the name where it is another.

    Args:
        expression: The contrast over columns.
        name: What it is called.
    """
    return {"contrast": expression} | ({"contrast_name": name} if name != expression else {})


def named_in_words(expressions: Sequence[str], name: str) -> str:
    """Contrasts in a sentence: how they are called and, where that is another text, what they are.

    Args:
        expressions: The contrasts over columns.
        name: What they are called together.
    """
    return listed(expressions) if name == ", ".join(expressions) else f"{name} ({listed(expressions)})"


def contrast_section(contrast: Contrast | FContrast, expressions: Sequence[str]) -> dict[str, Any]:
    """The section of a report about a contrast: how many units have p < .05, and the table of the largest.

    Args:
        contrast: The tested contrast.
        expressions: The contrasts over columns; several for an F test.
    """
    p = contrast.p.values
    tested = int(np.isfinite(p).sum())
    # a share .05 of the units tested has p < .05 where nothing differs
    below = int((p < 0.05).sum())
    what = "" if contrast.name == ", ".join(expressions) else f"It is {listed(expressions)}. "
    text = (
        f"{contrast!r}.\n\n{what}{LEVEL_IN_WORDS[contrast.level]} Of {tested:,} units {below:,} have p < .05, "
        f"uncorrected, where chance alone gives about {0.05 * tested:,.0f}. The table lists the {TOP_UNITS} units "
        "of largest |z|."
    )
    table = contrast.to_dataframe().iloc[order_by_magnitude(contrast.z)]
    return {"title": f"Contrast {contrast.name}", "text": text, "origin": contrast.z.provenance, "table": table}


def tested_in_words(contrast: Contrast | FContrast, expressions: Sequence[str], statistic: str) -> str:
    """A sentence for a paper: which contrasts were tested, in which runs, at which level, under which noise.

    Args:
        contrast: The tested contrast.
        expressions: The contrasts over columns; several for an F test.
        statistic: Name of the statistic, ``"t"`` or ``"F"``.
    """
    left_out = [f"run {run} ({why})" for run, why in contrast.skipped.items()]
    without = f"; left out: {', '.join(left_out)}" if left_out else ""
    noise = contrast.provenance.get("noise")
    many = str(contrast.provenance.get("replicates", "blocks"))
    level = _LEVEL_FOR_PAPERS[contrast.level].format(replicate=many.removesuffix("s"), replicates=many)
    named = named_in_words(expressions, contrast.name)
    return (
        f"The contrast {named} was tested ({statistic}, {contrast.dof:g} degrees of freedom, "
        f"runs {listed(contrast.runs)}{without}) at the {contrast.level} level: {level}; "
        f"noise: {NOISE_IN_WORDS.get(str(noise), noise or NOT_RECORDED)}. "
        "p of single units is uncorrected."
    )
