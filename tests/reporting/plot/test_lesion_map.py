"""A lesion map: a glass brain for each task, dots on what is found, titles that say whether it predicts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.helpers.figures import BOLD
from tests.helpers.random_lesions import drawn_units, indicator, study_of_lesions
from tl_fbn.reporting import plot as figures

pytest.importorskip("plotly")


def map_of(n_controls: int = 60) -> Any:
    """A map in which unit 7 costs the first of two tasks."""
    rng = np.random.default_rng(0)
    units = drawn_units(rng, (6, 6), n_controls, 60)
    drops = rng.normal(0, 0.05, (2, n_controls, 2))
    drops[..., 0] += indicator(units, 60)[..., 7]
    drops[..., 1] = 0.25
    return study_of_lesions(units, drops, (30, 30)).lesion_map(n_permutations=99, progress=False)


def test_each_task_has_its_panel_with_what_is_found() -> None:
    found = map_of()
    figure: Any = figures.lesion_map(found)
    heats = [trace for trace in figure.data if trace.type == "heatmap"]
    np.testing.assert_allclose(heats[0].z, found.map("a").values.reshape(2, 30), rtol=1e-3)
    dots = [trace for trace in figure.data if trace.type == "scatter"]
    assert (dots[0].x.tolist(), dots[0].y.tolist(), len(dots[1].x)) == ([7], [0], 0)
    first, second = (one.text for one in figure.layout.annotations)
    r2 = found.summary()["r2"][0]
    assert first == f"a: 1 of 59 units, held-out R2 {r2:.2f} (p = 0.01)" and second == "b: 0 of 0 units, never changed"
    assert figure.layout.title.text == "What loss goes with in 120 random lesions"


def test_one_task_has_its_title_above_and_markup_is_text() -> None:
    from dataclasses import replace

    found = map_of()
    one = replace(
        found,
        tasks=(BOLD,),
        **{name: getattr(found, name)[:1] for name in ("effects", "statistics", "largest", "weights", "r2", "r2_null")},
    )
    figure: Any = figures.lesion_map(one)
    assert "1 of 59 units" in figure.layout.title.text and BOLD not in str(figure.to_json())


def test_other_things_are_refused() -> None:
    with pytest.raises(TypeError, match="lesion_map"):
        figures.lesion_map(map_of().summary())
