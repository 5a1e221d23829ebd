"""Contrasts as results: maps that agree with each other, thresholds that do what they say, files that return them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from tl_fbn.analysis.glm.contrast import Contrast
from tl_fbn.errors import InputError
from tl_fbn.units import UnitSpace
from tl_fbn.units.selection_prose import how_chosen

SPACE = UnitSpace("mlp.neurons", (120, 80), model="toy")


@pytest.fixture
def contrast() -> Contrast:
    """200 units, of which 30 have an effect of 4 standard errors, 10 one of -4, and one never varies."""
    rng = np.random.default_rng(0)
    error = rng.uniform(0.5, 2, size=200)
    t = rng.normal(size=200)
    t[:30] += 4
    t[30:40] -= 4
    error[199] = 0
    provenance = {"recording": "abc", "noise": "ar1", "prompts": ["x"]}
    return Contrast(
        SPACE, "task - rest", "token", t * np.sqrt(error), error, 500.0, (0, 2), {1: "no column rest"}, provenance
    )


def test_maps_agree_with_each_other(contrast: Contrast) -> None:
    t = contrast.t.values
    np.testing.assert_allclose(t[:199], contrast.estimate[:199] / np.sqrt(contrast.effect_variance[:199]))
    np.testing.assert_allclose(contrast.p.values[:199], 2 * stats.t.sf(np.abs(t[:199]), 500))
    np.testing.assert_allclose(2 * stats.norm.sf(np.abs(contrast.z.values)), contrast.p.values, rtol=1e-9)
    np.testing.assert_array_equal(np.sign(contrast.z.values[:199]), np.sign(t[:199]))
    assert (contrast.p.values[199], contrast.z.values[199]) == (1, 0)
    assert np.isnan(t[199])
    kinds = {name: getattr(contrast, name).kind for name in ("effect", "variance", "t", "z", "p")}
    assert kinds == {name: name for name in kinds}


@pytest.mark.parametrize(("rate", "method"), [("fdr", "fdr_bh"), ("fwe", "holm")])
@pytest.mark.parametrize("level", [0.01, 0.05])
def test_thresholds_equal_statsmodels(contrast: Contrast, rate: str, method: str, level: float) -> None:
    network = contrast.threshold(**{rate: level})  # type: ignore[arg-type]
    expected = multipletests(contrast.p.values, level, method)[0]
    np.testing.assert_array_equal(network.members, expected)
    np.testing.assert_array_equal(network.signs, np.where(expected, np.sign(contrast.estimate), 0))
    assert 10 < len(network) < 60


def test_one_sided_takes_positive_effects_only(contrast: Contrast) -> None:
    t = contrast.t.values
    network = contrast.threshold(fdr=0.05, two_sided=False)
    p = np.where(np.isnan(t), 1, stats.t.sf(t, 500))
    np.testing.assert_array_equal(network.members, multipletests(p, 0.05, "fdr_bh")[0])
    assert (network.signs[network.members] == 1).all()
    assert network.members[:30].mean() > contrast.threshold(fdr=0.05).members[:30].mean() - 1e-9
    assert not contrast.threshold(fdr=0.99, two_sided=False).members[199]  # a silent unit passes no threshold


def test_top_is_exact(contrast: Contrast) -> None:
    t = contrast.t.values
    assert len(contrast.threshold(top=17)) == 17
    assert len(contrast.threshold(top=0.1)) == 20
    np.testing.assert_array_equal(
        contrast.threshold(top=17).indices, np.sort(np.argsort(-np.abs(np.nan_to_num(t)), kind="stable")[:17])
    )
    one_sided = contrast.threshold(top=17, two_sided=False)
    np.testing.assert_array_equal(
        one_sided.indices, np.sort(np.argsort(-np.nan_to_num(t, nan=-99), kind="stable")[:17])
    )
    with pytest.raises(ValueError, match="only 199 of "):
        contrast.threshold(top=200)


def test_min_effect_comes_on_top(contrast: Contrast) -> None:
    plain = contrast.threshold(fdr=0.05)
    both = contrast.threshold(fdr=0.05, min_effect=4)
    np.testing.assert_array_equal(both.members, plain.members & (np.abs(contrast.estimate) >= 4))
    assert 0 < len(both) < len(plain)
    positive = contrast.threshold(fdr=0.05, min_effect=4, two_sided=False)
    assert (contrast.estimate[positive.members] >= 4).all()
    most = contrast.threshold(
        top=190, two_sided=False, min_effect=1
    )  # the 190 largest have negative effects among them
    np.testing.assert_array_equal(most.members, contrast.estimate >= 1)


@pytest.mark.parametrize("arguments", [{}, {"fdr": 0.05, "top": 3}, {"fdr": 0.05, "fwe": 0.05}])
def test_exactly_one_rule(contrast: Contrast, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"threshold takes exactly one of fdr=, fwe= and top=; got fdr="):
        contrast.threshold(**arguments)


def test_rates_are_rates(contrast: Contrast) -> None:
    with pytest.raises(ValueError, match=r"fdr=1\.5 is no error rate"):
        contrast.threshold(fdr=1.5)


def test_network_remembers_where_it_came_from(contrast: Contrast) -> None:
    network = contrast.threshold(fdr=0.05, name="sorting")
    assert network.name == "sorting"
    assert contrast.threshold(top=3).name == "task - rest"
    expected = {
        "method": "glm",
        "contrast": "task - rest",
        "level": "token",
        "recording": "abc",
        "noise": "ar1",
        "prompts": ["x"],
        "threshold": {"fdr": 0.05, "two_sided": True, "min_effect": 0.0},
    }
    assert network.provenance == expected
    assert contrast.t.provenance["contrast"] == "task - rest"


def test_save_and_load(contrast: Contrast, tmp_path: Path) -> None:
    contrast.save(tmp_path / "contrast.safetensors")
    again = Contrast.load(tmp_path / "contrast.safetensors")
    for name in ("effect", "variance", "t", "z", "p"):
        np.testing.assert_array_equal(getattr(again, name).values, getattr(contrast, name).values)
        assert getattr(again, name).provenance == getattr(contrast, name).provenance
    assert again.skipped == {1: "no column rest"}
    assert (again.dof, again.runs, again.level, again.expression) == (500, (0, 2), "token", "task - rest")
    assert again.space == SPACE
    assert again.threshold(fdr=0.05) == contrast.threshold(fdr=0.05)
    assert repr(again) == repr(contrast)


def test_tables_and_words(contrast: Contrast) -> None:
    table = contrast.to_dataframe()
    assert list(table) == ["layer", "unit", "effect", "t", "z", "p"]
    pd.testing.assert_series_equal(table["p"], pd.Series(contrast.p.values, name="p"))
    assert tuple(table.loc[120, ["layer", "unit"]]) == (1, 0)
    assert repr(contrast).startswith(
        'Contrast "task - rest" at token level, 500 degrees of freedom, runs [0, 2], not in 1 (no column rest): '
    )
    page = contrast._repr_html_()
    assert page.count("<tr>") == 6
    assert "nan" not in page


MAPS = ("t", "effect", "standardized", "contribution", "z_within_layer")


@pytest.fixture
def measured(contrast: Contrast) -> Contrast:
    """The contrast, with norms of outgoing weights and variances of single observations."""
    norms = np.random.default_rng(1).uniform(0.1, 5, size=200)
    return replace(contrast, outgoing_norms=norms, variance_tested=contrast.effect_variance * 7)


def test_maps_without_scale(measured: Contrast) -> None:
    np.testing.assert_allclose(measured.contribution.values, measured.estimate * measured.outgoing_norms)
    first = slice(0, measured.space.widths[0])
    effect = measured.estimate[first]
    np.testing.assert_allclose(
        measured.z_within_layer.values[first],
        (effect - np.median(effect)) / stats.median_abs_deviation(effect, scale="normal"),
        rtol=1e-4,
    )
    assert (measured.contribution.kind, measured.z_within_layer.kind) == ("contribution", "z_within_layer")
    assert measured.contribution.signed and measured.z_within_layer.signed


@pytest.mark.parametrize("by", MAPS)
@pytest.mark.parametrize("two_sided", [True, False])
def test_top_takes_the_largest_of_the_map_asked_for(measured: Contrast, by: Any, two_sided: bool) -> None:
    values = getattr(measured, by).values
    network = measured.threshold(top=11, by=by, two_sided=two_sided)
    order = np.argsort(-np.nan_to_num(np.abs(values) if two_sided else values, nan=-np.inf))
    assert set(network.indices) == set(order[:11])
    np.testing.assert_array_equal(network.signs[network.members], np.sign(measured.estimate[network.members]))
    assert network.provenance["threshold"].get("by", "t") == by
    words = f"the largest {by.replace('_', ' ')} (top 11, no test)"
    assert words in how_chosen(network.provenance)


def test_a_map_goes_with_top_alone(contrast: Contrast) -> None:
    with pytest.raises(InputError, match=r"by='effect' says what top= takes the largest of"):
        contrast.threshold(fdr=0.05, by="effect")
    with pytest.raises(InputError, match=r"norms of the outgoing weights of .* are not known"):
        contrast.threshold(top=3, by="contribution")
    heads = replace(contrast, space=UnitSpace("attn.heads", SPACE.widths))
    with pytest.raises(InputError, match=r"units of attn\.heads have no outgoing weights of their own"):
        heads.contribution  # noqa: B018


@pytest.mark.usefixtures("unchecked")
def test_an_unknown_map_is_refused(contrast: Contrast) -> None:
    with pytest.raises(InputError, match=r"by must be 't', 'effect', 'standardized', 'contribution' or 'z_within"):
        contrast.threshold(top=3, by="size")  # type: ignore[arg-type]


def test_norms_are_saved_with_the_contrast(measured: Contrast, contrast: Contrast, tmp_path: Path) -> None:
    measured.save(tmp_path / "c.safetensors")
    again = Contrast.load(tmp_path / "c.safetensors")
    np.testing.assert_array_equal(again.contribution.values, measured.contribution.values)
    contrast.save(tmp_path / "older.safetensors")  # without norms nothing is written, as by earlier versions
    assert Contrast.load(tmp_path / "older.safetensors").outgoing_norms is None
