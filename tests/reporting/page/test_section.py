"""What a page is made of: what cannot be shown is refused."""

from __future__ import annotations

import pytest

from tl_fbn.reporting.page.report import Report
from tl_fbn.units import UnitMap


@pytest.mark.parametrize("wrong", [3, object(), UnitMap, {"a": 1}, {}, [1, 2]])
def test_what_cannot_be_shown_is_refused_at_once(scores: UnitMap, wrong: object) -> None:
    with pytest.raises(TypeError, match=r"result 2 of this report is of type .*; a report shows a Section"):
        Report("R", scores, wrong)
