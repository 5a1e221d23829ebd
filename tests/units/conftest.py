"""An atlas of three networks, for tests of atlases and of files."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.units import TOY
from tl_fbn.units import Atlas, Network, UnitMap


@pytest.fixture
def atlas() -> Atlas:
    parts = {
        "z": Network.from_indices(TOY, [0, 9], provenance={"k": 1}),
        "a": Network.from_indices(TOY, [], name="other"),
        "m": UnitMap(TOY, np.linspace(-1, 1, 10), "loading").top(4, two_sided=True),
    }
    return Atlas(TOY, parts, np.arange(30.0).reshape(3, 10), np.array([0.5, 1.0, 0.25]), {"seed": 7})
