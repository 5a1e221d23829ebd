"""Lesion studies: a planted neuron is found to matter, controls match, discovery prompts are refused, p is
calibrated.
"""

from __future__ import annotations

import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers.models import own_words
from tests.helpers.recordings import blocks
from tl_fbn.acquisition.design.block_design import prompt_digest
from tl_fbn.intervention.behaviour.battery import Battery


def test_a_planted_neuron_beats_its_controls(study):
    table = study.to_dataframe().set_index(["network", "task"])
    assert (table["baseline"] == 1).all()
    planted, idle = table.loc[("task", "task")], table.loc[("other", "task")]
    assert planted["drop"] > 0.4
    assert planted["p"] <= 0.05
    assert planted["control_p95"] < 0.3
    assert idle["p"] > 0.05
    assert study.provenance["model_dtype"] == "float32"


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


@pytest.mark.slow
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


# Other controls, plans, resuming


def test_rivals_and_other_controls_stand_beside_each_network(rigged):
    model, neuron = rigged
    space = fbn.Scanner(model).space
    battery = Battery.from_pairs({"task": own_words(model)})
    network = fbn.Network.from_indices(space, [(1, neuron), (0, 3)], name="task")
    scores = fbn.UnitMap(space, np.arange(space.n_units, dtype=float), "t")
    rivals = {
        "lowest": {"task": fbn.studies.lowest_ranked(scores, network)},
        "planted": {"task": fbn.Network.from_indices(space, [(1, neuron)])},
    }
    rng = np.random.default_rng(0)
    reference = fbn.Recording.from_arrays([[rng.normal(size=(30, 60)) for _ in range(2)]], events=[blocks(["a"], 30)])
    study = fbn.lesion_study(
        model,
        {"task": network},
        battery,
        controls=("random", "activity", "rotated"),
        rivals=rivals,
        reference=reference,
        n_controls=20,
        seed=0,
        progress=False,
    )
    assert {name: one.shape for name, one in study.control_scores.items()} == dict.fromkeys(
        ("random", "activity", "rotated"), (1, 20, 1, 2)
    )
    table = study.rivals_table().set_index("rival")
    assert table.loc["planted", "rival_drop"] > 0.4
    assert abs(table.loc["lowest", "rival_drop"]) < 0.3
    assert table.loc["lowest", "low"] > 0
    for kind in ("activity", "rotated"):
        assert study.to_dataframe(control=kind)["p"][0] < 0.1
    assert study.provenance["balance"]["task"].keys() == {"random", "activity"}
    with pytest.raises(ValueError, match=r"control must be one of this study's, .*; got 'mean'"):
        study.to_dataframe(control="mean")


class Interrupted(Exception):
    pass


def test_an_interrupted_study_goes_on_and_ends_the_same(rigged, tmp_path, monkeypatch):
    model, neuron = rigged
    space = fbn.Scanner(model).space
    networks = {
        "task": fbn.Network.from_indices(space, [(1, neuron)]),
        "other": fbn.Network.from_indices(space, [(1, 30), (0, 2)]),
    }
    battery = Battery.from_pairs({"task": own_words(model, n=6)})
    evaluations = []
    score = Battery.score
    limit = [9]

    def counted(self, *args, **kwargs):
        if len(evaluations) >= limit[0]:
            raise Interrupted
        evaluations.append(1)
        return score(self, *args, **kwargs)

    def run():
        return fbn.lesion_study(
            model, networks, battery, seed=0, n_controls=10, path=tmp_path / "study", progress=False
        )

    monkeypatch.setattr(Battery, "score", counted)
    with pytest.raises(Interrupted):
        run()
    limit[0] = 1000
    study = run()
    assert len(evaluations) == 1 + 2 * 11
    again = run()
    assert len(evaluations) == 1 + 2 * 11  # nothing ran
    monkeypatch.undo()
    plain = fbn.lesion_study(model, networks, battery, seed=0, n_controls=10, progress=False)
    for one in (study, again):
        np.testing.assert_array_equal(one.controls, plain.controls)
        np.testing.assert_array_equal(one.lesioned_items, plain.lesioned_items)
        assert one.to_dataframe().equals(plain.to_dataframe())
    with pytest.raises(ValueError, match=r"holds a different recording|different.*seed"):
        fbn.lesion_study(model, networks, battery, seed=1, n_controls=10, path=tmp_path / "study", progress=False)
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "x").write_text("mine")
    with pytest.raises(ValueError, match="that is no study"):
        fbn.lesion_study(model, networks, battery, seed=1, n_controls=10, path=tmp_path / "else", progress=False)


