"""What a search for collapse neurons says: costs by tokens, chance, sets in words, and the network that is excluded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

import tl_fbn as fbn
from tests.helpers.results import collapse


def test_every_token_counts_once():
    found = collapse()
    by_hand = (found.items * found.tokens).sum(1) / found.tokens.sum()
    np.testing.assert_allclose(found.costs, by_hand)
    table = found.to_dataframe()
    assert table["found"].tolist() == [True, True, True, False, False]  # called first, the costliest first
    assert table["units"].tolist() == ["0.0 + 0.1 + 2.2", "0.0 + 0.1", "0.3", "0.0", "0.1"]
    assert table["cost"].tolist() == pytest.approx([by_hand[4], by_hand[3], by_hand[2], by_hand[0], by_hand[1]])
    assert ((table["low"] < table["cost"]) & (table["cost"] < table["high"])).all()


def test_chance_is_that_of_the_random_units():
    found = collapse()
    assert found.threshold == 0.1
    assert replace(found, least=0.01).threshold == pytest.approx(0.06)  # the costliest random unit
    assert replace(found, partners=np.array([0.2])).threshold == 0.2
    assert found.false_positives == pytest.approx(stats.beta.ppf(0.95, 1, len(found.random)))
    table = found.to_dataframe().set_index("units")
    cost = table.loc["0.0", "cost"]
    assert table.loc["0.0", "p"] == (1 + (found.random >= cost).sum()) / (1 + len(found.random))
    assert table.loc["0.0 + 0.1", "p"] == 1 / (1 + len(found.partners))
    assert table.loc["0.0 + 0.1 + 2.2", "p"] == 1 / (1 + len(found.additions))


def test_the_network_holds_all_that_is_called_and_nothing_else():
    found = collapse()
    assert found.network.indices.tolist() == [0, 1, 3, found.space.index(2, 2)]
    assert found.network.provenance["method"] == "collapse_neurons" and found.network.provenance["prompts"] == ["a"]
    assert len(found.singles) == 1 and len(found.groups) == 2
    none = replace(found, found=np.zeros(5, dtype=bool))
    assert len(none.network) == 0 and "0 cost more than 0.1 nats a token alone" in repr(none)


def test_words_name_only_the_largest_groups_and_say_what_chance_is():
    found = collapse()
    assert repr(found).endswith("1 cost more than 0.1 nats a token alone, and together 0.0 + 0.1 + 2.2 (3.16)")
    (sentence,) = found._methods_()
    assert "19 random units of the same layers cost at most 0.06" in sentence and "at most 14.6 %" in sentence
    sections = found._report_sections_()
    assert sections[0]["picture"] == "collapse" and "not shown to be harmless" in sections[0]["text"]
    assert "<table" in found._repr_html_()


def test_it_is_saved_whole(tmp_path):
    found = collapse()
    found.save(tmp_path / "c.safetensors")
    again = fbn.load(tmp_path / "c.safetensors")
    assert again.to_dataframe().equals(found.to_dataframe()) and again.network == found.network
    assert again.ranks.equals(found.ranks) and again.additions.tolist() == found.additions.tolist()
