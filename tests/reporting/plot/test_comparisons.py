"""Pictures of networks, tasks and methods beside each other: numbers, stars and chance."""

from __future__ import annotations

import inspect

import numpy as np
import pandas as pd
import pytest

from tl_fbn.analysis.networks.concordance import concordance as concordance_of
from tl_fbn.analysis.networks.connectivity import Connectivity
from tl_fbn.analysis.networks.identification import Identification
from tl_fbn.analysis.networks.recurrence import Recurrence
from tl_fbn.reporting.plot._comparisons import concordance, confusion_matrix, connectivity, recurrence, recurrence_table
from tl_fbn.units import UnitMap, UnitSpace

pytest.importorskip("plotly")

HOSTILE = "<script>x</script>"


def counted() -> Recurrence:
    """One network that comes back in 9 of 12 samples, one as often as by chance."""
    null = np.column_stack([np.arange(39) % 3, np.arange(39) % 3])
    return Recurrence(
        ("N00", HOSTILE), np.array([9, 1]), np.array([9, 1]), 12, null, 0.2, "dual", 0, {"samples": "run"}
    )


def test_counts_stand_beside_shuffled_templates() -> None:
    bars, chance = recurrence(counted()).data
    assert list(bars.y) == [9, 1] and list(bars.text) == ["*", ""]
    assert list(chance.y) == [1, 1] and list(chance.error_y.array) == [1, 1]  # up to 2
    figure = recurrence(counted())
    assert figure.layout.title.text.startswith("1 of 2 networks come back more often than by chance")
    assert "at most 0.1)" in figure.layout.title.text
    assert figure.layout.yaxis.title.text == "maps of 12 runs"
    assert bars.customdata[1].startswith("&lt;script") and "p 0.675" in bars.customdata[1]
    table = recurrence_table(counted())
    assert table["expected_95"].tolist() == [2, 2] and table["p"][0] == 1 / 40


def told() -> Identification:
    return Identification(("sort", HOSTILE, "never"), np.array([[3, 1, 0], [1, 1, 0], [0, 0, 0]]), "dice", 0.21, 999)


def test_a_confusion_matrix_shows_counts_coloured_by_share() -> None:
    figure = confusion_matrix(told())
    heat = figure.data[0]
    np.testing.assert_allclose(np.asarray(heat.z)[:2], [[75, 25, 0], [50, 50, 0]])
    assert np.isnan(np.asarray(heat.z)[2]).all()  # no run, no share
    assert [list(line) for line in heat.text] == [["3", "1", "0"], ["1", "1", "0"], ["", "", ""]]
    low, high = told().interval
    assert figure.layout.title.text == (
        f"67% of 6 runs told right by dice (95 % interval {low:.0%} to {high:.0%}; chance 33%, p 0.21)"
    )
    assert heat.customdata[0][1] == "1 of 4 runs of sort<br>told to be &lt;script&gt;x&lt;/script&gt;"
    assert figure.layout.yaxis.ticktext[0] == "sort (4)"


def test_correlations_that_may_be_zero_stand_in_parentheses() -> None:
    r = np.array([[1.0, 0.5, -0.1], [0.5, 1.0, 0.3], [-0.1, 0.3, 1.0]])
    figure = connectivity(Connectivity(("a", "b", "c"), "partial", r, r - 0.2, r + 0.2))
    heat = figure.data[0]
    assert [list(line) for line in heat.text] == [
        ["", "0.50", "(-0.10)"],
        ["0.50", "", "0.30"],
        ["(-0.10)", "0.30", ""],
    ]
    assert figure.layout.title.text.startswith(
        "Connectivity (partial): 2 of 3 intervals leave out 0, by chance about 0.15"
    )
    assert heat.customdata[0][2] == "a and c<br>r -0.100, 95 % interval -0.300 to 0.100<br>includes 0"
    assert (heat.zmin, heat.zmax) == (-1, 1)


def test_a_course_that_never_varies_has_no_correlation() -> None:
    r = np.array([[1.0, np.nan], [np.nan, 1.0]])
    figure = connectivity(Connectivity(("a", "b"), "pearson", r, r, r))
    assert [list(line) for line in figure.data[0].text] == [["", ""], ["", ""]]


def test_concordance_draws_what_concordance_found() -> None:
    space = UnitSpace("mlp.neurons", (200, 200))
    rng = np.random.default_rng(0)
    values = rng.standard_normal(400)
    maps = {
        "glm": UnitMap(space, values, "t"),
        HOSTILE: UnitMap(space, -values + 0.1 * rng.standard_normal(400), "t"),
        "noise": UnitMap(space, rng.standard_normal(400), "attribution"),
    }
    found = concordance_of(maps, seed=0, n_null=99)
    table, figure = found.table, concordance(found)
    r, dice = figure.data
    assert (r.zmin, dice.zmin) == (-1, 0)
    assert r.z[0][1] == r.z[1][0] == table["correlation"][0] < -0.9 and r.text[0][1] == "-0.99*"
    assert dice.z[0][1] == table["dice"][0] and dice.text[0][1].endswith("*")
    assert not r.text[0][2].endswith("*") and np.isnan(r.z[0][0])
    assert f"by chance {table['expected'][0]:.3f}" in dice.customdata[0][1]
    assert "&lt;script" in r.customdata[0][1]
    assert figure.layout.title.text.startswith("Concordance of 3 maps; by chance Dice 0.0")


def test_a_table_of_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks p_correlation"):
        concordance(
            pd.DataFrame({"a": ["x"], "b": ["y"], "correlation": 1.0, "dice": 1.0, "expected": 0.1, "p_dice": 1})
        )
    with pytest.raises(ValueError, match="without lines"):
        inspect.unwrap(concordance)(
            pd.DataFrame(columns=["a", "b", "correlation", "p_correlation", "dice", "expected", "p_dice"])
        )
