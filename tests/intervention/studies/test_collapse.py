"""Collapse neurons: all that are planted are found, alone or together, and random units are called as seldom as stated."""

from __future__ import annotations

import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers.models import tiny_model
from tests.helpers.planted import PLANTS, planted, unit_costs
from tl_fbn.intervention.studies.collapse import most_lesions, random_units


def flat(found, units) -> list[int]:
    return sorted(found.space.index(*unit) for unit in units)


def sets_called(found) -> list[list[int]]:
    """Flat indices of every set that is called."""
    return [sorted(unit for unit in one if unit >= 0) for one in found.sets[found.found].tolist()]


@pytest.mark.parametrize("name", PLANTS)
def test_all_planted_neurons_are_found_alone_or_together(name):
    model, texts = planted(PLANTS[name])
    found = fbn.collapse_neurons(model, texts, progress=False)
    units = flat(found, PLANTS[name])
    assert units in sets_called(found)
    table = found.to_dataframe().set_index("units")
    words = " + ".join("{}.{}".format(*found.space.locate(unit)) for unit in units)
    together = next(one for one in table.index if sorted(one.split(" + ")) == sorted(words.split(" + ")))
    assert table.loc[together, "cost"] > 1 and table.loc[together, "low"] > found.threshold
    if len(units) > 1:  # each can stand in for the others
        assert not any([unit] in sets_called(found) for unit in units)
        assert table.loc[together, "apart"] < 0.1 and table.loc[together, "p"] == pytest.approx(1 / 21)
    assert found.network.members[units].all() and len(found.network) <= 4
    assert not model.hook_dict["blocks.1.mlp.hook_post"].fwd_hooks


def test_a_large_constant_that_others_cancel_is_found():
    pair = [(0, 20), (0, 21)]
    model, texts = planted(PLANTS["one"], cancel=pair)
    found = fbn.collapse_neurons(model, texts, progress=False)
    called = sets_called(found)
    assert all([unit] in called for unit in flat(found, [*pair, (1, 7)]))
    assert flat(found, pair) not in called  # without both nothing is missing
    assert len(found.network) == 3


def test_every_unit_that_costs_more_than_the_threshold_is_called():
    """In a model without plants all units are lesioned by hand; what is called is what should be."""
    model = tiny_model(d_mlp=100)
    texts = [[int(first), *[15] * 9] for first in np.random.default_rng(0).integers(0, 50, 12)]
    found = fbn.collapse_neurons(model, texts, least=0.03, progress=False)
    costs = np.concatenate([unit_costs(model, texts, layer, range(100)) for layer in range(2)])
    called = [one[0] for one in sets_called(found) if len(one) == 1]
    assert len(called) > 5 and sorted(called) == np.flatnonzero(costs > found.threshold).tolist()
    alone = (found.sets >= 0).sum(1) == 1
    np.testing.assert_allclose(found.costs[alone], costs[found.sets[alone, 0]], atol=1e-5)
    np.testing.assert_allclose(found.random, costs[random_units_of(found)], atol=1e-5)


def random_units_of(found) -> list[int]:
    """The random units of a search with the default settings, those that were screened later left out."""
    candidates = found.ranks[["layer", "unit"]].head(40).itertuples(index=False)
    drawn = random_units(found.space, [found.space.index(*unit) for unit in candidates], 59, 0)
    shown = set(flat(found, found.ranks[["layer", "unit"]].itertuples(index=False)))
    return [unit for unit in drawn if unit not in shown]


@pytest.mark.slow
def test_of_a_thousand_random_units_no_more_are_called_than_stated():
    """Costs of all 1,000 units by hand; thresholds from the random units of 300 seeds, with no least cost."""
    model, texts = planted(PLANTS["pair"], d_mlp=500)
    costs = np.concatenate([unit_costs(model, texts, layer, range(500)) for layer in range(2)])
    space = fbn.Scanner(model).space
    candidates = [space.index(1, unit) for unit in range(0, 40, 2)] + list(range(20))
    shares = np.array(
        [
            (np.delete(costs, candidates) > costs[random_units(space, candidates, 59, seed)].max()).mean()
            for seed in range(300)
        ]
    )
    assert shares.mean() <= 1 / 60 + 3 * shares.std() / np.sqrt(300)
    assert (shares > 0.05).mean() <= 0.05 + 2.6 * np.sqrt(0.05 * 0.95 / 300)
    found = fbn.collapse_neurons(model, texts, progress=False)
    assert (costs > found.threshold).mean() <= 0.05


