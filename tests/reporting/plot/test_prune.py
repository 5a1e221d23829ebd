"""Before and after pruning: sizes are the report's, scores stand over chance, halves of a comparison are refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import tl_fbn as fbn
from tl_fbn.reporting import plot as figures
from tl_fbn.reporting.plot import _prune as prunings

pytest.importorskip("plotly")

SPACE, HEADS = fbn.UnitSpace("mlp.neurons", (10, 10), model="<b>m</b>"), fbn.UnitSpace("attn.heads", (4, 4))


def report(heads: bool = False) -> fbn.pruning.PruneReport:
    kept = fbn.Network.from_indices(SPACE, [0, 1, 12], name="kept")
    of_heads = fbn.Network.from_indices(HEADS, [0, 4, 5], name="heads") if heads else None
    return fbn.pruning.PruneReport(kept, of_heads, 1000, 400, 1e-6)


def scores(*values: float) -> pd.DataFrame:
    return pd.DataFrame({"task": ["sort", "add"], "exact_match": values, "log_likelihood": -0.5, "chance": 0.1})


def test_layers_and_parameters() -> None:
    figure = figures.prune(report())
    before, after, whole, left = figure.data
    assert (list(before.y), list(after.y)) == ([10, 10], [2, 1])
    assert (list(whole.x), list(left.x)) == ([100], [40])
    assert figure.layout.title.text == "&lt;b&gt;m&lt;/b&gt; pruned: 1,000 to 400 parameters (-60.0%)"
    assert list(figures.prune(report(heads=True)).data[3].y) == [1, 2]


def test_scores_and_time_stand_beside() -> None:
    figure = figures.prune(report(), before=scores(1.0, 0.9), after=scores(0.5, 0.1), seconds=(2.0, 0.5))
    traces = {trace.name: trace for trace in figure.data}
    assert list(traces["score before"].x) == [100, 90] and list(traces["score after"].x) == [50, 10]
    assert list(traces["chance"].x) == [10, 10]
    shares = [list(trace.x) for trace in figure.data if trace.orientation == "h"]
    assert shares == [[100, 100], [40, 25]]
    table = prunings.prune_table(report(), before=scores(1.0, 0.9), after=scores(0.5, 0.1), seconds=(2.0, 0.5))
    assert table["what"].tolist() == ["neurons", "parameters", "time", "score", "score"]
    assert table["after"].tolist() == [3, 400, 0.5, 0.5, 0.1]


def test_tasks_may_come_in_another_order() -> None:
    table = prunings.prune_table(report(), before=scores(1.0, 0.9), after=scores(0.5, 0.1).iloc[::-1])
    found = table[table["what"] == "score"]
    assert found["name"].tolist() == ["sort", "add"]
    assert (found["before"].tolist(), found["after"].tolist()) == ([1.0, 0.9], [0.5, 0.1])


def test_plain_text_is_scored_in_nats() -> None:
    table = prunings.prune_table(report(), before=scores(np.nan, 1.0), after=scores(np.nan, 1.0))
    assert table["unit"].tolist()[-1] == "log_likelihood" and np.isnan(table["chance"]).all()


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"give battery\.evaluate of both"):
        figures.prune(report(), before=scores(1, 1))
    with pytest.raises(ValueError, match=r"before has sort, add, after sort$"):
        figures.prune(report(), before=scores(1, 1), after=scores(1, 1).iloc[:1])
    with pytest.raises(ValueError, match="before has sort, add, after sort, copy"):
        figures.prune(report(), before=scores(1, 1), after=scores(1, 1).replace({"task": {"add": "copy"}}))
    with pytest.raises(ValueError, match="two times above 0"):
        figures.prune(report(), seconds=(1.0, 0.0))
    with pytest.raises(TypeError, match=r"small\.pruned"):
        figures.prune(3)
