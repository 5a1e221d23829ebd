"""Free responses: known texts judged by hand, the majority trap of S0's parser, and the embedded model's own
answers.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tl_fbn as fbn
from tests.helpers.models import tiny_model
from tl_fbn.intervention.behaviour import parsers
from tl_fbn.intervention.behaviour.battery import Battery, BatteryItem, Task
from tl_fbn.intervention.behaviour.free_responses import Responses, judge

COLA = parsers.S0_LABELS["cola"]


@pytest.fixture(scope="module")
def cola() -> Battery:
    """As many sentences of each class as CoLA's development set has."""
    return Battery.from_pairs({"cola": [(str(i), COLA[0] if i < 721 else COLA[1]) for i in range(1043)]})


def test_the_released_parser_gives_the_majority_rate_and_the_table_says_so(cola):
    truth = [str(item.alternatives[0]) for item in cola.tasks["cola"].items]
    honest = judge(cola.tasks, {"cola": truth}).table["cola"]
    assert honest["accuracy"] == honest["parsed"] == 1 and honest["flag"] == ""
    for texts in (truth, truth[::-1], ["unacceptable"] * 1043):  # always right, mostly wrong, always the rarer class
        trapped = judge(cola.tasks, {"cola": texts}, parser=parsers.s0_substring(COLA)).table["cola"]
        assert trapped["accuracy"] == trapped["majority"] == 721 / 1043
        assert trapped["constant"] == 1 and trapped["parsed"] == 1
        assert trapped["flag"] == "constant output; no better than the majority"


def test_unparsable_is_no_class(cola):
    tasks = cola.limit(40).tasks
    silent = judge(tasks, {"cola": ["it depends"] * 40})
    line = silent.table["cola"]
    assert line["parsed"] == line["accuracy"] == 0 and np.isnan(line["constant"])
    assert line["flag"] == "no better than the majority; mostly unparsable"
    assert set(silent.to_dataframe()["outcome"]) == {"unparsable"} and set(silent.labels) == {None}


def test_known_texts():
    battery = Battery.from_pairs(
        {
            "open": [("a", "Four"), ("b", ["five", "5"]), ("c", "six"), ("d", "seven")],
            "closed": [("a", "yes"), ("b", "no")] * 4,
        }
    )
    texts = {
        "open": [" four ", "5", "six six six", ""],
        "closed": ["Yes.", "no", "I do not know", "yes, no", "yes", "yes", "Yes", "no no no no"],
    }
    table = judge(battery.tasks, texts)
    frame = table.to_dataframe()
    own, other = frame[frame["task"] == "open"], frame[frame["task"] == "closed"]
    assert own["exact_match"].tolist() == [True, True, False, False] == own["right"].tolist()
    assert own["loop"].tolist() == [False, False, True, False]
    assert set(own["outcome"]) == {"open"} and own["item"].tolist() == [0, 1, 2, 3]
    assert other["label"].tolist() == ["yes", "no", None, None, "yes", "yes", "yes", "no"]
    assert other["exact_match"].tolist() == [False, True, False, False, True, False, True, False]
    assert other["right"].tolist() == [True, True, False, False, True, False, True, True]
    summary = table.summary().set_index("task")
    assert np.isnan(summary.loc["open", "accuracy"]) and summary.loc["closed", "accuracy"] == 5 / 8
    assert summary.loc["closed", "constant"] == 4 / 6 and summary.loc["closed", "parsed"] == 6 / 8
    assert summary.loc["open", "parsed"] == 3 / 4 and summary.loc["open", "constant"] == 1 / 4
    assert summary.loc["open", "repetition"] == 1 / 4
    assert summary.loc["closed", "repetition"] == 0  # "no no no no" is a loop, and right
    assert list(table.summary().columns)[:6] == ["task", "exact_match", "accuracy", "n", "chance", "majority"]


def test_choices_are_parsed_to_their_own_alternatives():
    battery = Battery.from_choices(
        {"t": [("q", ["red", "green"], 1), ("r", ["hot", "cold"], 0), ("s", ["up", "down"], 0)]}
    )
    found = judge(battery.tasks, {"t": ["It is green", "cold", "red"]})
    assert found.labels == ("green", "cold", None) and found.right.tolist() == [True, False, False]
    assert found.table["t"]["constant"] == 1  # the second place, both times


