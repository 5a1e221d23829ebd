"""Plans of studies and scores, and what finds the networks that a study lesions, as subjects."""

from __future__ import annotations

from types import SimpleNamespace

import tl_fbn as fbn
from tests.helpers.materials import CHATS, Subject


def of_plans(m: SimpleNamespace) -> dict[str, Subject]:
    """Name to subject.

    Args:
        m: What :func:`tests.helpers.materials.materials` made.
    """
    chats = {"sort": CHATS, "reverse": fbn.chats("reverse", n=2)}
    studied = {"model": m.model, "battery": m.battery, "n_controls": 2, "batch_tokens": 512}
    doses = {"gains": (0, 1), "adds": None, "adds_sd": None}
    return {
        "plan_gradients": Subject.of(
            fbn.attribution.plan_gradients, model=m.demo, items=CHATS, positions=None, n_steps=2, batch_tokens=8192
        ),
        "plan_dose_response": Subject.of(
            fbn.studies.plan_dose_response, **studied, network=m.network, **doses, sizes=None
        ),
        "plan_gain_calibration": Subject.of(
            fbn.studies.plan_gain_calibration,
            **studied,
            network=m.network,
            **doses,
            task=None,
            share=0.5,
            controls="both",
            seed=0,
        ),
        "plan_score_validation": Subject.of(
            fbn.studies.plan_score_validation, **studied, scores=m.maps, task="a", n_units=4, n_groups=2
        ),
        "plan_retention": Subject.of(fbn.studies.plan_retention, **studied, atlas=m.atlas, sizes=None),
        "plan_shapley": Subject.of(
            fbn.studies.plan_shapley,
            model=m.model,
            atlas=m.atlas,
            battery=m.battery,
            n_permutations=None,
            seed=0,
            batch_tokens=512,
        ),
        "plan_collapse": Subject.of(
            fbn.studies.plan_collapse,
            model=m.model,
            texts=[[first, *range(2, 12)] for first in range(20, 26)],
            n=6,
            max_tokens=12,
            n_candidates=4,
            n_pairs=2,
            n_null=19,
            largest=3,
            batch_tokens=512,
        ),
        "plan_token_ablation": Subject.of(
            fbn.studies.plan_token_ablation,
            model=m.demo,
            chats=chats,
            battery=m.worded,
            tokens=("special",),
            variants=("grad",),
            n_controls=2,
            batch_tokens=512,
        ),
        "task_networks": Subject.of(
            fbn.task_networks,
            model=m.demo,
            tasks=chats,
            seed=0,
            top=0.1,
            how="least",
            scale="rank",
            halves=True,
            n=None,
            exclude=None,
            batch_tokens=512,
            progress=False,
        ),
    }
