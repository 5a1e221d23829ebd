"""A significant map is not a causal one: the call that shows it, on a planted model and on a real one."""

from __future__ import annotations

import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers import story_pronouns
from tests.helpers.models import own_words, tiny_model
from tests.helpers.paths import SHARED


def test_each_map_is_a_source_network(rigged):
    model, neuron = rigged
    space = fbn.Scanner(model).space
    planted, signed = np.zeros(120), np.zeros(120)
    planted[60 + neuron], signed[60 + neuron], signed[3] = 5.0, -5.0, 1.0
    maps = {
        "planted": fbn.UnitMap(space, planted, "attribution"),
        "t": fbn.UnitMap(space, signed, "t"),
        "effect": fbn.UnitMap(space, signed, "effect"),
    }
    battery = fbn.Battery.from_pairs({"say": own_words(model)})
    study = fbn.causal_check(model, maps, battery, top=1, seed=0, n_controls=40, progress=False)
    table = study.to_dataframe().set_index("network")
    assert table.loc["planted", "drop"] == table.loc["t", "drop"] > 0.4  # magnitudes of a t map
    assert table.loc["effect", "drop"] == table.loc["t", "drop"]  # and of an effect: both are signed
    assert table.loc["planted", "p"] < 0.05
    one_sided = fbn.causal_check(
        model, maps, battery, top=1, two_sided=False, seed=0, n_controls=2, progress=False
    ).to_dataframe()
    assert one_sided["drop"][1] < 0.2
    titles = [part["title"] for part in study._report_sections_() if isinstance(part, dict)]
    assert titles == ["What lesions show", "Lesion study", "Do random lesions do nothing?"]
    assert "significant map is not a causal one" in study._report_sections_()[0]["text"]


def test_refusals():
    model = tiny_model()
    battery = fbn.Battery.from_pairs({"say": [((1, 2), (3,))]})
    with pytest.raises(ValueError, match="got no maps"):
        fbn.causal_check(model, {}, battery, seed=0)
    other = fbn.UnitMap(fbn.UnitSpace("mlp.neurons", (3, 3)), np.zeros(6), "t")
    mine = fbn.UnitMap(fbn.Scanner(model).space, np.zeros(48), "t")
    with pytest.raises(ValueError, match="cannot compare"):
        fbn.causal_check(model, {"mine": mine, "other": other}, battery, seed=0)


@pytest.mark.slow
@pytest.mark.skipif(
    not (SHARED / "models" / "stories260K").is_dir(), reason="the shared model is not beside the repository"
)
def test_on_a_real_model_the_most_significant_neurons_do_nothing_and_those_gradients_name_do():
    """He/she agreement, found on two sentence frames, scored on four others with other names."""
    table = story_pronouns.table(SHARED / "models" / "stories260K", tops=(0.03,)).set_index(["metric", "network"])
    for metric in ("exact_match", "log_likelihood"):
        causal = table.loc[(metric, "gradient x activation")]
        assert causal["drop"] > causal["control_worst"]  # beyond all of 100 layer-matched controls
        assert causal["p"] < 0.01
        assert causal["low"] > 0
    for name in ("t", "glm t", "difference"):
        assert table.loc[("exact_match", name), "p"] > 0.05
        assert table.loc[("exact_match", name), "drop"] < 0.1
