"""The special-token question: means over tasks by hand, special beside as many random ones, isolated tasks counted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.helpers.figures import BOLD
from tl_fbn.reporting import plot as figures
from tl_fbn.reporting.plot import _token_ablation as ablations

pytest.importorskip("plotly")


def table() -> pd.DataFrame:
    """Two variants x three sets of tokens x two tasks; special loses .1 and .3, random .5 and .7, answer .9."""
    drops = {"answer": (0.9, 0.9), "special": (0.1, 0.3), "random": (0.5, 0.7)}
    lines = [
        (variant, tokens, task, drop, drop > 0.4)
        for variant in ("row_sum", BOLD)
        for tokens, pair in drops.items()
        for task, drop in zip(("sort", "add"), pair, strict=True)
    ]
    made = pd.DataFrame(lines, columns=["variant", "tokens", "task", "drop", "isolated"])
    made = made.assign(low=made["drop"] - 0.0392, high=made["drop"] + 0.0392, baseline=1.0)
    return made.assign(control_median=0.02, control_p95=[0.04, 0.08] * 6)


def test_means_over_tasks_by_hand() -> None:
    means = ablations.tokens_table(table())
    assert means["tokens"].tolist()[:3] == ["special", "random", "answer"]
    first = means.iloc[0]
    assert (first["drop"], first["isolated"], first["tasks"]) == (pytest.approx(0.2), 0, 2)
    half = 1.96 * np.sqrt(2) * 0.02 / 2  # two tasks with a standard error of .02 each
    assert (first["low"], first["high"]) == (pytest.approx(0.2 - half), pytest.approx(0.2 + half))
    assert first["control_p95"] == pytest.approx(0.06) and means["isolated"].tolist()[:3] == [0, 2, 2]


def test_special_stands_beside_random_with_chance_and_counts() -> None:
    figure = figures.special_tokens(table())
    special = next(trace for trace in figure.data if trace.name.startswith("special tokens"))
    others = next(trace for trace in figure.data if trace.name.startswith("other tokens"))
    assert (list(special.x), list(special.y)) == ([pytest.approx(20)], [0])
    assert (list(others.x), list(others.y)) == (pytest.approx([60, 90]), [1, 2])
    assert list(figure.layout.yaxis.ticktext) == ["special", "as many random", "answer"]
    chance = figure.data[0]
    assert chance.base[0] + chance.x[0] == pytest.approx(6)
    dots = figure.data[1]
    assert [colour == "white" for colour in dots.marker.color] == [False, False, True, True, False, False]
    notes = [note.text for note in figure.layout.annotations]
    assert notes.count("0 of 2") == 2 and notes.count("2 of 2") == 4
    assert BOLD not in str(figure.to_json())


def test_log_likelihood_is_in_nats() -> None:
    figure = figures.special_tokens(table().assign(baseline=-1.2))
    assert figure.layout.xaxis.title.text == "own task lost (nats)"
    assert figure.data[2].x[0] == pytest.approx(0.2)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="lacks isolated"):
        figures.special_tokens(table().drop(columns="isolated"))
    with pytest.raises(ValueError, match="occurs again"):
        figures.special_tokens(pd.concat([table(), table()]))
