"""The embedded model and the main job: it speaks its language, and the lesions show what they are said to show."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import numpy as np
import pytest

import tl_fbn as fbn
from tests.conftest import SHARED
from tl_fbn.acquisition.design.stimuli import formal
from tl_fbn.demo import pipeline, story, train


def test_loads_without_a_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the demo model asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    model = fbn.demo.load_model()
    assert not model.training
    assert model.tokenizer.bos_token == "<bos>"


def test_weights_fit_in_the_wheel():
    total = sum(path.stat().st_size for path in fbn.demo.weights_folder().iterdir())
    assert total < 4_000_000


def test_held_out_exact_match_is_at_least_95_percent_on_every_task(demo_model):
    table = fbn.demo.battery(n=300, seed=5).evaluate(demo_model).set_index("task")
    assert set(table.index) == set(formal.TASKS)
    assert (table["exact_match"] >= 0.95).all(), table
    assert (table["majority"] < 0.35).all()


def test_training_record_states_what_was_achieved():
    record = json.loads((fbn.demo.weights_folder() / "training.json").read_text())
    assert min(record["exact_match"].values()) >= 0.95
    assert record["minutes"] > 0 and record["seed"] == 0


def test_battery_items_are_neither_prompts_nor_training(demo_model):
    shown = {prompt for task in formal.TASKS for prompt in fbn.prompts(task, n=600)}
    for task in fbn.demo.battery(n=100).tasks.values():
        for item in task.items:
            assert f"{item.prompt} {item.alternatives[0]}" not in shown
            question = str(item.prompt).removeprefix("[INST] ").removesuffix(" [/INST]")
            assert formal.split_of(question) == "battery"


def test_model_answers_in_chat_form(demo_model):
    tokenizer = demo_model.tokenizer
    chat = [{"role": "user", "content": "sort : d b a"}]
    ids = tokenizer.apply_chat_template(chat, return_tensors="pt", return_dict=True)["input_ids"]
    assert tokenizer.decode(ids[0]) == "<bos> [INST] sort : d b a [/INST]"
    said = demo_model.generate(ids, max_new_tokens=3, do_sample=False, stop_at_eos=False, verbose=False)
    assert tokenizer.decode(said[0, ids.shape[1] :]) == "a b d"


def test_shipped_tokenizer_is_the_one_the_script_builds(demo_model):
    built = train.build_tokenizer()
    assert built.get_vocab() == demo_model.tokenizer.get_vocab()
    assert built.chat_template == demo_model.tokenizer.chat_template


def test_training_learns_and_writes_a_folder_that_loads(tmp_path, capsys):
    train.main(
        [
            "--out",
            str(tmp_path / "m"),
            "--steps",
            "3",
            "--rows",
            "2",
            "--d-model",
            "24",
            "--layers",
            "1",
            "--d-mlp",
            "16",
        ]
    )
    from transformer_lens.model_bridge import TransformerBridge

    model = TransformerBridge.boot_transformers(str(tmp_path / "m"), device="cpu")
    assert model.cfg.n_layers == 1
    assert "held-out exact match" in capsys.readouterr().out


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """The demo with fewer items and controls than the command uses."""
    folder = tmp_path_factory.mktemp("demo")
    experiment = pipeline.formal_experiment(n_items=40)
    return experiment, pipeline.run_demo(experiment, folder, n_controls=19, progress=False)


def test_lesions_break_their_own_task_and_random_ones_do_not(result):
    """The claim in small; ``tl-fbn demo`` makes it with 100 items and 100 controls, where p can reach .0099."""
    _, found = result
    own = found.study.summary().set_index("network")
    assert (own["units"] <= 0.05 * found.atlas.space.n_units).all()
    strong = own[
        (own["own"] >= 0.4)
        & (own["own"] >= 3 * own["other_median"])
        & (own["control_median"] < 0.25 * own["own"])
        & (own["p"] <= 0.05)
    ]
    assert len(strong) >= 4, own
    assert set(found.study.discovery.values()) == {"disjoint"}


def test_amplification_raises_what_the_network_stands_for(result):
    _, found = result
    table = found.amplification.set_index("network")
    assert (table["p"] <= 0.05).sum() >= 4, table.to_string()
    assert (table["change"] > table["control_median"]).all(), table.to_string()


def test_a_second_demo_reuses_the_recording(result):
    experiment, found = result
    lines: list[str] = []
    again = pipeline.run_demo(experiment, found.folder, n_controls=1, progress=False, say=lines.append)
    assert again.reused and not found.reused
    assert any("no forward pass was run" in line for line in lines)
    assert again.recording.key == found.recording.key
    assert [a == b for a, b in zip(again.atlas.values(), found.atlas.values(), strict=True)] == [True] * 7


def test_tables_and_page_tell_the_same_story(result, tmp_path):
    experiment, found = result
    text = story.tables(found, experiment)
    for name in formal.TASKS:
        assert name in text
    page = tmp_path / "report.html"
    story.report(found, experiment).save(page)
    html = page.read_text(encoding="utf-8")
    assert html.count("<h2") >= 8
    assert page.stat().st_size < 7_000_000
    drop = found.study.summary()["own"].max()
    assert f"{100 * drop:.0f}" in text
    assert {path.name for path in Path(found.folder).iterdir()} >= {
        "atlas.safetensors",
        "glm.safetensors",
        "lesions.safetensors",
        "lesions.csv",
        "amplification.csv",
    }
    assert fbn.Atlas.load(found.folder / "atlas.safetensors")["sort"] == found.atlas["sort"]
    np.testing.assert_array_equal(fbn.GLMFit.load(found.folder / "glm.safetensors").rho, found.fit.rho)


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="shared models are not beside the repository")
def test_the_same_steps_run_on_a_model_nobody_here_trained(tmp_path):
    from transformer_lens.model_bridge import TransformerBridge

    model = TransformerBridge.boot_transformers(str(SHARED / "models" / "stories260K"), device="cpu")
    experiment = pipeline.topic_experiment(model)
    found = pipeline.run_demo(experiment, tmp_path, n_controls=3, progress=False)
    table = found.study.to_dataframe()
    assert set(table["metric"]) == {"log_likelihood"}
    assert np.isfinite(table[["baseline", "lesioned", "drop", "p"]].to_numpy()).all()
    assert (table["baseline"] > -6).all() and (table["baseline"] < 0).all()
    story.report(found, experiment).save(tmp_path / "report.html")
    assert "drop" in story.tables(found, experiment) or "own" in story.tables(found, experiment)