def test_a_folder_belongs_to_one_study(rigged, tmp_path):
    """Same indices at another site, another tokenizer, hooks of the user's own: not the same study."""
    model, _ = rigged
    battery = Battery.from_pairs({"task": own_words(model, n=4)})

    def run(site: str):
        network = fbn.Network.from_indices(fbn.Scanner(model, site=site).space, [0, 1, 2])
        return fbn.lesion_study(
            model, {"n": network}, battery, seed=0, n_controls=2, path=tmp_path / "study", progress=False
        )

    run("mlp.out")
    with pytest.raises(ValueError, match=r"different .*networks"):
        run("attn.out")
    with (
        model.hooks(fwd_hooks=[("blocks.0.hook_resid_pre", lambda tensor, hook: tensor * 0)]),
        pytest.raises(ValueError, match="hooks that are not ours"),
    ):
        run("mlp.out")


def test_positions_of_a_battery_are_prompt_and_answer(demo_model):
    """Teacher-forced scores under an intervention on what is written equal what the model then writes."""
    battery = fbn.demo.battery(n=10).select(["sort", "add", "upper"])
    rng = np.random.default_rng(0)
    space = fbn.Scanner(demo_model).space
    network = fbn.Network.from_indices(space, np.sort(rng.choice(space.n_units, 500, replace=False)))
    found = {}
    for positions in ("all", "prompt", "generated", "last"):
        with fbn.inhibit(demo_model, network, positions=positions):
            scores = battery.score(demo_model)
            written = battery.respond(demo_model, max_new_tokens=12, progress=False).to_dataframe()
        found[positions] = np.concatenate([scores[task].exact_match for task in battery.tasks])
        begun = [text.startswith(answer) for text, answer in zip(written["text"], written["answer"], strict=True)]
        np.testing.assert_array_equal(found[positions], begun, err_msg=positions)
    assert len({tuple(one.tolist()) for one in found.values()}) > 2


@pytest.mark.slow
def test_double_dissociations_are_found_on_one_prompt_set_and_confirmed_on_another(demo_model):
    """Networks from gradients of other prompts' answers; the pairs that dissociate on one battery do so on the next."""
    tasks = ("reverse", "upper", "add")
    maps = {
        task: fbn.attribution.gradient_x_activation(demo_model, fbn.chats(task, n=40), tokens="answer", progress=False)
        for task in (*tasks, "shift", "count")
    }
    specific = fbn.specific_scores(maps)
    networks = {task: specific[task].top(0.05, name=task) for task in tasks}
    found = []
    for seed in (1, 2):
        battery = fbn.demo.battery(n=60, seed=seed).select(tasks)
        study = fbn.lesion_study(demo_model, networks, battery, n_controls=100, seed=seed, progress=False)
        table = study.dissociations()
        assert (table.loc[table["double"], "p"] < 0.01).all()
        found.append({(a, b) for a, b, double in table[["first", "second", "double"]].to_numpy() if double})
        summary = study.summary().set_index("network")
        assert (summary["low"] > 0).all()
    assert len(found[0]) >= 2
    assert found[0] <= found[1]


def test_networks_that_hold_massive_units_are_named(rigged):
    """Known of a network found in a scan, by its provenance, and of a reference; of both in one sentence."""
    model, neuron = rigged
    space = fbn.Scanner(model).space
    battery = Battery.from_pairs({"task": own_words(model, n=4)})
    told = {"massive": [[1, neuron, 0.7]]}
    networks = {
        "task": fbn.Network.from_indices(space, [(1, neuron)], name="task", provenance=told),
        "other": fbn.Network.from_indices(space, [(0, 2)], name="other", provenance=told),
    }
    rng = np.random.default_rng(0)
    layers = [rng.normal(size=(40, 60)) for _ in range(2)]
    layers[0][::10, 2] = 4000
    reference = fbn.Recording.from_arrays([layers], events=[blocks(["a", "b"] * 2, 10)])
    options = {"seed": 0, "n_controls": 1, "n_bootstrap": 2, "progress": False}
    with pytest.warns(
        UserWarning, match=r"^a network holds .*: unit 7 of layer 1 \(70 % of the variance .* in task\);"
    ):
        fbn.lesion_study(model, networks, battery, **options)
    with pytest.warns(
        UserWarning, match=r"^networks hold .*unit 2 of layer 0 \(99.9 % .* in other\) and unit 7"
    ) as caught:
        fbn.lesion_study(model, networks, battery, reference=reference, **options)
    assert len(caught) == 1