def test_random_units_are_of_the_candidates_layers_and_none_of_them():
    space = fbn.UnitSpace("mlp.neurons", (40, 40, 40))
    candidates = [3, 5, 7, 100]
    drawn = random_units(space, candidates, 40, 0)
    assert len(set(drawn)) == 40 and not set(drawn) & set(candidates)
    layers = np.bincount(space.layer_of[drawn], minlength=3)
    assert layers.tolist() == [30, 0, 10]  # three candidates of layer 0 to one of layer 2
    assert random_units(space, candidates, 40, 0) == drawn != random_units(space, candidates, 40, 1)
    assert random_units(space, candidates, 20, 0) == drawn[:20]
    assert len(set(random_units(space, candidates, 110, 0))) == 110  # more than those layers have


def test_settings_change_what_they_say_and_nothing_else():
    model, texts = planted(PLANTS["pair"])
    few = {"n_candidates": 8, "n_pairs": 3, "n_null": 19, "progress": False}
    first = fbn.collapse_neurons(model, texts, **few)
    again = fbn.collapse_neurons(model, texts, batch_tokens=60, **few)
    assert first.network == again.network
    np.testing.assert_allclose(first.items, again.items, atol=1e-4)
    short = fbn.collapse_neurons(model, texts * 3, n=10, max_tokens=7, least=2.0, largest=2, **few)
    assert short.tokens.tolist() == [6] * 10 and short.provenance["max_tokens"] == 7
    assert short.threshold == 2.0 and not short.found.any() and len(short.network) == 0
    assert (short.sets >= 0).sum(1).max() == 2 and not len(short.additions)


@pytest.mark.parametrize("name", ["pair of two layers", "three"])
def test_few_lesions_find_what_writes_most_too(name):
    model, texts = planted(PLANTS[name])
    few = {"n_candidates": 2, "n_pairs": 3, "n_null": 19, "progress": False}
    found = fbn.collapse_neurons(model, texts, **few)
    assert flat(found, PLANTS[name]) in sets_called(found)
    assert len(found.sets) + 19 + 2 * 7 < most_lesions(2, 3, 19, 4)
    alone = fbn.collapse_neurons(model, texts, largest=2, **few)
    assert alone.found.sum() == (name != "three") and not len(alone.additions)


def test_most_lesions_are_never_exceeded(monkeypatch):
    from tl_fbn.intervention.studies import engine

    read = []
    scores = engine.StudyRuns.scores

    def counted(self, part, battery, conditions, **options):
        read.append(len(conditions))
        return scores(self, part, battery, conditions, **options)

    monkeypatch.setattr(engine.StudyRuns, "scores", counted)
    model, texts = planted(PLANTS["three"])
    fbn.collapse_neurons(model, texts, progress=False)
    assert 150 < sum(read) <= most_lesions(40, 6, 59, 4) == 217


def test_what_no_search_can_be_made_of_is_refused():
    model, texts = planted(PLANTS["one"])
    for settings, message in (
        ({"least": -0.1}, "least=-0.1 is no cost"),
        ({"n_null": 5}, "n_null=5 random units cannot show p = .05"),
        ({"n_pairs": 1}, "must be at least 2 each"),
        ({"max_tokens": 1}, "predict nothing"),
        ({"n_null": 500}, "240 units, fewer than the 558"),
        ({"max_tokens": 3}, "have 24 that are predicted; costs of single units need at least 48"),
    ):
        with pytest.raises(fbn.InputError, match=message):
            fbn.collapse_neurons(model, texts, progress=False, **settings)
    with pytest.raises(fbn.InputError, match="take at least two texts; got 1"):
        fbn.collapse_neurons(model, texts[:1], progress=False)
    with pytest.raises(fbn.InputError, match=r"item \d+ has 1 token"):
        fbn.collapse_neurons(model, [*texts, [3]], n=None, progress=False)
