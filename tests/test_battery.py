"""Batteries: scores against a hand-written reference, chance and majority, minimal pairs, refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import tl_fbn as fbn
from tests.conftest import SHARED, tiny_model
from tl_fbn.intervention.battery import Battery, BatteryItem, Task

BLIMP = SHARED / "data" / "blimp"


def reference(model, before: tuple[int, ...], answer: tuple[int, ...]) -> tuple[bool, float]:
    """Greedy exact match by stepping, and mean log-probability of the answer's tokens."""
    ids, right, total = list(before), True, 0.0
    for token in answer:
        with torch.no_grad():
            last = model(torch.tensor([ids]))[0, -1].log_softmax(-1)
        right &= int(last.argmax()) == token
        total += float(last[token])
        ids.append(token)
    return right, total / len(answer)


def test_answers_equal_step_by_step_decoding(model):
    rng = np.random.default_rng(0)
    pairs = []
    for i in range(12):
        before = tuple(rng.integers(0, 50, rng.integers(2, 8)).tolist())
        answer = tuple(rng.integers(0, 50, rng.integers(1, 4)).tolist())
        if i % 2:  # what the model itself would say, so that some items are right
            with torch.no_grad():
                answer = (int(model(torch.tensor([before]))[0, -1].argmax()),)
        pairs.append((before, answer))
    scores = Battery.from_pairs({"task": pairs}).score(model)["task"]
    expected = [reference(model, before, answer) for before, answer in pairs]
    assert scores.exact_match.tolist() == [right for right, _ in expected]
    assert 0 < scores.exact_match.sum() < len(pairs)
    np.testing.assert_allclose(scores.log_likelihood, [value for _, value in expected], rtol=1e-4)


def test_teacher_forced_exact_match_equals_generation(demo_model):
    battery = fbn.demo.battery(n=15)
    scores = battery.score(demo_model)
    tokenizer = demo_model.tokenizer
    for name, task in battery.tasks.items():
        for item, hit in zip(task.items, scores[name].exact_match, strict=True):
            before = tokenizer("<bos> " + str(item.prompt), add_special_tokens=False, return_tensors="pt")["input_ids"]
            answer = tokenizer(str(item.alternatives[0]), add_special_tokens=False)["input_ids"]
            said = demo_model.generate(
                before, max_new_tokens=len(answer), do_sample=False, stop_at_eos=False, verbose=False
            )
            assert (said[0, before.shape[1] :].tolist() == answer) == hit, f"{name}: {item}"


def test_choice_is_right_when_the_first_alternative_is_likelier(model):
    first, second = (3, 1, 4, 1, 5), (9, 2, 6, 5, 3)
    likelihood = {ids: reference(model, ids[:1], ids[1:])[1] for ids in (first, second)}
    task = Task(
        "t",
        "choice",
        (BatteryItem("", (first, second)), BatteryItem("", (second, first)), BatteryItem("", (first, first))),
    )
    scores = Battery({"t": task}).score(model)["t"]
    assert scores.exact_match.tolist() == [
        likelihood[first] > likelihood[second],
        likelihood[second] > likelihood[first],
        False,
    ]
    assert task.chance == 0.5


def test_text_has_likelihood_only(model):
    table = Battery.from_texts({"text": [(3, 1, 4, 1, 5)]}).evaluate(model)
    assert np.isnan(table.loc[0, "exact_match"]) and np.isnan(table.loc[0, "chance"])
    assert table.loc[0, "log_likelihood"] == pytest.approx(reference(model, (3,), (1, 4, 1, 5))[1], rel=1e-4)


def test_chance_and_majority():
    task = Battery.from_pairs({"t": [("a", "x"), ("b", "x"), ("c", "x"), ("d", "y")]}).tasks["t"]
    assert task.majority == 0.75
    assert task.chance == pytest.approx(0.75**2 + 0.25**2)


def test_table_has_the_columns_of_the_contract(demo_model):
    table = fbn.demo.battery(n=5).evaluate(demo_model)
    assert list(table.columns) == ["task", "exact_match", "log_likelihood", "n", "chance", "majority"]
    assert (table["n"] == 5).all()


def test_minimal_pairs_are_read(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text(
        "".join(
            json.dumps({"sentence_good": f"g {i}", "sentence_bad": f"b {i}", "UID": "mine"}) + "\n" for i in range(3)
        )
    )
    battery = Battery.from_jsonl(path)
    assert list(battery.tasks) == ["mine"]
    assert battery.tasks["mine"].items[2] == BatteryItem("", ("g 2", "b 2"))
    assert len(Battery.from_jsonl(path, name="x", n=2).tasks["x"].items) == 2
    path.write_text('{"sentence_good": "g"}\n')
    with pytest.raises(ValueError, match=r"line 1 is no minimal pair .*sentence_good and sentence_bad"):
        Battery.from_jsonl(path)
    path.write_text("")
    with pytest.raises(ValueError, match="has no lines"):
        Battery.from_jsonl(path)


@pytest.mark.slow
@pytest.mark.skipif(not BLIMP.is_dir(), reason="shared models and data are not beside the repository")
def test_blimp_on_a_real_model_as_its_readme_states():
    from transformer_lens.model_bridge import TransformerBridge

    model = TransformerBridge.boot_transformers(str(SHARED / "models" / "stories260K"), device="cpu")
    known = {
        "anaphor_gender_agreement": 0.77,
        "determiner_noun_agreement_1": 0.68,
        "regular_plural_subject_verb_agreement_1": 0.63,
    }
    for name, accuracy in known.items():
        table = Battery.from_jsonl(BLIMP / f"{name}.jsonl").evaluate(model)
        assert table.loc[0, "exact_match"] == pytest.approx(accuracy, abs=0.025)


def test_a_merge_across_the_boundary_belongs_to_the_answer():
    class Pairs:
        """Two letters make one token wherever they can, from the left."""

        bos_token_id = None

        def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
            text = text.replace(" ", "")
            return {"input_ids": [sum(map(ord, text[i : i + 2])) for i in range(0, len(text), 2)]}

    from tl_fbn.intervention.battery import _encode_item

    ids, start = _encode_item(Pairs(), "abc", "de")  # ab cd e, where the prompt alone is ab c
    assert (len(ids), start) == (3, 1)


def test_refusals():
    model = tiny_model(n_ctx=8)
    with pytest.raises(ValueError, match="at least one task"):
        Battery({})
    with pytest.raises(ValueError, match="has no items"):
        Battery.from_pairs({"t": []})
    with pytest.raises(ValueError, match="12 tokens, the model's context holds 8"):
        Battery.from_pairs({"t": [((1,) * 10, (2, 3))]}).score(model)
    with pytest.raises(ValueError, match="nothing to score"):
        Battery.from_texts({"t": [(1,)]}).score(model)
    with pytest.raises(ValueError, match="no task x in this battery; tasks: t"):
        Battery.from_texts({"t": [(1, 2)]}).select(["x"])
