"""Methods: sentences say what results carry, settings say where they come from, and nothing is invented."""

from __future__ import annotations

import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers.pages import methods_of
from tests.helpers.results import contrast, dose, results, study
from tests.helpers.units import TOY
from tl_fbn.analysis.glm.run_fit import NOISE_IN_WORDS
from tl_fbn.reporting.page import methods_section as methods
from tl_fbn.units import Atlas, Network, UnitMap
from tl_fbn.units.prose import P_FORMULA


def source(settings: object, of: str, setting: str) -> str:
    table = methods.settings(settings) if isinstance(settings, (list, tuple)) else settings
    lines = table[(table["of"] == of) & (table["setting"] == setting)]
    assert len(lines) == 1
    return str(lines["source"].iloc[0])


@pytest.mark.parametrize("result", results(), ids=lambda one: type(one).__name__)
def test_every_kind_of_result_has_a_sentence(result: object) -> None:
    (paragraph,) = methods.paragraphs([result])
    assert paragraph.endswith(".") and "None" not in paragraph and "{" not in paragraph


def test_paragraphs_follow_the_argument_whatever_the_order() -> None:
    assert methods.paragraphs([study(), contrast(noise="ols")]) == methods.paragraphs([contrast(noise="ols"), study()])


def test_settings_are_ours_unless_a_preset_says_otherwise() -> None:
    tested = contrast(noise="ols")
    assert source([tested], "Contrast sort - rest", "noise") == "our choice"
    assert source([tested], "Contrast sort - rest", "dof") == "measured"
    preset = fbn.papers.s2.settings
    assert (
        source([tested, preset], "Contrast sort - rest", "noise")
        == f"our choice: as in {preset.name}, not stated by {preset.source}"
    )
    assert source([contrast(noise="ar1"), preset], "Contrast sort - rest", "noise") == "our choice"


def test_all_options_of_a_preset_count_also_its_share_and_those_of_answers() -> None:
    preset = fbn.papers.s1.settings
    assert preset.top == 0.05 and preset.respond["max_new_tokens"] == 20
    scores = fbn.UnitMap(TOY, np.arange(float(TOY.n_units)), "attribution")
    alike = scores.top(preset.top, name="alike")
    table = methods.settings([alike, preset])
    assert source(table, "Network alike", "selection: top") == f"as in {preset.name}: see its lines"
    other = scores.top(0.5, name="other")
    assert source([other, preset], "Network other", "selection: top") == "our choice"
    made = {"max_new_tokens": preset.respond["max_new_tokens"], "stop": list(preset.respond["stop"])}
    answers = Network.from_indices(TOY, [0], name="answers", provenance=made)
    for setting in made:
        assert source([answers, preset], "Network answers", setting) == f"as in {preset.name}: see its lines"


def test_every_line_of_a_preset_is_labelled() -> None:
    preset = fbn.papers.s1.settings
    table = methods.settings([preset])
    assert len(table) == len(preset.stated) + len(preset.unknown)
    assert set(table[table["setting"].isin(preset.unknown)]["source"]) >= {f"our choice: not stated by {preset.source}"}
    assert source(table, preset.name, "score") == f"stated by {preset.source}"


def test_results_with_the_same_settings_share_lines() -> None:
    networks = {
        name: Network.from_indices(TOY, [0], name=name, provenance={"method": "x", "seed": 1}) for name in "abc"
    }
    table = methods.settings([networks])
    assert set(table["of"]) == {"Network a, Network b and Network c"} and len(table) == 2


def test_digests_and_prompts_are_no_settings() -> None:
    about = {"recording": "f" * 64, "weights": "e" * 64, "prompts": ["a"], "seed": 1, "how": {"of": 1, "deep": 2}}
    settings = methods.settings([UnitMap(TOY, np.zeros(10), "t", about)])
    assert settings["setting"].tolist() == ["seed", "how: deep", "kind"]


def test_a_contrast_and_its_network_say_level_noise_and_correction() -> None:
    tested = contrast(noise="ar1", replicates="blocks")
    words = methods_of(
        tested,
        tested.threshold(fdr=0.05, name="sort"),
        tested.threshold(fwe=0.01, method="bonferroni", two_sided=False, name="strict"),
    )
    assert "contrast sort - rest was tested (t, 20 degrees of freedom, runs 0 and 1) at the block level" in words
    assert NOISE_IN_WORDS["ar1"] in words
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
    }
    networks = {"a": Network.from_indices(TOY, [0]), "b": Network.from_indices(TOY, [4])}
    words = methods_of(Atlas(TOY, networks, provenance=about, converged=False))
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


def test_lesions_say_method_controls_items_metric_and_the_formula_of_p() -> None:
    words = methods_of(study())
    for said in (
        "set to their mean at last positions",
        "4 items each",
        "exact match (answers teacher-forced; of choices and pairs, whether the right one is the likeliest)",
        "5 random control networks",
        P_FORMULA,
        "control seed 3",
    ):
        assert said in words
    assert "for 1 of 2 networks, and unknown for the others" in words


def test_doses_say_what_kind_they_are() -> None:
    assert "activations multiplied by gains of 0, 1 and 2 at all positions" in methods_of(dose())


def test_the_formula_of_p_is_given_once() -> None:
    words = methods_of(study(), dose())
    assert words.count(P_FORMULA) == 1 and "p likewise" in words


def test_number_types_are_one_sentence_for_all_results() -> None:
    known = contrast(model_dtype="bfloat16")
    sentence = f"Models computed in these number types: {TOY.model} in bfloat16."
    assert methods.paragraphs([known, contrast(noise="ols", model_dtype="bfloat16")])[-1] == sentence
    assert "number types" not in " ".join(methods.paragraphs([contrast()]))
    assert not (methods.settings([known])["setting"] == "model_dtype").any()  # the section Provenance lists it
