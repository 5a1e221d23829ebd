"""A map to show."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.units import TOY
from tl_fbn.units import UnitMap


@pytest.fixture(scope="module")
def scores() -> UnitMap:
    return UnitMap(TOY, np.arange(10.0) - 4, "t", {"method": "glm", "level": "block"})
