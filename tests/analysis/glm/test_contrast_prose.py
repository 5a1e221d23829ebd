"""What a contrast says of itself: which test it was, what chance gives, and nothing that is not recorded."""

from __future__ import annotations

import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers.contrasts import PAIR, recorded
from tl_fbn.analysis.glm import contrast_prose as prose


@pytest.mark.parametrize("level", ["block", "token", "run"])
def test_a_section_counts_units_and_lists_the_largest(level: str) -> None:
    found = fbn.fit_glm(recorded(4, 60)).contrast("a - b", level=level)  # type: ignore[arg-type]
    section = prose.contrast_section(found, "a - b")
    assert section["title"] == "Contrast a - b" and prose.LEVEL_IN_WORDS[level] in section["text"]
    below = int((found.p.values < 0.05).sum())
    assert f"Of 60 units {below} have p < .05, uncorrected, where chance alone gives about 3." in section["text"]
    largest = np.argsort(-np.abs(found.z.values), kind="stable")[:20]
    assert section["table"]["unit"].tolist() == largest.tolist()


def test_a_sentence_says_statistic_level_and_noise() -> None:
    fit = fbn.fit_glm(recorded(3))
    one = prose.tested_in_words(fit.contrast("a - b"), ["a - b"], "t")
    assert one.startswith("The contrast a - b was tested (t, ") and "runs 0, 1 and 2) at the block level: " in one
    assert "one estimate a block after confounds, tested over blocks" in one
    assert "not recorded" not in one and one.endswith("p of single units is uncorrected.")
    several = fit.contrast(PAIR, level="token")
    said = prose.tested_in_words(several, several.expressions, "F")
    assert said.startswith(f"The contrast a - b and b - c was tested (F, {several.dof:g} degrees of freedom")
    assert "tested over rows, so that it speaks about these prompts only" in said
