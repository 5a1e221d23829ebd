"""Methods: sentences say what results carry, settings say where they come from, and nothing is invented."""

from __future__ import annotations

import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers.results import contrast, results, study
from tests.helpers.units import TOY
from tl_fbn.reporting.page import methods_section as methods
from tl_fbn.units import Network, UnitMap


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
    preset = fbn.presets.s2_block_glm
    assert (
        source([tested, preset], "Contrast sort - rest", "noise")
        == f"our choice: as in {preset.name}, not stated by {preset.source}"
    )
    assert source([contrast(noise="ar1"), preset], "Contrast sort - rest", "noise") == "our choice"


def test_every_line_of_a_preset_is_labelled() -> None:
    preset = fbn.presets.s1_cgvst
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
