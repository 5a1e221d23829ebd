"""What reaches the disk: dtypes, finite values, rows in their places."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors import safe_open

import tl_fbn as fbn
from tests.helpers.designs import small_design
from tests.helpers.models import TORCH, bridged, tiny_llama, tiny_model
from tl_fbn.acquisition.recording import store


@pytest.mark.parametrize("dtype", TORCH)
def test_sixteen_bits_on_disk_are_the_rounded_values(dtype, tmp_path):
    model = tiny_model()
    exact = fbn.Scanner(model).scan(small_design(), tmp_path / "exact", progress=False)
    half = fbn.Scanner(model, dtype=dtype).scan(small_design(), tmp_path / dtype, progress=False)
    reopened = fbn.Recording.open(tmp_path / dtype)
    for a, b in zip(exact, reopened, strict=True):
        for layer in (0, 1):
            rounded = torch.tensor(a.layer(layer)).to(TORCH[dtype])
            assert b.layer(layer).dtype == np.float32
            np.testing.assert_array_equal(b.layer(layer), rounded.float())
        np.testing.assert_array_equal(b.read(units=[3, 30], rows=[5, 2]), b.read()[[5, 2]][:, [3, 30]])
    with safe_open(store.run_folder(half.path, 0) / store.DATA, framework="pt") as file:
        assert file.get_tensor("layer.01").dtype == TORCH[dtype]
    np.testing.assert_allclose(half.mean(), exact.mean(), atol=1e-2)
    effects = [fbn.fit_glm(r).contrast("a - b").effect.values for r in (exact, half)]
    np.testing.assert_allclose(effects[1], effects[0], atol=1e-2)


@pytest.mark.parametrize("dtype", TORCH)
def test_half_precision_models_record_exactly_in_their_dtype_and_in_float32(dtype, tmp_path):
    model = bridged(tiny_llama().to(TORCH[dtype]))
    own, wide = (
        fbn.Scanner(model, dtype=d, batch_size=1).scan(small_design(), tmp_path / d, progress=False)
        for d in (dtype, "float32")
    )
    for a, b in zip(own, wide, strict=True):
        np.testing.assert_array_equal(a.read(), b.read())
    design = small_design(generate=True)
    fbn.Scanner(model, dtype=dtype).scan(design, tmp_path / "generated", progress=False).verify()


def test_beyond_float16_is_an_error_and_no_infinity(tmp_path):
    model = tiny_model()
    with torch.no_grad():
        model.blocks[1].mlp.W_out.mul_(1e7)
    scanner = fbn.Scanner(model, site="resid.post", dtype="float16")
    with pytest.raises(
        ValueError, match=r"run 0, layer 1, row \d+ has .*65,504, the largest float16.*dtype=\"float32\""
    ):
        scanner.scan(small_design(), tmp_path / "r", progress=False)
    assert store.committed_runs(tmp_path / "r") == []
    fbn.Scanner(model, site="resid.post", dtype="bfloat16").scan(small_design(), tmp_path / "b", progress=False)


def test_dtype_is_one_of_three(unchecked):
    with pytest.raises(ValueError, match="dtype must be 'float32', 'bfloat16' or 'float16'; got 'float64'"):
        fbn.Scanner(tiny_model(), dtype="float64")
