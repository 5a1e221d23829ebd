"""What zeroing costs: torch's own cross-entropy under a hook made by hand, of units, layers and all together."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tl_fbn as fbn
from tests.helpers.models import tiny_model
from tests.helpers.recordings import blocks

TEXTS = [[1, 5, 6, 7, 8], [1, 9, 3], [2, 4, 4, 2, 1, 30, 31]]


@pytest.fixture
def massive():
    """Units 3 and 5 of layer 0, and 2 of layer 1, of a tiny model's neurons, hold most of a made-up recording."""
    rng = np.random.default_rng(0)
    layers = [rng.normal(size=(40, 24)) for _ in range(2)]
    layers[0][:, [3, 5]] *= 30
    layers[1][:, 2] *= 20
    recording = fbn.Recording.from_arrays([layers], events=[blocks(["a", "b"] * 2, 10)])
    return recording.massive(share=0.95)


def nats(model, zeroed: dict[int, list[int]]) -> float:
    """Mean cross-entropy of all tokens but the first of each text, one text at a time."""

    def zero(tensor, hook):
        tensor = tensor.clone()
        tensor[..., zeroed[int(hook.name.split(".")[1])]] = 0
        return tensor

    lost = []
    with torch.no_grad(), model.hooks(fwd_hooks=[(f"blocks.{n}.mlp.hook_post", zero) for n in zeroed]):
        for text in TEXTS:
            logits = model(torch.tensor([text]))[0, :-1]
            lost += torch.nn.functional.cross_entropy(logits, torch.tensor(text[1:]), reduction="none").tolist()
    return float(np.mean(lost))


@pytest.mark.parametrize("batch_tokens", [7, 8192])
def test_costs_are_those_of_a_hook_made_by_hand(massive, batch_tokens):
    model = tiny_model()
    found = fbn.studies.zeroing_costs(model, massive, TEXTS, batch_tokens=batch_tokens, progress=False)
    untouched = nats(model, {})
    assert found.baseline == pytest.approx(untouched, rel=1e-5)
    table = found.units.set_index(["layer", "unit"])
    assert set(table.index) == {(0, 3), (0, 5), (1, 2)}
    for layer, unit in table.index:
        assert table.loc[(layer, unit), "cost"] == pytest.approx(nats(model, {layer: [unit]}) - untouched, abs=1e-5)
    assert table.loc[(0, 3), "layer_cost"] == table.loc[(0, 5), "layer_cost"]
    assert table.loc[(0, 3), "layer_cost"] == pytest.approx(nats(model, {0: [3, 5]}) - untouched, abs=1e-5)
    assert table.loc[(1, 2), "layer_cost"] == table.loc[(1, 2), "cost"]
    assert found.together == pytest.approx(nats(model, {0: [3, 5], 1: [2]}) - untouched, abs=1e-5)
    assert found.provenance["texts"] == 3 and found.provenance["tokens"] == 12
    assert "nats a token when it is zero" in repr(found)
    assert not model.hook_dict["blocks.0.mlp.hook_post"].fwd_hooks


def test_a_recording_gives_its_own_prompts(tmp_path):
    model = tiny_model()
    prompts = {name: [[i, j, 1 + (name == "b")] for i in range(3, 11) for j in range(8)] for name in "ab"}
    design = fbn.block_design(prompts, seed=0, n_runs=2, n_cycles=2, tokens_per_block=12)
    recording = fbn.Scanner(model).scan(design, tmp_path / "r", progress=False)
    found = recording.massive(share=0.5, top=3, model=model, progress=False)
    assert len(found.units) == 3 and found.units["cost"].notna().all() and found.together is not None
    shown = [ids.tolist() for run in recording for _, ids in run.rows.groupby("prompt")["token_id"]]
    again = recording.massive(share=0.5, top=3, model=model, texts=shown, progress=False)
    assert len(shown) <= 32 and again.together == pytest.approx(found.together, abs=1e-6)
    found.save(tmp_path / "m.safetensors")
    assert fbn.load(tmp_path / "m.safetensors").together == found.together
    assert "measured as nats a token lost on" in found._methods_()[0]


def test_other_units_and_no_texts_are_refused(massive):
    with pytest.raises(ValueError, match="this model offers"):
        fbn.studies.zeroing_costs(tiny_model(d_mlp=30), massive, TEXTS, progress=False)
    with pytest.raises(ValueError, match="items is empty"):
        fbn.studies.zeroing_costs(tiny_model(), massive, [], progress=False)
