"""The units that a study keeps of its controls are those that it silenced."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers.models import own_words, tiny_model
from tests.helpers.recordings import blocks
from tl_fbn.intervention.studies import lesion


def test_kept_units_are_those_that_were_silenced(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model(d_mlp=40)
    space = fbn.Scanner(model).space
    rng = np.random.default_rng(0)
    recording = fbn.Recording.from_arrays(
        [[rng.normal(size=(50, width)) for width in space.widths]], events=[blocks(["a"], 50)]
    )
    silenced: list[fbn.Network] = []

    def spying(*given: Any, **options: Any) -> Any:
        silence = silencer(*given, **options)
        return lambda network: silenced.append(network) or silence(network)

    silencer = lesion.silencer
    monkeypatch.setattr(lesion, "silencer", spying)
    networks = {
        "x": fbn.Network.from_indices(space, [(0, 1), (0, 2), (1, 7)]),
        "y": fbn.Network.from_indices(space, [(1, 3)]),
    }
    battery = fbn.Battery.from_pairs({"x": own_words(model, 4, seed=0), "y": own_words(model, 4, seed=1)})
    study = fbn.lesion_study(
        model,
        networks,
        battery,
        n_controls=5,
        controls=("random", "activity", "rotated"),
        reference=recording,
        seed=3,
        progress=False,
    )
    assert set(study.control_units) == {"random", "activity"} and study.space == space
    # in the order of the engine: each network, then its controls, kind after kind
    order = [(number, kind, i) for number in range(2) for kind in ("random", "activity") for i in range(5)]
    controls = [one for one in silenced if one.name.startswith("random")]
    assert len(controls) == len(order)
    for network, (number, kind, i) in zip(controls, order, strict=True):
        kept = study.control_units[kind][number, i]
        assert kept[kept >= 0].tolist() == network.indices.tolist() and (kept < 0).sum() == (0, 2)[number]
    assert study.digests.keys() == {"x", "y"} and len(study.digests["x"]) >= 4
