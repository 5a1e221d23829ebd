"""Batteries: scores and outputs against a hand-written reference, several accepted answers, perplexity, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tl_fbn as fbn
from tests.helpers.models import tiny_model
from tests.helpers.paths import BLIMP, SHARED
from tl_fbn.intervention.behaviour.battery import Battery, BatteryItem, Task


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


def test_table_has_the_columns_of_the_contract(demo_model):
    battery = fbn.demo.battery(n=5)
    table = battery.evaluate(demo_model, columns="all")
    known = ["task", "exact_match", "log_likelihood", "n", "chance", "majority"]
    assert list(table.columns) == [*known, "constant", "parsed", "repetition", "flag", "perplexity"]
    main = battery.evaluate(demo_model)
    assert main.equals(table[[*known, "flag"]])
    assert max(map(len, str(main).splitlines())) <= 80
    both = battery | Battery.from_texts({"prose": ["sort : k a e"]})
    assert list(both.evaluate(demo_model)) == [*known, "flag", "perplexity"]
    with pytest.raises(fbn.InputError, match="columns must be 'main' or 'all'; got 'some'"):
        battery.evaluate(demo_model, columns="some")
    assert (table["n"] == 5).all()


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


def test_outputs_are_the_most_probable_tokens_given_the_true_ones(model):
    pairs = [((3, 1, 4), (1, 5)), ((9, 2), (6,)), ((5, 3, 5, 8), (9, 7, 9))]
    scores = Battery.from_pairs({"first": [((1,), (2,))], "task": pairs}).score(model, batch_tokens=8)["task"]
    for line, (before, answer) in zip(scores.outputs, pairs, strict=True):
        with torch.no_grad():
            said = model(torch.tensor([before + answer]))[0].argmax(-1).tolist()[len(before) - 1 : -1]
        assert line.tolist() == said + [-1] * (3 - len(answer))
    assert [[token for token in answer if token >= 0] for answer in scores.answers.tolist()] == [[1, 5], [6], [9, 7, 9]]


def test_any_accepted_answer_will_do(model):
    before = (3, 1, 4)
    with torch.no_grad():
        said = int(model(torch.tensor([before]))[0, -1].argmax())
    wrong, longer = (said + 1) % 50, ((said + 2) % 50, 7)
    items = [(before, [(wrong,), (said,)]), (before, [(wrong,), longer]), (before, (said,))]
    scores = Battery.from_pairs({"t": items}).score(model)["t"]
    assert scores.exact_match.tolist() == [True, False, True]
    likelihood = {answer: reference(model, before, answer)[1] for answer in ((wrong,), (said,), longer)}
    best = [likelihood[(said,)], max(likelihood[(wrong,)], likelihood[longer]), likelihood[(said,)]]
    np.testing.assert_allclose(scores.log_likelihood, best, rtol=1e-4)
    assert scores.outputs[:, 0].tolist() == [said] * 3
    single = [Battery.from_pairs({"t": [(before, answer)]}).score(model)["t"] for answer in ((wrong,), longer)]
    assert not any(one.exact_match[0] for one in single)


def test_choices_of_several_sizes_equal_a_loop(model):
    rng = np.random.default_rng(0)
    items = []
    for _ in range(10):
        prompt = tuple(rng.integers(0, 50, 3).tolist())
        answers = [tuple(rng.integers(0, 50, rng.integers(1, 4)).tolist()) for _ in range(rng.integers(2, 5))]
        items.append((prompt, answers, int(rng.integers(len(answers)))))
    scores = Battery.from_choices({"t": items}).score(model, batch_tokens=42)["t"]
    for line, exact, (prompt, answers, right) in zip(scores.outputs, scores.exact_match, items, strict=True):
        sums = [reference(model, prompt, answer)[1] * len(answer) for answer in answers]
        assert exact == (int(np.argmax(sums)) == right)
        stored = [answers[right], *answers[:right], *answers[right + 1 :]]
        assert stored[line[0]] == answers[int(np.argmax(sums))]
    assert 0 < scores.exact_match.sum() < len(items)


def test_perplexity_counts_every_token_once(model):
    texts = [(3, 1, 4, 1, 5), (9, 2)]
    table = Battery.from_texts({"text": texts}).evaluate(model)
    sums = [reference(model, text[:1], text[1:])[1] * (len(text) - 1) for text in texts]
    assert table.loc[0, "perplexity"] == pytest.approx(np.exp(-sum(sums) / 5), rel=1e-4)
    assert np.isnan(Battery.from_pairs({"t": [((1,), (2,))]}).evaluate(model, columns="all").loc[0, "perplexity"])


def test_a_batch_knows_where_scoring_starts(model):
    battery = Battery.from_pairs({"t": [((1, 2, 3), (4,)), ((5,), (6, 7)), ((8, 9), [(1,), (2, 3)])]})
    starts = {}
    for batch in battery._prepared(model, 8).whole.rests:
        for number, start, ids in zip(batch.sequences, batch.starts.tolist(), batch.ids.tolist(), strict=True):
            starts[number] = (start, ids[start])
    assert starts == {0: (3, 4), 1: (1, 6), 2: (2, 1), 3: (2, 2)}


def test_asking_what_is_read_makes_no_batch_and_refuses_none(model):
    """A study in a folder asks for the tokens of items before it scores them, in passes of the size it was given."""
    long = Battery.from_texts({"t": [tuple(range(1, 31))]})
    with pytest.raises(ValueError, match="batch_tokens=8 is less than the longest item, of 30 tokens"):
        long.score(model, batch_tokens=8)
    assert long.scored_tokens(model) == {"t": [[list(range(1, 31)), 1]]}
    several = Battery.from_choices({"c": [((1, 2), [(3,), (4, 5), (6,)], 1)]}) | Battery.from_pairs(
        {"p": [((7,), (8,))]}
    )
    assert several.scored_tokens(model) == {
        "c": [[[1, 2, 4, 5], 2], [[1, 2, 3], 2], [[1, 2, 6], 2]],
        "p": [[[7, 8], 1]],
    }


def test_a_model_that_says_one_thing_is_flagged(demo_model):
    battery = fbn.demo.battery(n=40).select(["count", "sort"])
    assert (battery.evaluate(demo_model)["flag"] == "").all()
    word = demo_model.tokenizer.convert_tokens_to_ids("3")

    def always(logits, hook):
        return torch.nn.functional.one_hot(torch.full(logits.shape[:2], word), logits.shape[2]).to(logits) * 9.0

    with demo_model.hooks(fwd_hooks=[("unembed.hook_out", always)]):
        table = battery.evaluate(demo_model, columns="all").set_index("task")
    assert table.loc["count", "constant"] == 1 and table.loc["count", "parsed"] == 1
    assert table.loc["count", "exact_match"] <= table.loc["count", "majority"]
    assert table.loc["count", "flag"] == "constant output; no better than the majority"
    assert table.loc["sort", "constant"] == 1 and table.loc["sort", "parsed"] == 0
    assert table.loc["sort", "repetition"] == 1  # "3 3 3 3 3"
    assert table.loc["sort", "flag"].endswith("mostly unparsable; mostly repetition")


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


def test_batteries_are_joined_like_dicts_and_name_twins() -> None:
    one, two = Battery.from_pairs({"a": [("x", "y"), ("y", "x")]}), Battery.from_texts({"b": ["x y"]})
    both = one | two
    assert list(both.tasks) == ["a", "b"] and both.tasks["a"] is one.tasks["a"]
    assert repr(both) == "Battery of 2 tasks: a (2 answer), b (1 text)"
    assert repr(one) == "Battery of 1 task: a (2 answer)"
    with pytest.raises(ValueError, match="both batteries have a task a; give one of them another name="):
        both | one


def test_pairs_by_name_make_a_battery_as_from_pairs_does():
    pairs = [("one cat, two", "cats"), ("one dog, two", ["dogs", "hounds"])]
    made = Battery({"plural": pairs}, prepend_bos=False)
    assert made.tasks == Battery.from_pairs({"plural": pairs}).tasks and made.prepend_bos is False
    both = Battery({"again": made.tasks["plural"], "more": [("a", "b")]})  # tasks and pairs side by side
    assert both.tasks["again"] is made.tasks["plural"] and both.tasks["more"].items[0].alternatives == ("b",)
    for wrong, message in (
        ({"t": "ab"}, r"tasks\['t'\] must be a Task or a list; got 'ab'"),
        ({"t": [("a", [])]}, "task 't' has a prompt without an answer"),
        ([("a", "b")], "tasks must be a mapping of text to Tasks or lists"),
    ):
        with pytest.raises(ValueError, match=message):
            Battery(wrong)


def test_tasks_that_differ_in_case_only_are_refused():
    upper, lower = Battery.from_pairs({"Sort": [("a", "b")]}), Battery.from_texts({"sort": ["a b"]})
    with pytest.raises(ValueError, match="the tasks 'Sort' and 'sort' differ in upper and lower case only"):
        _ = upper | lower
    with pytest.raises(ValueError, match="the tasks 'a' and 'A' differ"):
        Battery.from_qa({"a": [("b?", "c")], "A": [("d?", "e")]})
