"""A small result of every kind."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

import tl_fbn as fbn
from tests.helpers.figures import BOLD
from tests.helpers.units import TOY
from tl_fbn.analysis.glm.contrast import Contrast
from tl_fbn.analysis.networks.connectivity import Connectivity
from tl_fbn.analysis.networks.fingerprint import Fingerprint
from tl_fbn.analysis.networks.identification import Identification
from tl_fbn.analysis.networks.inter_model_correlation import InterModelCorrelation
from tl_fbn.analysis.networks.recurrence import Recurrence
from tl_fbn.intervention.pruning.prune_report import PruneReport
from tl_fbn.intervention.studies.collapse_results import Collapse
from tl_fbn.intervention.studies.dose_response_results import DoseResponse
from tl_fbn.intervention.studies.lesion_results import LesionStudy
from tl_fbn.intervention.studies.null_check_results import NullCheck
from tl_fbn.intervention.studies.score_validation import Validation
from tl_fbn.intervention.studies.second_level import SecondLevel
from tl_fbn.intervention.studies.shapley_results import ShapleyValues
from tl_fbn.papers import PaperStudy
from tl_fbn.papers.claims import Claim
from tl_fbn.papers.paper_study import PaperTable, study_of
from tl_fbn.units import Network


def lesions(**columns: object) -> pd.DataFrame:
    """A lesion study of two networks and two tasks: own drops .5 and .25, others .01."""
    table = pd.DataFrame(
        [
            ("sort", "sort", 0.5, 0.009),
            ("sort", "add", 0.01, 0.6),
            ("add", "sort", 0.01, 0.05),
            ("add", "add", 0.25, 0.049),
        ],
        columns=["network", "task", "drop", "p"],
    )
    table = table.assign(metric="exact_match", baseline=0.9, control_median=0.02, control_p95=0.08)
    return table.assign(lesioned=table["baseline"] - table["drop"], **columns)


class Study:
    """Somebody else's result, which names the picture it wants."""

    _picture_ = "lesion_matrix"

    def __init__(self, table: pd.DataFrame) -> None:
        self.table = table

    def to_dataframe(self) -> pd.DataFrame:
        return self.table


RNG = np.random.default_rng(0)


def dose() -> DoseResponse:
    about = {"seed": 0, "n_bootstrap": 20, "method": "zero", "positions": "all", "discovery": "disjoint"}
    items = RNG.random((3, 8)).round()
    return DoseResponse(
        "sort",
        "gain",
        np.array([0.0, 1.0, 2.0]),
        np.full(3, 4),
        ("a", "b"),
        np.array([4, 4]),
        "exact_match",
        np.ones(8),
        items,
        RNG.random((5, 3, 2)),
        about,
    )


def study() -> LesionStudy:
    tasks, networks = ("sort", "add"), ("sort", "add")
    base, cut = np.ones((8, 2)), RNG.random((2, 8, 2)).round()
    return LesionStudy(
        networks=networks,
        tasks=tasks,
        counts=np.array([4, 4]),
        baseline_items=base,
        lesioned_items=cut,
        control_scores={"random": RNG.random((2, 5, 2, 2))},
        control_items={"random": RNG.random((2, 8, 2))},
        rivals={},
        monitors=np.zeros((3, 2, 3)),
        metric="exact_match",
        sizes=np.array([[2, 0, 2], [1, 0, 1]]),
        discovery={"sort": "disjoint", "add": "discovery prompts unknown"},
        provenance={"seed": 3, "n_bootstrap": 20, "method": "mean", "positions": "last", "n_controls": 5},
    )


def shapley_values() -> ShapleyValues:
    """All four sets of two networks, and two tasks of four items."""
    return ShapleyValues(
        ("N0", "N1"),
        ("a", "b"),
        np.array([4, 4]),
        "exact_match",
        np.array([[False, False], [True, False], [False, True], [True, True]]),
        np.random.default_rng(0).random((4, 8)).round(),
        None,
        {"seed": 1, "n_bootstrap": 20, "method": "zero", "positions": "all", "discovery": "disjoint"},
    )


