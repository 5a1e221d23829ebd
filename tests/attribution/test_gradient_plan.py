"""The plan of a gradient score says what will run, and what it will keep."""

from __future__ import annotations

import importlib
import itertools

import pytest

import tl_fbn as fbn

scoring = importlib.import_module("tl_fbn.attribution.cgvst")  # the function of that name hides it


def test_a_plan_counts_the_passes_that_are_made(demo_model, monkeypatch: pytest.MonkeyPatch) -> None:
    chats = fbn.chats("sort", n=12)
    plan = fbn.attribution.plan_gradients(demo_model, chats, batch_tokens=100)
    made = []
    monkeypatch.setattr(
        scoring,
        "propagate",
        lambda model, items, *given, _real=scoring.propagate, **more: (
            made.append(len(items) * max(len(item.ids) for item in items)) or _real(model, items, *given, **more)
        ),
    )
    fbn.cgvst(demo_model, chats, batch_tokens=100, progress=False)
    assert plan.items == 12 and plan.passes == len(made) > 1 and plan.tokens == sum(made)
    assert "12 items in" in repr(plan) and "MB beside the model" in repr(plan)


def test_integrated_gradients_take_every_step_in_every_layer(demo_model) -> None:
    chats = fbn.chats("sort", n=4)
    once = fbn.attribution.plan_gradients(demo_model, chats, tokens="answer")
    steps = fbn.attribution.plan_gradients(demo_model, chats, tokens="answer", n_steps=5)
    assert (steps.passes, steps.tokens) == (15 * once.passes, 15 * once.tokens)


def test_bytes_follow_the_tokens_of_a_pass(demo_model) -> None:
    chats = fbn.chats("sort", n=32)
    small, large = (fbn.attribution.plan_gradients(demo_model, chats, batch_tokens=size) for size in (200, 800))
    assert 2 < large.bytes / small.bytes < 6
    # float32, three layers: a number for each neuron, and some times the model's width
    assert 3 * 4 * 384 < small.bytes / 200 < 3 * 4 * (384 + 16 * 96)


def test_seconds_are_those_of_the_largest_pass_scaled(demo_model, monkeypatch: pytest.MonkeyPatch) -> None:
    chats = fbn.chats("sort", n=12)
    clock = itertools.count(0.0)
    monkeypatch.setattr("tl_fbn.attribution.gradient_plan.time.perf_counter", lambda: next(clock))
    plan = fbn.attribution.plan_gradients(demo_model, chats, batch_tokens=100)
    assert plan.seconds == pytest.approx(plan.tokens / 96, rel=0.3)  # a pass of nearly 100 tokens takes a second
