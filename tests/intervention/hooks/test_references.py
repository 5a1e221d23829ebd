"""References: of the model's own weights, unless it is said otherwise."""

from __future__ import annotations

from typing import Any

import pytest

import tl_fbn as fbn
from tests.helpers.designs import small_design
from tests.helpers.external_arrays import record
from tests.helpers.models import bridged, own_words, tiny_gpt2, tiny_model
from tl_fbn.intervention.hooks.references import require_same_weights


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("reference") / "r"
    return fbn.Scanner(tiny_model(seed=1)).scan(small_design(), folder, progress=False)


def test_a_reference_of_other_weights_is_an_error_unless_allowed(reference: Any) -> None:
    model = tiny_model()
    network = fbn.Network.from_indices(fbn.Scanner(model).space, [1, 30])
    battery = fbn.Battery.from_pairs({"a": own_words(model, 4)})
    options = {"n_controls": 2, "seed": 0, "progress": False}
    uses = {
        "inhibit": lambda **more: fbn.inhibit(model, network, method="mean", **more),
        "retain": lambda **more: fbn.retain(model, network, method="resample", **more),
        "amplify": lambda **more: fbn.amplify(model, network, add_sd=1.0, **more),
        "clamp": lambda **more: fbn.clamp(model, network, at_sd=1.0, **more),
        "lesion_study": lambda **more: fbn.lesion_study(model, {"a": network}, battery, **options, **more),
        "dose_response": lambda **more: fbn.dose_response(model, network, battery, adds_sd=(0, 1), **options, **more),
    }
    for use in uses.values():
        with pytest.raises(ValueError, match=r"reference= was recorded on other weights .*allow_other_weights=True"):
            use(reference=reference)
        use(reference=reference, allow_other_weights=True)
    # what is not read is not asked
    fbn.inhibit(model, network, method="zero", reference=reference)
    fbn.amplify(model, network, gain=2.0, reference=reference)


def test_of_the_same_weights_or_of_unknown_ones_it_is_taken(reference: Any) -> None:
    require_same_weights(tiny_model(seed=1), reference, allow_other_weights=False)
    require_same_weights(tiny_model(), record(), allow_other_weights=False)


def test_a_compensation_of_other_weights_is_an_error_unless_allowed(tmp_path: Any) -> None:
    model, other = bridged(tiny_gpt2()), bridged(tiny_gpt2())
    next(other.parameters()).data.view(-1)[0] += 1
    recording = fbn.Scanner(other).scan(small_design(), tmp_path / "r", progress=False)
    remove = fbn.Network.from_indices(recording.space, [1, 2, 130])
    with pytest.raises(ValueError, match=r"compensate= was recorded on other weights .*allow_other_weights=True"):
        fbn.prune(model, remove=remove, compensate=recording, progress=False)
    fbn.prune(model, remove=remove, compensate=recording, allow_other_weights=True, progress=False)