def inter_model_correlation() -> InterModelCorrelation:
    """Three models, of which the third does not follow the first network of the others."""
    pairs = np.array([[[1.0, 0.8, 0.1], [0.8, 1.0, 0.0], [0.1, 0.0, 1.0]], np.full((3, 3), 0.5) + np.eye(3) / 2])
    null = np.random.default_rng(1).normal(0, 0.1, (39, 4, 2))
    low, high = np.full((4, 2), 0.05), np.full((4, 2), 0.9)
    about = {"seed": 1, "null": "texts", "interval": "jackknife", "blocks": "text", "left_out": ["N2"]}
    return InterModelCorrelation(("A", BOLD, "C"), ("N0", "N1"), pairs, low, high, null, 12, 150, about)


def null_check() -> NullCheck:
    """Two numbers, of which the second does not stand, and one map."""
    values = np.array([[[0.1, 1.0], [0.2, np.nan]], [[0.9, 0.8], [0.8, 0.7]]])
    agreements = np.array([[[0.1], [-0.2]], [[0.9], [0.95]]])
    nulls = ("untrained", "reordered")
    about = {"seed": 0, "analysis": "sort_units", "model": "toy", "n": 2, "seconds": 1.0}
    return NullCheck(("own", "other"), np.array([0.9, 0.8]), nulls, values, ("t",), agreements, about)


def of_models() -> SecondLevel:
    """Two effects in three models, the first alike in all."""
    effects = np.array([[0.5, 0.0], [0.6, 0.4], [0.55, -0.2]])
    depths, errors = np.array([[0.5], [0.6], [0.4]]), np.full((3, 1), 0.01)
    cells = ("sort", "sort"), ("sort", "add")
    about = {"left_out": []}
    measure = "drop of exact_match under lesions"
    return SecondLevel(
        ("A", "B", "C"), *cells, effects, np.full((3, 2), 0.01), measure, ("sort",), depths, errors, about
    )


def collapse() -> Collapse:
    """Three units of four texts, a pair and a group; unit 3 and both sets are called."""
    spread = np.array([[0.0, 0.02, -0.01, -0.01]])
    return Collapse(
        space=TOY,
        sets=np.array([[0, -1, -1], [1, -1, -1], [3, -1, -1], [0, 1, -1], [0, 1, TOY.index(2, 2)]]),
        items=np.array([[0.05], [0.02], [0.5], [2.0], [3.0]]) * (1 + 8 * spread),
        apart=np.array([0.0, 0.0, 0.0, 0.07, 2.2]),
        found=np.array([False, False, True, True, True]),
        tokens=np.array([10, 30, 10, 10]),
        ranks=pd.DataFrame(
            {"layer": [0, 0, 0], "unit": [0, 1, 3], "written": [1, 2, 3], "gradient": [3, 2, 1], "half": [1, 2, 3]}
        ),
        random=np.linspace(-0.01, 0.06, 19),
        partners=np.linspace(-0.01, 0.02, 19),
        additions=np.linspace(-0.1, 0.05, 19),
        least=0.1,
        baseline=3.0,
        provenance={"seed": 0, "n_bootstrap": 200, "texts": 4, "tokens": 60, "max_tokens": 31, "prompts": ["a"]},
    )


def contrast(**about: Any) -> Contrast:
    return Contrast(TOY, "sort - rest", "block", np.arange(10.0) - 4, np.ones(10), 20.0, (0, 1), {}, about)


