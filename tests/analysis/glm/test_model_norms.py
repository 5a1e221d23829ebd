"""Norms from a model: those of its weights, and refusals of what has none."""

from __future__ import annotations

import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers.models import tiny_model
from tl_fbn.analysis.glm.model_norms import norms_of_model


def test_they_are_those_of_the_weights() -> None:
    model = tiny_model()
    space = fbn.Scanner(model).space
    expected = [np.linalg.norm(block.mlp.W_out.detach().numpy(), axis=1) for block in model.blocks]
    np.testing.assert_allclose(norms_of_model(model, space), np.concatenate(expected), rtol=1e-6)
    one = fbn.Scanner(model, layers=[1]).space
    np.testing.assert_allclose(norms_of_model(model, one), expected[1], rtol=1e-6)


def test_a_model_of_other_units_is_refused() -> None:
    with pytest.raises(fbn.errors.InputError, match=r"the recording is of .*, the model has"):
        norms_of_model(tiny_model(), fbn.UnitSpace("mlp.neurons", (7, 7)))


def test_units_without_outgoing_weights_are_refused() -> None:
    model = tiny_model()
    with pytest.raises(fbn.errors.InputError, match=r"do not tell what units of attn\.heads add"):
        norms_of_model(model, fbn.Scanner(model, site="attn.heads").space)
    with pytest.raises(fbn.errors.InputTypeError):
        norms_of_model("gpt2", fbn.Scanner(model).space)