def test_a_parser_by_task(cola):
    tasks = {"a": cola.limit(40).tasks["cola"], "b": cola.limit(40).tasks["cola"]}
    texts = {"a": ["unacceptable"] * 40, "b": ["unacceptable"] * 40}
    found = judge(tasks, texts, parser={"b": parsers.s0_substring(COLA)}).summary().set_index("task")
    assert found.loc["b", "accuracy"] == 1


def test_saved_and_loaded(tmp_path, cola):
    found = judge(cola.limit(12).tasks, {"cola": ["acceptable", "eh", "acceptable eh"] * 4})
    found.save(tmp_path / "r.safetensors")
    again = Responses.load(tmp_path / "r.safetensors")
    assert again.to_dataframe().equals(found.to_dataframe()) and again.summary().equals(found.summary())
    assert repr(again) == "Responses to 12 items of 1 tasks, 1 of them flagged" and "cola" in again._repr_html_()


def test_the_embedded_model_writes_what_it_scores(demo_model):
    battery = fbn.demo.battery(n=12)
    responses = battery.respond(demo_model, max_new_tokens=12, batch_tokens=400, progress=False)
    scores = battery.score(demo_model)
    teacher_forced = np.concatenate([one.exact_match for one in scores.values()])
    assert responses.exact_match.tolist() == teacher_forced.tolist() and teacher_forced.any()
    assert responses.provenance["model_dtype"] == "float32"
    for item, text in zip(battery.tasks["sort"].items, np.array(responses.texts).reshape(7, 12)[2], strict=True):
        said = demo_model.generate(
            demo_model.tokenizer("<bos> " + str(item.prompt), add_special_tokens=False, return_tensors="pt")[
                "input_ids"
            ],
            max_new_tokens=len(text.split()),
            do_sample=False,
            stop_at_eos=False,
            verbose=False,
        )
        assert demo_model.tokenizer.decode(said[0]).endswith(text)


def test_chats_are_answered_too(demo_model):
    battery = Battery.from_chats({"sort": fbn.chats("sort", n=6)}, demo_model)
    responses = battery.respond(demo_model, max_new_tokens=10, progress=False)
    assert responses.exact_match.tolist() == battery.score(demo_model)["sort"].exact_match.tolist()
    assert all(isinstance(answer, str) for answer in responses.answers)


def test_a_loop_of_tokens_is_found(demo_model):
    battery = fbn.demo.battery(n=5).select(["sort"])
    word = demo_model.tokenizer.convert_tokens_to_ids("c")

    def always(logits, hook):
        return torch.nn.functional.one_hot(torch.full(logits.shape[:2], word), logits.shape[2]).to(logits) * 9.0

    with demo_model.hooks(fwd_hooks=[("unembed.hook_out", always)]):
        responses = battery.respond(demo_model, max_new_tokens=7, progress=False)
    assert responses.texts == ("c c c c c c c",) * 5 and responses.loop.all()
    assert responses.table["sort"]["flag"] == "constant output; no better than the majority; mostly repetition"


def test_refusals(demo_model, cola):
    with pytest.raises(ValueError, match="this model has no tokenizer"):
        Battery.from_pairs({"t": [((1,), (2,))]}).respond(tiny_model())
    with pytest.raises(ValueError, match="items without a prompt"):
        Battery({"t": Task("t", "choice", (BatteryItem("", ("a", "b")),))}).respond(demo_model)
    with pytest.raises(ValueError, match="passages, not questions"):
        Battery.from_texts({"t": ["a b"]}).respond(demo_model)
    with pytest.raises(ValueError, match="200 to write, the model's context holds 128"):
        fbn.demo.battery(n=1).respond(demo_model, max_new_tokens=200)
    with pytest.raises(ValueError, match="max_new_tokens=0"):
        fbn.demo.battery(n=1).respond(demo_model, max_new_tokens=0)
    with pytest.raises(ValueError, match="2 texts for the 1043 items"):
        judge(cola.tasks, {"cola": ["a", "b"]})
    with pytest.raises(ValueError, match="texts for the tasks x; the battery has cola"):
        judge(cola.tasks, {"x": []})
    with pytest.raises(ValueError, match="answers of token ids"):
        judge(Battery.from_pairs({"t": [((1,), (2,))]}).tasks, {"t": ["a"]})
