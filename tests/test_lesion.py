"""Lesion studies: a planted neuron is found to matter, controls match, discovery prompts are refused, p is calibrated."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tl_fbn as fbn
from tests.conftest import tiny_model
from tl_fbn.acquisition.design import prompt_digest
from tl_fbn.intervention.battery import Battery


def own_words(model, n: int = 20, seed: int = 0) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Prompts with what the model itself says next, so that its exact match is 1."""
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(n):
        before = tuple(rng.integers(0, 50, 5).tolist())
        with torch.no_grad():
            pairs.append((before, (int(model(torch.tensor([before]))[0, -1].argmax()),)))
    return pairs


@pytest.fixture(scope="module")
def rigged():
    """A model in which one neuron of layer 1 decides every answer: it is always on and pushes its direction out hard."""
    model = tiny_model(d_mlp=60)
    neuron = 7
    with torch.no_grad():
        model.blocks[1].mlp.W_in[:, neuron] = 0.0
        model.blocks[1].mlp.b_in[neuron] = 5.0
        model.blocks[1].mlp.W_out[neuron] = 4.0 * torch.randn(16, generator=torch.Generator().manual_seed(1))
    return model, neuron


@pytest.fixture(scope="module")
def study(rigged):
    model, neuron = rigged
    space = fbn.Scanner(model).space
    networks = {
        "task": fbn.Network.from_indices(space, [(1, neuron)], name="task"),
        "other": fbn.Network.from_indices(space, [(1, 30), (0, 2)], name="other"),
    }
    battery = Battery.from_pairs({"task": own_words(model, seed=0), "second": own_words(model, seed=1)})
    return fbn.lesion_study(model, networks, battery, n_controls=99, seed=0, progress=False)


def test_a_planted_neuron_beats_its_controls(study):
    table = study.to_dataframe().set_index(["network", "task"])
    assert (table["baseline"] == 1).all()
    planted, idle = table.loc[("task", "task")], table.loc[("other", "task")]
    assert planted["drop"] > 0.4
    assert planted["p"] <= 0.05
    assert planted["control_p95"] < 0.3
    assert idle["p"] > 0.05


def test_table_is_arithmetic_on_the_scores(study):
    table = study.to_dataframe()
    assert list(table.columns[:9]) == [
        "network",
        "task",
        "metric",
        "baseline",
        "lesioned",
        "drop",
        "control_median",
        "control_p95",
        "p",
    ]
    assert len(table) == 4
    np.testing.assert_allclose(table["drop"], table["baseline"] - table["lesioned"])
    row = table.iloc[1]
    drops = study.baseline[1, 0] - study.controls[0, :, 1, 0]
    assert row["p"] == pytest.approx((1 + (drops >= row["drop"] - 1e-12).sum()) / 100)
    assert row["control_median"] == pytest.approx(np.median(drops))
    likelihood = study.to_dataframe(metric="log_likelihood")
    assert set(likelihood["metric"]) == {"log_likelihood"}
    np.testing.assert_allclose(likelihood["baseline"], np.tile(study.baseline[:, 1], 2))


def test_lesioned_scores_equal_a_lesion_done_by_hand(rigged, study):
    model, neuron = rigged
    battery = Battery.from_pairs({"task": own_words(model, seed=0), "second": own_words(model, seed=1)})

    def zero(tensor, hook):
        tensor = tensor.clone()
        tensor[..., neuron] = 0
        return tensor

    with model.hooks(fwd_hooks=[("blocks.1.mlp.hook_post", zero)]):
        scores = battery.score(model)
    np.testing.assert_allclose(study.lesioned[0, :, 0], [scores[name].of("exact_match") for name in study.tasks])


def test_controls_match_units_in_each_layer():
    space = fbn.UnitSpace("mlp.neurons", (10, 0, 20))
    network = fbn.Network.from_indices(space, [0, 1, 2, 15, 16])
    controls = fbn.matched_controls(network, 200, seed=3)
    counts = np.array([control.per_layer() for control in controls])
    assert (counts == [3, 0, 2]).all()
    drawn = np.mean([control.members for control in controls], axis=0)
    assert drawn[:10] == pytest.approx(np.full(10, 0.3), abs=0.13)
    assert [c.indices.tolist() for c in fbn.matched_controls(network, 3, seed=3)] == [
        c.indices.tolist() for c in controls[:3]
    ]
    assert controls[0] != controls[1]


