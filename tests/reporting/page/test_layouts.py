"""Layouts: every picture they name exists."""

from __future__ import annotations

from tl_fbn.reporting import plot as figures
from tl_fbn.reporting.page import layouts


def test_every_named_picture_exists() -> None:
    named = {*layouts.PICTURES.values(), *(picture for _, _, _, picture, _ in layouts._TABLES)}
    assert named <= set(figures.__all__)
