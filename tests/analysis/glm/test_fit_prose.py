"""What a fit says of itself, from designs whose columns are known."""

from __future__ import annotations

import tl_fbn as fbn
from tests.helpers.contrasts import recorded
from tl_fbn.analysis.glm.fit_prose import fit_in_words, fit_sections


def test_conditions_and_confounds_are_told_apart() -> None:
    recording = recorded(n_runs=2)
    said = fit_in_words(fbn.fit_glm(recording, drift="polynomial", degree=2, progress=False))
    assert "with the regressors a, b and c and the confounds 2 slow drift terms was fitted to every unit" in said
    assert "run by run (2 runs, 240 rows)" in said
    one = fit_in_words(fbn.fit_glm(recording, drift="polynomial", degree=1, progress=False))
    assert "the confounds 1 slow drift term was" in one


def test_sections_are_the_runs_and_the_design_of_the_first() -> None:
    fit = fbn.fit_glm(recorded(n_runs=2), progress=False)
    runs, design = fit_sections(fit)
    assert runs["title"] == "GLM fit" and len(runs["table"]) == 2
    assert design["title"] == "Design" and design["picture"][0] == "design_matrix"
    assert design["picture"][1] is fit.designs[0] and list(design["table"]["column"]) == list(fit.designs[0].columns)
