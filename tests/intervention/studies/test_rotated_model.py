"""A rotated basis: the same model, other units, for scans, scores and lesions; and everything put back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tl_fbn as fbn
from tests.helpers.models import bridged, tiny_gpt2, tiny_llama, tiny_model
from tl_fbn.acquisition.model.turned_points import TurnedPoint
from tl_fbn.acquisition.model.weights import weights_digest
from tl_fbn.intervention.studies import rotated_model

IDS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6]])
TEXTS = {
    "a": [[3, 1, 4, 1, 5, 9, 2, 6], [2, 7, 1, 8, 2, 8, 1, 8]],
    "b": [[1, 1, 2, 3, 5, 8, 13, 21], [5, 4, 3, 2, 1, 9, 8, 7]],
}


def recorded(model, site: str = "mlp.neurons"):
    design = fbn.block_design(TEXTS, n_runs=1, n_cycles=2, tokens_per_block=8, seed=0)
    stream = fbn.Scanner(model, site=site).stream(design, progress=False)
    return fbn.fit_glm(stream, noise="ols")


@pytest.mark.parametrize("make", [lambda: bridged(tiny_gpt2()), lambda: bridged(tiny_llama()), tiny_model])
@pytest.mark.parametrize("largest", [1024, 7])
def test_lesions_of_everything_agree_and_of_parts_do_not(make, largest, monkeypatch) -> None:
    monkeypatch.setattr(rotated_model, "LARGEST_GROUP", largest)  # 7: several groups, of two sizes
    model = make()
    space = fbn.Scanner(model).space
    digest, untouched = weights_digest(model), model(IDS)
    every = ~fbn.Network.from_indices(space, [])
    half = fbn.Network.from_indices(space, range(0, space.n_units, 2))

    def lesioned(network) -> torch.Tensor:
        with fbn.inhibit(model, network):
            return model(IDS)

    all_off, half_off = lesioned(every), lesioned(half)
    with fbn.studies.rotated(model, seed=0):
        assert torch.equal(model(IDS), untouched)
        torch.testing.assert_close(lesioned(every), all_off)
        assert not torch.allclose(lesioned(half), half_off, atol=1e-4)
        turned = weights_digest(model)
    with fbn.studies.rotated(model, seed=1):
        other = weights_digest(model)
    assert len({digest, turned, other}) == 3
    assert weights_digest(model) == digest and torch.equal(model(IDS), untouched)
    assert torch.equal(lesioned(half), half_off)


def test_the_energy_of_gradients_stays_and_their_axes_do_not() -> None:
    model = bridged(tiny_llama())
    items = fbn.attribution.cgvst
    given = {"positions": [[5, 6, 7]], "variant": "grad", "site": "mlp.neurons", "progress": False}
    own = items(model, [IDS[0].tolist()], **given)
    with fbn.studies.rotated(model, seed=0):
        turned = items(model, [IDS[0].tolist()], **given)
    assert own.space == turned.space and not np.allclose(own.values, turned.values)


def test_streams_know_the_basis_and_other_sites_are_the_models_own() -> None:
    model = tiny_model()
    own = recorded(model)
    out = recorded(model, "mlp.out").contrast("a - b", level="token").effect.values
    with fbn.studies.rotated(model, seed=0):
        turned = recorded(model)
        assert recorded(model, "mlp.out").contrast("a - b", level="token").effect.values == pytest.approx(out)
    effects = [one.contrast("a - b", level="token").effect.by_layer() for one in (own, turned)]
    for before, after in zip(*effects, strict=True):
        assert np.linalg.norm(before) == pytest.approx(np.linalg.norm(after), rel=1e-5)
        assert not np.allclose(before, after)
    assert own.provenance != turned.provenance


def test_a_scan_into_a_folder_of_the_model_is_refused(tmp_path) -> None:
    model = tiny_model()
    design = fbn.block_design(TEXTS, n_runs=1, n_cycles=2, tokens_per_block=8, seed=0)
    fbn.Scanner(model).scan(design, tmp_path / "scan", progress=False)
    with fbn.studies.rotated(model, seed=0), pytest.raises(fbn.InputError, match="weights"):
        fbn.Scanner(model).scan(design, tmp_path / "scan", progress=False)


def test_refusals() -> None:
    model = tiny_model()
    space = fbn.Scanner(model).space
    unit = fbn.Network.from_indices(space, [0])
    with fbn.inhibit(model, unit), pytest.raises(fbn.InputError, match="hooks are on blocks"):
        fbn.studies.rotated(model, seed=0).__enter__()
    with fbn.studies.rotated(model, seed=0), pytest.raises(fbn.InputError, match="rotated already"):
        fbn.studies.rotated(model, seed=0).__enter__()
    assert not any(isinstance(point, TurnedPoint) for point in model.hook_dict.values())
