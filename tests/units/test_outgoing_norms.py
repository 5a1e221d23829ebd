"""Norms of outgoing weights in a description: written and read, and what is missing is said with what to do."""

from __future__ import annotations

import base64
import struct
from typing import Any

import numpy as np
import pytest

import tl_fbn as fbn
from tl_fbn.units import outgoing_norms as norms

SPACE = fbn.UnitSpace("mlp.neurons", (2, 0, 1))


def described(text: Any, site: str = "mlp.neurons") -> dict[str, Any]:
    return {"key": "k", "outgoing_norms": {site: text}}


def test_what_is_written_is_read() -> None:
    values = np.array([0.1, 2.5, 1e-20])
    text = norms.as_text(values)
    assert base64.b64decode(text) == struct.pack("<3f", *values)  # float32, the smaller byte first
    found = norms.stated_norms(described(text), SPACE)
    assert found is not None and found.dtype == np.float64
    np.testing.assert_array_equal(found, values.astype(np.float32))


@pytest.mark.parametrize(
    "about",
    [
        {"key": "k"},
        {"outgoing_norms": None},
        {"outgoing_norms": ["mlp.neurons"]},
        described(norms.as_text(np.ones(3)), "mlp.pre"),
        described(norms.as_text(np.ones(4))),
        described(norms.as_text(np.array([1.0, np.nan, 1.0]))),
        described(norms.as_text(np.array([1.0, -1.0, 1.0]))),
        described("no base64"),
        described("AAA="),
        described("é"),
        described([1.0, 1.0, 1.0]),
    ],
)
def test_what_is_not_there_or_damaged_says_nothing(about: dict[str, Any]) -> None:
    assert norms.stated_norms(about, SPACE) is None
    stream = fbn.UnitSpace("resid.post", (3,))
    assert norms.stated_norms(about, stream) == pytest.approx(np.ones(3))  # known from the site


def test_other_units_do_not_keep_them() -> None:
    assert norms.without_norms(described("AAAA")) == {"key": "k"}


def test_one_error_for_each_reason() -> None:
    known = np.ones(3)
    assert norms.require_norms(known, SPACE) is known
    with pytest.raises(
        fbn.errors.InputError, match=r"mlp\.neurons .* are not known: .* Scan again .*fit_glm\(recording, model"
    ):
        norms.require_norms(None, SPACE)
    with pytest.raises(fbn.errors.InputError, match=r"units of attn\.heads have no outgoing weights .*z_within_layer"):
        norms.require_norms(None, fbn.UnitSpace("attn.heads", (3,)))
