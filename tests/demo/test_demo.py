"""The embedded model and the main job: it speaks its language, and the lesions show what they are said to show."""

from __future__ import annotations

import json
import socket

import tl_fbn as fbn
from tl_fbn.acquisition.design.stimuli import formal


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
