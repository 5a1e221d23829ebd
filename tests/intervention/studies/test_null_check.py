"""The same analysis where its claim should fail: what each null exchanges, calibrated p, and a claim that stands."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tl_fbn as fbn
from tests.helpers.models import tiny_model
from tl_fbn.intervention.studies.null_check import reordered, shuffled

PROMPTS = {"a": [1, 2, 3, 4, 5], "b": [6, 7, 8], "c": [9]}


def test_labels_are_dealt_anew_and_orders_change() -> None:
    dealt = shuffled(PROMPTS, 0)
    assert {name: len(own) for name, own in dealt.items()} == {"a": 5, "b": 3, "c": 1}
    assert sorted(one for own in dealt.values() for one in own) == list(range(1, 10)) and dealt != PROMPTS
    assert shuffled(PROMPTS, 0) == dealt != shuffled(PROMPTS, 1)
    for seed in range(20):
        again = reordered(PROMPTS, seed)
        assert list(again) != list(PROMPTS)
        assert {name: sorted(own) for name, own in again.items()} == PROMPTS


def test_each_null_changes_what_it_says() -> None:
    model = tiny_model()
    ids = torch.tensor([[1, 2, 3, 4]])
    space = fbn.Scanner(model).space
    unit = fbn.Network.from_indices(space, [0])

    def analysis(model, prompts):
        with torch.no_grad(), fbn.inhibit(model, unit):
            lesioned = float(model(ids).sum())
        return {
            "logits": float(model(ids).detach().sum()),
            "lesion": lesioned,
            "label": float(np.mean(prompts["a"])),
            "first": list(prompts).index("a"),
        }

    check = fbn.null_check(analysis, model, PROMPTS, seed=0, n=2, progress=False)
    own = dict(zip(check.numbers, check.model, strict=True))
    found = {
        name: dict(zip(check.numbers, runs.T, strict=True))
        for name, runs in zip(check.nulls, check.values, strict=True)
    }
    for name, changed in {
        "untrained": {"logits", "lesion"},
        "shuffled": {"label"},
        "rotated": {"lesion"},
        "reordered": set(),
    }.items():
        moved = {number for number, runs in found[name].items() if not np.allclose(runs, own[number])}
        assert moved - {"first"} == changed, name
    assert 0 in [check.model[3]] and found["reordered"]["first"].max() > 0
    assert not torch.allclose(
        torch.tensor(found["untrained"]["logits"][0]), torch.tensor(found["untrained"]["logits"][1])
    )


def test_a_claim_that_needs_labels_stands_and_one_without_does_not() -> None:
    rng = np.random.default_rng(0)
    prompts = {"a": list(rng.normal(3, 1, 40)), "b": list(rng.normal(0, 1, 40))}

    def analysis(model, prompts):
        return {"labels": np.mean(prompts["a"]) - np.mean(prompts["b"]), "anything": 1.0}

    check = fbn.null_check(
        analysis, tiny_model(), prompts, seed=0, nulls=["shuffled", "reordered"], n=5, progress=False
    )
    table = check.summary().set_index("number")
    assert table["stands"].to_dict() == {"labels": True, "anything": False}
    assert table.loc["labels", "reordered"] == pytest.approx(table.loc["labels", "model"])
    lines = check.to_dataframe().set_index(["number", "null"])
    assert lines["p"]["labels", "shuffled"] == pytest.approx(1 / 6)
    assert lines["p"]["anything", "shuffled"] == 1 and np.isnan(lines["p"]["labels", "reordered"])


def test_p_of_shuffled_labels_is_calibrated() -> None:
    model = tiny_model()
    rng = np.random.default_rng(1)
    found = []
    for seed in range(400):
        prompts = {"a": list(rng.normal(size=6)), "b": list(rng.normal(size=6))}
        check = fbn.null_check(
            lambda model, prompts: float(np.mean(prompts["a"]) - np.mean(prompts["b"])),
            model,
            prompts,
            seed=1000 * seed,
            nulls=["shuffled"],
            n=4,
            progress=False,
        )
        found.append(check.to_dataframe()["p"].item())
    share = np.mean(np.array(found) <= 0.2)
    assert abs(share - 0.2) < 4 * np.sqrt(0.2 * 0.8 / 400), share


def test_maps_agree_in_another_order_and_not_in_an_untrained_twin(demo_model) -> None:
    prompts = {task: fbn.prompts(task, n=30) for task in ("sort", "reverse")}

    def analysis(model, prompts):
        design = fbn.block_design(prompts, n_runs=2, n_cycles=2, tokens_per_block=64, seed=0)
        return fbn.fit_glm(fbn.Scanner(model).stream(design, progress=False)).contrast("sort - reverse").effect

    check = fbn.null_check(analysis, demo_model, prompts, seed=0, n=1, progress=False)
    table = check.map_agreement().set_index("null")["median"]
    assert "rotated" not in table.index  # other units
    assert table["reordered"] > 0.9 > 0.5 > abs(table["untrained"])
    again = fbn.null_check(analysis, demo_model, prompts, seed=0, n=1, progress=False)
    assert np.array_equal(check.values, again.values, equal_nan=True)


def test_without_prompts_only_the_model_is_exchanged() -> None:
    check = fbn.null_check(lambda model: 1.0, tiny_model(), seed=0, n=1, progress=False)
    assert check.nulls == ("untrained", "rotated") and not check.summary()["stands"].any()


def test_a_number_of_ones_own() -> None:
    check = fbn.null_check(
        lambda model: object(), tiny_model(), seed=0, n=1, progress=False, number=lambda returned: {"x": 3}
    )
    assert check.numbers == ("x",) and check.maps == ()


def test_a_plan_counts_runs() -> None:
    calls = []
    plan = fbn.studies.plan_null_check(lambda model: calls.append(1), tiny_model(), n=4)
    assert (plan.runs, len(calls)) == (9, 1) and plan.bytes == sum(one.nbytes for one in tiny_model().parameters())
    assert fbn.studies.plan_null_check(lambda model: 1, tiny_model(), nulls=["rotated"], n=2).bytes == 0


@pytest.mark.parametrize(
    "given, said",
    [
        ({"analysis": 3}, "must be a function of a model and prompts; got int"),
        ({"n": 0}, "at least 1; got 0"),
        ({"nulls": ["upside-down"]}, "nulls"),
        ({"nulls": []}, "at most once, and one at least"),
        ({"nulls": ["rotated", "rotated"]}, "at most once"),
        ({"prompts": None, "nulls": ["shuffled"]}, "give prompts="),
        ({"prompts": {"a": [1]}}, "two conditions or more"),
        ({"prompts": {"a": [1], "b": []}}, "got a 1, b 0"),
        ({"analysis": lambda model, prompts: None}, "returned None"),
        ({"analysis": lambda model, prompts: {str(prompts["a"]): 1}}, "names must be the same"),
    ],
)
def test_refusals(given, said) -> None:
    settings = {"analysis": lambda model, prompts: 1.0, "model": tiny_model(), "prompts": PROMPTS, "seed": 0}
    with pytest.raises((fbn.InputError, TypeError), match=said):
        fbn.null_check(**(settings | {"progress": False} | given))
