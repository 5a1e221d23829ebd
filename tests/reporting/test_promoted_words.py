"""Words beside units on pages: from a model, or from a table that was made with one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import tl_fbn as fbn
from tl_fbn.reporting.promoted_words import N_WORDS, PromotedWords, has_words, words_of_table


@pytest.fixture
def network(demo_model):
    return fbn.Network.from_indices(fbn.Scanner(demo_model).space, [3, 500, 1000], name="n")


@pytest.fixture
def promoted(network, demo_model):
    return fbn.networks.promoted_tokens(network, demo_model, n_tokens=N_WORDS)


def test_a_table_of_words_by_unit(promoted):
    words = words_of_table(promoted)
    assert words == {(0, 3): promoted.promotes[1], (1, 116): promoted.promotes[2], (2, 232): promoted.promotes[3]}
    with pytest.raises(fbn.InputError, match=r"promoted= lacks the column unit, promotes"):
        words_of_table(promoted[["layer"]])
    for wrong in ("x", 1.5, None):
        with pytest.raises(fbn.InputError, match="layer and unit of promoted= hold numbers from 0"):
            words_of_table(
                pd.DataFrame({"layer": [0, wrong], "unit": [1, wrong], "promotes": ["a", "b"]}, dtype=object)
            )
    with pytest.raises(TypeError, match=r"takes the table of fbn\.networks\.promoted_tokens"):
        words_of_table({"layer": [0]})


def test_words_of_a_model_and_of_a_table_are_the_same(network, promoted, demo_model):
    values = fbn.UnitMap(network.space, np.arange(1152.0) * network.members, "t")
    table = pd.DataFrame({"layer": [2, 1, 0], "unit": [232, 116, 4], "t": [1.0, 2.0, 3.0]})
    model = PromotedWords(demo_model, None).beside(table, values)
    given = PromotedWords(None, promoted).beside(table, values)
    assert model is not None and given is not None
    assert model.promotes.tolist()[:2] == [promoted.promotes[3], promoted.promotes[2]] and model.promotes[2]
    assert given.promotes.tolist() == [promoted.promotes[3], promoted.promotes[2], ""]
    cut = PromotedWords(demo_model, None, 1).beside(table, values)
    assert cut is not None and cut.promotes.tolist() == [promoted.promotes[3], "", ""]


def test_tables_of_other_things_stay_as_they_are(network, promoted, demo_model):
    words = PromotedWords(demo_model, promoted)
    other = pd.DataFrame({"task": ["sort"]})
    assert words.beside(other, network) is other
    assert words.beside(None, network) is None
    units = pd.DataFrame({"layer": [0], "unit": [3]})
    assert words.beside(units, "no result") is units
    heads = fbn.Scanner(demo_model, site="attn.heads").space
    assert not has_words(heads)
    assert PromotedWords(demo_model, None).beside(units, fbn.UnitMap(heads, np.zeros(heads.n_units), "t")) is units
    assert PromotedWords(None, None).units_of(network) is None


def test_pages_show_words_beside_units_and_networks(network, promoted, demo_model):
    atlas = fbn.Atlas.from_networks({"n": network, "none": fbn.Network.from_indices(network.space, [])})
    values = fbn.UnitMap(network.space, np.arange(1152.0) * network.members, "t")
    sections = {one.title: one for one in fbn.Report("x", network, atlas, values, model=demo_model).sections()}
    listed = sections["What the units of n promote"].table
    assert listed is not None and listed.promotes.tolist() == promoted.promotes.tolist()[:0:-1]  # late layers first
    table = next(one.table for title, one in sections.items() if title.startswith("Atlas"))
    assert table is not None and table.promotes.tolist() == [promoted.promotes[0], ""]
    mapped = next(one for title, one in sections.items() if title.startswith("Map"))
    assert mapped.table is not None and mapped.table.promotes[0] == promoted.promotes[3]
    assert "What later layers do is left out." in mapped.text
    without = fbn.Report("x", network, values, promoted=promoted)
    assert "What the units of n promote" in [one.title for one in without.sections()]
    assert "What the units of n promote" in without.to_html()
    plain = fbn.Report("x", network, values).sections()
    assert all(one.table is None or "promotes" not in one.table for one in plain)
