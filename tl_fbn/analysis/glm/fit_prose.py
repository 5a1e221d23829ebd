"""What a fitted GLM says of itself: its sentence for a paper, and its sections of a report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from tl_fbn.analysis.glm.design_matrix import is_nuisance
from tl_fbn.analysis.glm.efficiency import collinearity_table
from tl_fbn.analysis.glm.first_tokens import FIRST_TOKEN
from tl_fbn.analysis.glm.run_fit import NOISE_IN_WORDS
from tl_fbn.units.prose import listed, space_in_words

if TYPE_CHECKING:
    from tl_fbn.analysis.glm.fit import GLMFit


def fit_in_words(fit: GLMFit) -> str:
    """A sentence for a paper: regressors, confounds, units, runs, rows and noise.

    Args:
        fit: The fitted model.
    """
    # by name, since a fit does not keep which columns the user asked about
    nuisance = [name for name in fit.columns if is_nuisance(name)]
    regressors = [name for name in fit.columns if name not in nuisance]
    drift = [name for name in nuisance if name.startswith("drift_")]
    others = [name for name in nuisance if name not in drift]
    if drift:
        others.append(f"{len(drift)} slow drift term{'s' if len(drift) > 1 else ''}")
    rows = sum(run.n_rows for run in fit.runs)
    first = " Means of blocks are without first tokens, which have a column." if FIRST_TOKEN in nuisance else ""
    return (
        f"A general linear model with the regressors {listed(regressors)} and the confounds {listed(others)} "
        f"was fitted to every unit of {space_in_words(fit.space)}, run by run ({len(fit.runs)} runs, "
        f"{rows:,} rows), with {NOISE_IN_WORDS.get(fit.noise, fit.noise)}.{first}"
    )


def fit_sections(fit: GLMFit) -> list[dict[str, Any]]:
    """The sections of a report about a fit: its runs, and the design of the first.

    Args:
        fit: The fitted model.
    """
    about = (
        "The model of every row of run 0. A column whose variance inflation factor (VIF) is high is hard to tell "
        "from the others; boxcars of all conditions imply the constant, which costs their differences nothing."
    )
    text = f"{fit!r}. A run is fitted by itself; contrasts are means over runs."
    sections: list[dict[str, Any]] = [
        {"title": "GLM fit", "text": text, "origin": fit.provenance, "table": fit.to_dataframe()}
    ]
    sections += [
        {"title": "Design", "text": about, "picture": ("design_matrix", design), "table": collinearity_table(design)}
        for design in fit.designs[:1]
    ]
    return sections


def table_of_runs(fit: GLMFit) -> pd.DataFrame:
    """One line a run: rows, rank of its design, degrees of freedom, blocks, mean rho over units, columns.

    Args:
        fit: The fitted model.
    """
    lines = [
        (i, r.n_rows, r.rank, r.dof, len(r.block_means), float(r.rho.mean()), ", ".join(r.columns))
        for i, r in enumerate(fit.runs)
    ]
    return pd.DataFrame(lines, columns=["run", "rows", "rank", "dof", "blocks", "mean rho", "columns"])