def test_p_of_random_networks_is_uniform_or_conservative(rigged):
    model, _ = rigged
    space = fbn.Scanner(model).space
    battery = Battery.from_pairs({"task": own_words(model, n=8)})
    sources = fbn.matched_controls(fbn.Network.from_indices(space, [0, 1, 2, 60, 61, 62]), 40, seed=50)
    study = fbn.lesion_study(
        model,
        {f"r{i}": s for i, s in enumerate(sources)},
        battery,
        n_controls=19,
        seed=7,
        metric="log_likelihood",
        progress=False,
    )
    p = study.to_dataframe()["p"].to_numpy()
    for alpha in (0.1, 0.25, 0.5):
        assert (p <= alpha).mean() <= alpha + 2.6 * np.sqrt(alpha * (1 - alpha) / len(p))


def test_dissociation_is_the_interaction(rigged):
    model, neuron = rigged
    space = fbn.Scanner(model).space
    battery = Battery.from_pairs({"x": own_words(model, seed=0), "y": own_words(model, seed=1)})
    networks = {"x": fbn.Network.from_indices(space, [(1, neuron)]), "y": fbn.Network.from_indices(space, [(0, 3)])}
    result = fbn.lesion_study(model, networks, battery, n_controls=30, seed=0, progress=False)
    drops, found = result.drops(), result.dissociation("x", "y")
    assert found["interaction"] == pytest.approx(drops[0, 0] - drops[0, 1] + drops[1, 1] - drops[1, 0])
    assert 1 / 31 <= found["p"] <= 1
    with pytest.raises(ValueError, match="'z' must name a network and a task"):
        result.dissociation("x", "z")


def test_evaluating_on_discovery_prompts_is_refused(demo_model, tmp_path):
    shown = fbn.prompts("sort", n=12)
    design = fbn.block_design(
        {"sort": shown, "rest": fbn.prompts("rest", n=12)}, n_runs=1, n_cycles=2, tokens_per_block=32, seed=0
    )
    recording = fbn.Scanner(demo_model).scan(design, tmp_path / "r", progress=False)
    network = fbn.fit_glm(recording, drift="none").contrast("sort - rest", level="token").threshold(top=20)
    assert "prompts" in network.provenance
    # which prompts were reached depends on the shuffle, so the battery holds all that might have been
    leaking = Battery.from_pairs(
        {"sort": [(f"{p.split('[/INST]')[0]}[/INST]", p.split("[/INST]")[1].strip()) for p in shown]}
    )
    with pytest.raises(ValueError, match=r"network 'n' was found on \d+ of the prompts that task 'sort' scores"):
        fbn.lesion_study(demo_model, {"n": network}, leaking, n_controls=1, seed=0, progress=False)
    clean = fbn.demo.battery(n=3).select(["sort"])
    result = fbn.lesion_study(
        demo_model,
        {"n": network, "u": fbn.Network(network.space, network.members)},
        clean,
        n_controls=1,
        seed=0,
        progress=False,
    )
    assert result.to_dataframe()["discovery"].tolist() == ["disjoint", "discovery prompts unknown"]
    with pytest.raises(ValueError, match="was found on"):
        fbn.lesion_study(demo_model, {"n": network | network}, leaking, n_controls=1, seed=0, progress=False)


def test_a_question_alone_counts_as_the_prompt(demo_model):
    item = fbn.demo.battery(n=2).tasks["sort"].items[1]
    space = fbn.Scanner(demo_model).space
    network = fbn.Network.from_indices(space, [0], provenance={"prompts": [prompt_digest(str(item.prompt))]})
    with pytest.raises(ValueError, match="was found on 1 of the prompts"):
        fbn.lesion_study(demo_model, {"n": network}, fbn.demo.battery(n=2), n_controls=1, seed=0, progress=False)


def test_save_and_load(study, tmp_path):
    study.save(tmp_path / "study")
    loaded = fbn.LesionStudy.load(tmp_path / "study")
    assert loaded.to_dataframe().equals(study.to_dataframe())
    assert repr(loaded) == repr(study)
    assert "<table>" in study._repr_html_()


def test_refusals(rigged):
    model, _ = rigged
    battery = Battery.from_pairs({"task": own_words(model, n=2)})
    network = fbn.Network.from_indices(fbn.Scanner(model).space, [0])
    with pytest.raises(ValueError, match="got no networks"):
        fbn.lesion_study(model, {}, battery, seed=0)
    with pytest.raises(ValueError, match="n_controls=0 leaves nothing to compare with"):
        fbn.lesion_study(model, {"n": network}, battery, n_controls=0, seed=0)
    with pytest.raises(ValueError, match="metric='accuracy' cannot score this battery"):
        fbn.lesion_study(model, {"n": network}, battery, metric="accuracy", seed=0)
