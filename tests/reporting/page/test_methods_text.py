"""Sentences on contrasts, decompositions, gradient scores and recordings: they say what results carry, and invent nothing."""

from __future__ import annotations

import numpy as np

import tl_fbn as fbn
from tests.helpers.pages import methods_of
from tests.helpers.results import contrast, study
from tests.helpers.units import TOY
from tl_fbn.reporting.page import methods_section as methods
from tl_fbn.reporting.page import methods_text as accounts
from tl_fbn.units import Atlas, Network, UnitMap


def test_a_contrast_and_its_network_say_level_noise_and_correction() -> None:
    tested = contrast(noise="ar1", replicates="blocks")
    words = methods_of(
        tested,
        tested.threshold(fdr=0.05, name="sort"),
        tested.threshold(fwe=0.01, method="bonferroni", two_sided=False, name="strict"),
    )
    assert "contrast sort - rest was tested (t, 20 degrees of freedom, runs 0 and 1) at the block level" in words
    assert accounts.NOISE["ar1"] in words
    assert "false discovery rate of 0.05 (Benjamini-Hochberg), two-sided" in words
    assert "family-wise error of 0.01 (Bonferroni), one-sided" in words


def test_what_is_not_recorded_is_not_invented() -> None:
    assert "noise: not recorded" in methods_of(contrast())
    assert "how they were chosen is not recorded" in methods_of(Network.from_indices(TOY, [0]))
    assert "Model and site are not recorded" in methods_of(study())
    assert not methods.sections([object()]) and not methods.paragraphs([])


def test_a_decomposition_says_method_number_restarts_seed_and_threshold() -> None:
    about = {
        "method": "ica, spatial",
        "n_components": 2,
        "across_layers": True,
        "n_restarts": 20,
        "seed": 7,
        "fun": "logcosh",
        "threshold": {"threshold": 3.0, "one_sided": False, "per_layer": False},
        "preparation": {"standardize": True, "drop_first": 1, "clip": None},
        "converged": False,
    }
    networks = {"a": Network.from_indices(TOY, [0]), "b": Network.from_indices(TOY, [4])}
    words = methods_of(Atlas(TOY, networks, provenance=about))
    for said in (
        "2 networks were sought",
        "by spatial independent",
        "20 restarts",
        "seed 7",
        "standardize True, drop_first 1",
        "|z| at least 3.0",
        "did not converge",
    ):
        assert said in words
    assert "Networks a and b" in methods_of(Atlas.from_networks(networks))  # no decomposition: its networks speak


def test_a_gradient_score_says_variant_tokens_and_items() -> None:
    about = {
        "method": "cgvst",
        "variant": "row_sum",
        "aggregate": "sum_abs",
        "tokens": "special",
        "n_items": 20,
        "scored_positions": 40,
        "site": "mlp.up",
    }
    scores = UnitMap(TOY, np.arange(10.0), "attribution", about)
    words = methods_of(scores, scores.top(0.2, name="best"))
    assert (
        "40 tokens of the chat template of 20 items" in words
        and "site mlp.up" in words
        and "compares no two tasks" not in words
    )
    assert (
        "Network best (2 units): the 20 % of the units with the largest attribution of CGVST (row_sum, special tokens)"
        in words
    )


def test_a_real_recording_and_fit(noise_recording: fbn.Recording) -> None:
    fit = fbn.fit_glm(noise_recording)
    words = methods_of(noise_recording, fit, fbn.max_t(fit, "a - b", n_permutations=99, seed=0))
    assert "160 rows in 2 runs, 16 blocks" in words and "tokens that is not recorded" in words
    assert "regressors a and b and the confounds" in words
    assert "99 relabellings (labels of blocks exchanged within runs; seed 0)" in words
