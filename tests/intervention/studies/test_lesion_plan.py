"""Plans of lesion studies: what they count is what the study runs."""

from __future__ import annotations

import tl_fbn as fbn
from tests.helpers.models import own_words
from tl_fbn.intervention.behaviour.battery import Battery


def test_a_plan_counts_what_the_study_runs(rigged, monkeypatch):
    model, neuron = rigged
    network = fbn.Network.from_indices(fbn.Scanner(model).space, [(1, neuron)])
    battery = Battery.from_pairs({"task": own_words(model, n=7)})
    plan = fbn.plan_lesions(model, {"task": network}, battery, n_controls=5, batch_tokens=28)
    assert (plan.lesions, plan.items, plan.passes, plan.tokens) == (6, 7, 14, 7 * 7 * 6)
    assert "14 forward passes" in repr(plan)
    passes = []
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda *a, **k: passes.append(1) or forward(*a, **k))
    fbn.lesion_study(model, {"task": network}, battery, n_controls=5, batch_tokens=28, seed=0, progress=False)
    assert len(passes) == plan.passes
