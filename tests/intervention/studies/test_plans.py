"""Plans of the studies: what they count is what the studies run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers.planted import PLANTS, planted
from tl_fbn.intervention.studies.collapse import most_lesions

OPTIONS: dict[str, Any] = {"n_controls": 3, "batch_tokens": 100}


@pytest.fixture(scope="module")
def network(demo_model) -> fbn.Network:
    return fbn.Network.from_indices(fbn.Scanner(demo_model).space, range(0, 1152, 40), name="sort")


@pytest.fixture(scope="module")
def scores(network) -> fbn.UnitMap:
    return fbn.UnitMap(network.space, np.random.default_rng(0).permutation(1152) / 1152.0, "effect")


@pytest.fixture
def read(demo_model, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Tokens of every forward pass of the embedded model."""
    sizes: list[int] = []
    forward = demo_model.original_model.forward

    def counted(*given: Any, **more: Any) -> Any:
        ids = more["input_ids"] if "input_ids" in more else given[0]
        sizes.append(int(ids.numel()))
        return forward(*given, **more)

    monkeypatch.setattr(demo_model.original_model, "forward", counted)
    return sizes


def compare(plan: fbn.studies.StudyPlan, run: Callable[[], Any], read: list[int]) -> None:
    read.clear()
    run()
    assert (plan.passes, plan.tokens) == (len(read), sum(read))


def test_a_plan_of_doses(demo_model, few_items, network, scores, read) -> None:
    for what, doses in ((network, {"gains": (0, 1, 2)}), (scores, {"sizes": (0.01, 0.1)})):
        plan = fbn.studies.plan_dose_response(demo_model, what, few_items, **doses, **OPTIONS)
        assert plan.runs == 1 + 2 * 4 and plan.items == 16 and plan.bytes == 9 * 16 * 16
        compare(
            plan,
            lambda what=what, doses=doses: fbn.dose_response(
                demo_model, what, few_items, **doses, **OPTIONS, seed=0, progress=False
            ),
            read,
        )


def test_a_plan_of_a_validation(demo_model, few_items, scores, read) -> None:
    settings: dict[str, Any] = {"n_units": 6, "n_groups": 2, **OPTIONS}
    plan = fbn.studies.plan_score_validation(demo_model, {"a": scores}, few_items, "sort", **settings)
    assert plan.runs == 1 + 6 + 2 + 1 + 3
    compare(
        plan,
        lambda: fbn.validate_scores(demo_model, {"a": scores}, few_items, "sort", **settings, seed=0, progress=False),
        read,
    )


def test_a_plan_of_a_retention_curve(demo_model, few_items, network, read) -> None:
    atlas = fbn.Atlas.from_networks({"a": network, "b": network.restrict(layers=[1])})
    plan = fbn.studies.plan_retention(demo_model, atlas, few_items, **OPTIONS)
    assert plan.runs == 1 + 2 * 4
    compare(
        plan,
        lambda: fbn.studies.retention_curve(demo_model, atlas, few_items, **OPTIONS, seed=0, progress=False),
        read,
    )


@pytest.mark.parametrize("n_permutations", [None, 4])
def test_a_plan_of_shapley_values(demo_model, few_items, network, read, n_permutations) -> None:
    atlas = fbn.Atlas.from_networks({f"layer {i}": network.restrict(layers=[i]) for i in range(3)})
    settings: dict[str, Any] = {"n_permutations": n_permutations, "seed": 1, "batch_tokens": 100}
    plan = fbn.studies.plan_shapley(demo_model, atlas, few_items, **settings)
    assert plan.runs == 8
    compare(plan, lambda: fbn.shapley(demo_model, atlas, few_items, **settings, progress=False), read)


def test_a_plan_of_an_ablation_counts_its_lesions(demo_model, few_items, read) -> None:
    chats = {task: fbn.chats(task, n=4) for task in ("sort", "reverse")}
    settings: dict[str, Any] = {"tokens": ("special",), "variants": ("grad",), **OPTIONS}
    plan = fbn.studies.plan_token_ablation(demo_model, chats, few_items, **settings)
    gradients = [fbn.attribution.plan_gradients(demo_model, each, batch_tokens=100) for each in chats.values()]
    read.clear()
    fbn.studies.token_ablation(demo_model, chats, few_items, **settings, seed=0, progress=False)
    assert plan.passes == len(read) - sum(each.passes for each in gradients)
    assert plan.tokens == sum(read) - sum(each.tokens for each in gradients)


@pytest.mark.parametrize("controls", ["calibrated", "chosen", "both"])
def test_a_plan_of_a_calibration_is_the_most_it_can_cost(demo_model, few_items, network, read, controls) -> None:
    settings: dict[str, Any] = {"task": "sort", "gains": (1.1, 1.5), "controls": controls, **OPTIONS}
    plan = fbn.studies.plan_gain_calibration(demo_model, network, few_items, **settings)
    read.clear()
    fbn.calibrate_gain(demo_model, network, few_items, **settings, seed=0, progress=False)
    assert 0.3 * plan.passes < len(read) <= plan.passes and plan.at_most and "at most" in repr(plan)


def test_what_the_study_would_refuse_is_refused(demo_model, few_items, network, scores) -> None:
    with pytest.raises(fbn.InputError, match="sizes= are for a map"):
        fbn.studies.plan_dose_response(demo_model, network, few_items, sizes=(0.1, 0.2))
    with pytest.raises(fbn.InputError, match="no task 'x'"):
        fbn.studies.plan_gain_calibration(demo_model, network, few_items, task="x")
    with pytest.raises(fbn.InputError, match="no scores"):
        fbn.studies.plan_score_validation(demo_model, {}, few_items, "sort")


def test_a_plan_of_collapse_neurons_is_the_most_that_a_search_reads():
    model, texts = planted(PLANTS["pair"])
    plan = fbn.studies.plan_collapse(model, texts * 2, n=10, max_tokens=8)
    assert plan.at_most and plan.runs == most_lesions(40, 6, 59, 4) and plan.items == 10
    assert plan.tokens == plan.runs * 80 and repr(plan).startswith("Plan of a search for collapse neurons: at most 217")
    assert fbn.studies.plan_collapse(model, texts, n_null=19).runs == plan.runs - 40 - 2 * 13
