"""What a report and a paper say of a contrast: which test it was, what it speaks about, and how much chance alone gives."""

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
    "block": "one estimate a {replicate} after confounds, tested over {replicates}, so that it speaks about such prompts",
    "token": "tested over rows, so that it speaks about these prompts only",
    "run": "tested over runs",
}


def contrast_section(contrast: Contrast | FContrast, asked: str) -> dict[str, Any]:
    """The section of a report about a contrast: how many units pass by chance alone, and the largest."""
    p = contrast.p.values
    tested = int(np.isfinite(p).sum())
    below = int((p < 0.05).sum())
    text = (
        f"{contrast!r}.\n\n{LEVEL_IN_WORDS[contrast.level]} Of {tested:,} units {below:,} have p < .05, "
        f"uncorrected, where chance alone gives about {0.05 * tested:,.0f}. The table lists the {TOP_UNITS} units of largest |z|."
    )
    table = contrast.to_dataframe().iloc[order_by_magnitude(contrast.z)]
    return {"title": f"Contrast {asked}", "text": text, "origin": contrast.z.provenance, "table": table}


def tested_in_words(contrast: Contrast | FContrast, expressions: Sequence[str], statistic: str) -> str:
    """A contrast in a sentence for a paper."""
    left_out = [f"run {run} ({why})" for run, why in contrast.skipped.items()]
    without = f"; left out: {', '.join(left_out)}" if left_out else ""
    noise = contrast.provenance.get("noise")
    many = str(contrast.provenance.get("replicates", "blocks"))
    level = _LEVEL_FOR_PAPERS[contrast.level].format(replicate=many.removesuffix("s"), replicates=many)
    return (
        f"The contrast {listed(expressions)} was tested ({statistic}, {contrast.dof:g} degrees of freedom, runs {listed(contrast.runs)}{without}) at the "
        f"{contrast.level} level: {level}; noise: {NOISE_IN_WORDS.get(str(noise), noise or NOT_RECORDED)}. "
        "p of single units is uncorrected."
    )