def results() -> list[Any]:
    null = RNG.integers(0, 3, (19, 2))
    matrix = np.array([[1.0, 0.3], [0.3, 1.0]])
    kept = Network.from_indices(TOY, [0, 1, 4])
    return [
        contrast(noise="ar1"),
        dose(),
        study(),
        Recurrence(("N0", "N1"), np.array([5, 1]), np.array([4, 1]), 6, null, 0.2, "dual", 1, {"seed": 1}),
        Connectivity(("N0", "N1"), "pearson", matrix, matrix - 0.1, matrix + 0.1, {"seed": 1}),
        Identification(("sort", "add"), np.array([[3, 1], [0, 4]]), "correlation", 0.02, 100),
        Fingerprint((("A", "B"), ("A", "B")), matrix, RNG.random(9), 5, {"seed": 1}),
        PruneReport(kept, None, 1000, 800, 1e-6, provenance={"protected": []}),
        shapley_values(),
        inter_model_correlation(),
        null_check(),
        of_models(),
        collapse(),
        Validation(
            space=TOY,
            task="sort",
            names=("t",),
            scores=np.arange(10.0)[None],
            effects=RNG.random(10),
            groups=RNG.integers(0, 10, (5, 3)),
            group_effects=RNG.random(5),
            tops=np.arange(10)[None] < 3,
            top_effects=RNG.random(1),
            controls=RNG.random((1, 5)),
            provenance={
                "metric": "log_likelihood",
                "method": "zero",
                "seed": 0,
                "baseline": 1.0,
                "n_items": 4,
                "n_null": 9,
                "n_recall": 1,
            },
        ),
    ]


def controlled_study(
    tasks: tuple[str, ...] = ("sort", "add", BOLD), n_controls: int = 120, **changed: Any
) -> fbn.studies.LesionStudy:
    """20 items a task, all right at first. A network costs its own task 80 %, but the last one nothing; controls cost
    up to 20 %.
    """
    k, rng = len(tasks), np.random.default_rng(0)
    items = np.ones((20 * k, 2))
    lesioned = np.ones((k, 20 * k, 2))
    for i in range(k - 1):
        lesioned[i, 20 * i : 20 * i + 16] = 0.0
    controls = np.round(rng.uniform(0.8, 1.0, (k, n_controls, k, 2)), 2)
    spread = np.repeat(controls.mean(1), 20, axis=1)
    made = fbn.studies.LesionStudy(
        networks=tasks,
        tasks=tasks,
        counts=np.full(k, 20),
        baseline_items=items,
        lesioned_items=lesioned,
        control_scores={"random": controls, "activity": controls[:, :50] - 0.1},
        control_items={"random": spread, "activity": spread},
        rivals={},
        monitors=np.zeros((1 + k, k, 3)),
        metric="exact_match",
        sizes=np.full((k, 2), 5),
        discovery=dict.fromkeys(tasks, "disjoint"),
        provenance={"seed": 0, "n_bootstrap": 200},
    )
    return replace(made, **changed)


def paper_study() -> PaperStudy:
    """A study of a paper with two claims, a square, lines and a plain table."""
    space = fbn.UnitSpace("mlp.neurons", (4, 4), model="toy")
    claims = [
        Claim("It is so", "half of it", "share", 0.5, "holds", "Half.", 0.1, "chance", 0.4, 0.6, 0.01, "9 tasks"),
        Claim("It is more", "no figure known", "nats", -1.0, "does not hold", "It is less."),
    ]
    square = pd.DataFrame({"network": ["a", "b"], "a": [1.0, -0.5], "b": [0.5, 1.0]})
    lines = pd.DataFrame({"masks": ["x", "x", "y"], "share": [0.1, 0.2, 0.1], "exact": [1.0, 0.5, 0.7]})
    tables = {
        "square": PaperTable("A square", "What it is.", square, "matrix"),
        "lines": PaperTable("Lines", "What they are.", lines, "curves"),
        "plain": PaperTable("Numbers", "What they are.", lines),
    }
    results = {"network": fbn.Network.from_indices(space, [1, 5])}
    about = {"model": "toy", "seed": 0, "quick": False}
    return study_of(fbn.papers.s1.settings, claims, tables, results, about)
