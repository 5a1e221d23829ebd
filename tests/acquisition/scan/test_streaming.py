"""A stream stores nothing and gives the numbers of the stored route."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import tl_fbn as fbn
from tests.helpers.designs import small_design
from tests.helpers.models import CountedForwards, bridged, tiny_gpt2, tiny_model


def shifted_model(offset: float = 1000.0):
    """A model whose neurons sit far from zero: sums of squares lose digits unless a shift is taken off."""
    plain = tiny_gpt2()
    plain.transformer.h[1].mlp.register_forward_pre_hook(lambda module, inputs: (inputs[0],))
    plain.transformer.h[1].mlp.act = torch.nn.Sequential(plain.transformer.h[1].mlp.act, Add(offset))
    return bridged(plain)


class Add(torch.nn.Module):
    def __init__(self, offset: float) -> None:
        super().__init__()
        self.offset = offset

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.offset


@pytest.mark.parametrize("noise", ["ar1", "ols"])
@pytest.mark.parametrize("site", ["mlp.neurons", "resid.post", "attn.heads"])
def test_a_streamed_glm_equals_the_stored_one(noise, site, tmp_path):
    model = tiny_model()
    scanner = fbn.Scanner(model, site=site, batch_size=3)
    stream = scanner.stream(small_design(), progress=False)
    recording = scanner.scan(small_design(), tmp_path / "r", progress=False)
    assert stream.key == recording.key
    stored, streamed = fbn.fit_glm(recording, noise=noise), fbn.fit_glm(stream, noise=noise)
    assert streamed.provenance == stored.provenance
    np.testing.assert_allclose(streamed.rho, stored.rho, atol=2e-5)
    for level in ("block", "token"):
        a, b = stored.contrast("a - b", level=level), streamed.contrast("a - b", level=level)
        np.testing.assert_allclose(b.effect.values, a.effect.values, rtol=1e-5, atol=1e-5 * a.effect.values.std())
        np.testing.assert_allclose(b.t.values, a.t.values, rtol=1e-4, atol=1e-4)
        assert a.dof == b.dof


def test_a_large_mean_costs_no_digits(tmp_path):
    scanner = fbn.Scanner(shifted_model(), layers=[1])
    stored = fbn.fit_glm(scanner.scan(small_design(), tmp_path / "r", progress=False)).contrast("a - b", level="token")
    streamed = fbn.fit_glm(scanner.stream(small_design(), progress=False)).contrast("a - b", level="token")
    spread = stored.effect.values.std()
    # the activations themselves are float32 near 1000, so 6e-5 is what they can say
    np.testing.assert_allclose(streamed.effect.values, stored.effect.values, atol=1e-4 * spread + 1e-6)
    np.testing.assert_allclose(streamed.t.values, stored.t.values, rtol=2e-3, atol=2e-3)


def test_generated_rows_stream_too(demo_model, tmp_path):
    prompts = {task: fbn.prompts(task, n=20) for task in ("sort", "rest")}
    design = fbn.block_design(prompts, n_runs=2, n_cycles=4, tokens_per_block=12, seed=0, generate=True)
    scanner = fbn.Scanner(demo_model)
    stored = fbn.fit_glm(scanner.scan(design, tmp_path / "r", progress=False)).contrast("sort - rest")
    streamed = fbn.fit_glm(scanner.stream(design, progress=False)).contrast("sort - rest")
    np.testing.assert_allclose(streamed.effect.values, stored.effect.values, atol=1e-5)


def test_a_stream_runs_the_model_when_asked_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = tiny_model()
    counted = CountedForwards(model)
    stream = fbn.Scanner(model).stream(small_design(), progress=False)
    assert counted.n == 0
    assert "nothing is stored" in repr(stream)
    fbn.fit_glm(stream)
    assert counted.n > 0
    assert list(tmp_path.iterdir()) == []
    assert not any(point._forward_hooks for point in model.hook_dict.values())


def test_products_and_sketch_equal_those_of_the_stored_activations(tmp_path):
    rng = np.random.default_rng(0)
    scanner = fbn.Scanner(tiny_model(), batch_size=3)
    recording = scanner.scan(small_design(), tmp_path / "r", progress=False)
    vectors = [rng.normal(size=(5, run.n_rows)) for run in recording]
    loadings = rng.normal(size=(recording.space.n_units, 4)).astype(np.float32)
    stream = scanner.stream(small_design(), progress=False)
    for run, w, sums in zip(recording, vectors, stream.sums(vectors, loadings=loadings), strict=True):
        y = run.read().astype(np.float64)
        np.testing.assert_allclose(sums.products, w @ (y - sums.shift), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(sums.sketch, y @ loadings, rtol=1e-4, atol=1e-5)
        z, starts = y - sums.shift, run.segment_starts
        np.testing.assert_allclose(sums.squares, np.square(z).sum(0), rtol=1e-4)
        np.testing.assert_allclose(sums.lagged, (z[1:] * z[:-1])[~starts[1:]].sum(0), rtol=1e-3, atol=1e-5)
        lasts = np.append(starts[1:], True)
        np.testing.assert_allclose(sums.ends, np.square(z[starts]).sum(0) + np.square(z[lasts]).sum(0), rtol=1e-4)


def test_rows_of_a_stream_are_those_of_the_recording(tmp_path):
    scanner = fbn.Scanner(tiny_model())
    stream = scanner.stream(small_design(), progress=False)
    recording = scanner.scan(small_design(), tmp_path / "r", progress=False)
    assert (len(stream), stream.n_rows) == (len(recording), recording.n_rows)
    for known, run in zip(stream, recording, strict=True):
        pd.testing.assert_frame_equal(known.events, run.events)
        same = ["prompt", "block", "position", "token_id", "trial_type", "flags"]
        pd.testing.assert_frame_equal(known.rows[same], run.rows[same], check_names=False)
        np.testing.assert_array_equal(known.segment_starts, run.segment_starts)
        assert known.blocks() == run.blocks()


def test_refusals():
    model = tiny_model()
    with pytest.raises(ValueError, match="a stream has one site"):
        fbn.Scanner(model, site=["mlp.neurons", "mlp.out"]).stream(small_design())
    with pytest.raises(ValueError, match="a stream has one site"):
        fbn.Scanner(model, pool="mean").stream(small_design())
    stream = fbn.Scanner(model).stream(small_design(), progress=False)
    with pytest.raises(ValueError, match="1 sets of row vectors for 2 runs"):
        next(stream.sums([np.zeros((1, 80))]))
    with model.hooks(fwd_hooks=[("blocks.0.hook_resid_pre", lambda tensor, hook: tensor * 2)]):
        with pytest.raises(ValueError, match="changes activations"):
            fbn.fit_glm(stream)
        fbn.fit_glm(fbn.Scanner(model).stream(small_design(), hooks_id="double", progress=False))
    model.blocks[1].mlp.W_out.data[:] = torch.inf
    with pytest.raises(ValueError, match=r"layer 1, row \d+ of a run has NaN or infinite"):
        fbn.fit_glm(fbn.Scanner(model, site="resid.post").stream(small_design(), progress=False))
