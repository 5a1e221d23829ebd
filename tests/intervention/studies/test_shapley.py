"""Shapley values of networks of a model: sets of networks by hand, dummies, shared units, folders, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers.games import by_all_orders
from tl_fbn.intervention.studies.shapley import chosen_coalitions


@pytest.fixture(scope="module")
def battery() -> fbn.Battery:
    return fbn.demo.battery().select(["copy", "upper"]).limit(8)


@pytest.fixture(scope="module")
def atlas(demo_model) -> fbn.Atlas:
    """Three networks that share units, and one that has none."""
    space = fbn.Scanner(demo_model, site="mlp.neurons").space
    order = np.random.default_rng(0).permutation(space.n_units)
    parts = {"a": order[:400], "b": order[350:700], "c": order[690:900], "nothing": []}
    return fbn.Atlas.from_networks(
        {name: fbn.Network.from_indices(space, np.sort(np.array(units, dtype=int))) for name, units in parts.items()}
    )


@pytest.fixture(scope="module")
def found(demo_model, atlas, battery) -> fbn.studies.ShapleyValues:
    return fbn.shapley(demo_model, atlas, battery, metric="log_likelihood", seed=0, progress=False)


def test_values_are_those_of_lesions_by_hand(demo_model, atlas, battery, found) -> None:
    names = list(atlas)

    def game(players: frozenset[int]) -> float:
        out = [name for i, name in enumerate(names) if i not in players]
        with fbn.inhibit(demo_model, atlas.union(out)) if out else fbn.inhibit(demo_model, atlas["nothing"]):
            return battery.evaluate(demo_model).set_index("task").loc["upper", "log_likelihood"]

    scores: dict[frozenset[int], float] = {}
    known = by_all_orders(lambda players: scores.setdefault(players, game(players)), 4)
    table = found.to_dataframe().query("task == 'upper'").set_index("network")
    assert table["value"].to_numpy() == pytest.approx(known, abs=1e-6)
    everybody = scores[frozenset(range(4))]
    assert table["lesioned_alone"]["a"] == pytest.approx(everybody - scores[frozenset({1, 2, 3})], abs=1e-6)
    assert table["kept_alone"]["a"] == pytest.approx(scores[frozenset({0})] - scores[frozenset()], abs=1e-6)
    assert everybody == pytest.approx(battery.evaluate(demo_model).set_index("task").loc["upper", "log_likelihood"])


def test_values_add_up_and_nothing_gets_nothing(found) -> None:
    assert found.values.sum(0) == pytest.approx(found.whole, abs=1e-12)
    assert found.values[3] == pytest.approx([0.0, 0.0], abs=1e-9)
    assert np.nan_to_num(found.interactions[:, 3]) == pytest.approx(np.zeros((2, 4)), abs=1e-9)
    summary = found.summary()
    assert (summary["untouched"] - summary["silenced"]).to_numpy() == pytest.approx(found.whole)
    assert (found.errors == 0).all() and len(found.pairs()) == 12
    table = found.to_dataframe()
    assert (table["low"] <= table["value"] + 1e-12).all() and (table["value"] <= table["high"] + 1e-12).all()
    assert "no test against chance" in found._methods_()[0]
    assert all("no test against chance" in one["text"] for one in found._report_sections_()[:2])


def test_networks_of_the_same_units_need_each_other(demo_model, atlas, battery) -> None:
    twins = fbn.Atlas.from_networks({"one": atlas["a"], "other": atlas["a"]})
    found = fbn.shapley(demo_model, twins, battery, metric="log_likelihood", seed=0, progress=False)
    assert found.values == pytest.approx(np.tile(found.whole / 2, (2, 1)), abs=1e-9)
    assert found.pairs()["interaction"].to_numpy() == pytest.approx(found.whole, abs=1e-9)


def test_estimates(demo_model, atlas, battery, found, tmp_path: Path) -> None:
    settings = {"n_permutations": 24, "metric": "log_likelihood", "seed": 1, "progress": False}
    estimated = fbn.shapley(demo_model, atlas, battery, **settings)
    assert estimated.values.sum(0) == pytest.approx(estimated.whole, abs=1e-12)
    assert estimated.whole == pytest.approx(found.whole, abs=1e-6)
    assert (np.abs(estimated.values - found.values) <= 5 * estimated.errors + 1e-6).all() and estimated.errors.any()
    assert estimated.interactions is None and estimated.pairs().empty
    assert len(estimated._report_sections_()) == 2
    table = estimated.to_dataframe()
    assert not table.isna().any().any()
    middle = (table["permutation_low"] + table["permutation_high"]) / 2
    assert middle.to_numpy() == pytest.approx(table["value"].to_numpy(), abs=1e-12)
    estimated.save(tmp_path / "s.safetensors")
    again = fbn.load(tmp_path / "s.safetensors")
    assert again.to_dataframe().equals(table) and repr(again) == repr(estimated)


def test_a_folder_is_read_and_not_run_again(demo_model, atlas, battery, found, tmp_path, monkeypatch) -> None:
    settings = {"metric": "log_likelihood", "seed": 0, "path": tmp_path / "study", "progress": False}
    first = fbn.shapley(demo_model, atlas, battery, **settings)
    assert first.to_dataframe().equals(found.to_dataframe())
    monkeypatch.setattr(fbn.Battery, "score", lambda *_args, **_options: pytest.fail("scored again"))
    assert fbn.shapley(demo_model, atlas, battery, **settings).to_dataframe().equals(first.to_dataframe())
    with pytest.raises(fbn.InputError, match="n_permutations"):
        fbn.shapley(demo_model, atlas, battery, n_permutations=4, **settings)


def test_answers_are_the_default(demo_model, atlas, battery) -> None:
    two = fbn.Atlas.from_networks({name: atlas[name] for name in ("a", "b")})
    found = fbn.shapley(demo_model, two, battery, seed=0, progress=False)
    assert found.metric == "exact_match" and found.values.sum(0) == pytest.approx(found.whole, abs=1e-12)
    pairs = found.pairs()
    assert pairs["interaction"].between(pairs["low"], pairs["high"]).all()


def test_refusals(demo_model, atlas, battery) -> None:
    space = atlas.space
    for n in (11, 65):
        many = fbn.Atlas.from_networks({f"N{i}": fbn.Network.from_indices(space, [i]) for i in range(n)})
        with pytest.raises(fbn.InputError, match=rf"{n} networks have 2\^{n} sets.*up to 10 networks.*n_permutations="):
            fbn.shapley(demo_model, many, battery, seed=0)
        assert chosen_coalitions(many, 4, 0)[0].shape[1] == n
    for wrong in (0, 2, 7):
        with pytest.raises(fbn.InputError, match=rf"n_permutations={wrong} must be even and at least 4"):
            fbn.shapley(demo_model, atlas, battery, seed=0, n_permutations=wrong)
    digests = battery.digests(demo_model.tokenizer)["copy"]
    seen = fbn.Network.from_indices(space, [1], provenance={"prompts": sorted(digests)})
    with pytest.raises(fbn.InputError, match="'seen' was found on 32 of the prompts"):
        fbn.shapley(demo_model, fbn.Atlas.from_networks({"seen": seen}), battery, seed=0)
