"""What holds for every picture: names stay text, pages stay light, and nothing heavy is imported."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.helpers.designs import confounded
from tests.helpers.figures import HOSTILE
from tests.helpers.results import Study, lesions
from tests.helpers.units import TOY
from tl_fbn.reporting import plot as figures
from tl_fbn.units import Atlas, Network, UnitMap

pytest.importorskip("plotly")


SCORES, NETWORK = UnitMap(TOY, np.arange(10.0), HOSTILE), Network.from_indices(TOY, [0, 5], name=HOSTILE)
LESIONS = lesions(network=[HOSTILE, HOSTILE, "add", "add"], task=[HOSTILE, "b", HOSTILE, "b"], metric=HOSTILE)
GAINS = pd.DataFrame({"network": [HOSTILE], "gain": [1.0], "task": [HOSTILE], "value": [1.0], "metric": [HOSTILE]})


@pytest.mark.parametrize(
    "draw",
    [
        lambda: figures.unit_map({HOSTILE: SCORES, "b": SCORES}, networks=NETWORK, title=HOSTILE),
        lambda: figures.layer_profile(NETWORK),
        lambda: figures.overlap_matrix({HOSTILE: NETWORK, "b": NETWORK}),
        lambda: figures.lesion_matrix(Study(LESIONS)),
        lambda: figures.amplification(GAINS),
        lambda: figures.design_matrix(confounded().iloc[::40]),
        lambda: figures.stability(Atlas(TOY, {HOSTILE: NETWORK}, None, np.array([0.5]))),
    ],
)
def test_names_stay_text_and_figures_stay_light(draw: Callable[[], Any]) -> None:
    figure = draw()
    strings = list(texts(figure.to_plotly_json()))
    assert any("&lt;" in string for string in strings)
    for string in strings:  # the only markup plotly may read is our own
        assert not set(re.findall("<[^>]*>", string)) - {"<br>", "<extra>", "</extra>"}
    assert len(figure.to_json()) < 20_000


def texts(value: Any) -> Iterator[str]:
    """Every string in a figure."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from texts(part)
    elif isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.dtype == object):
        for part in value:
            yield from texts(part)


def test_importing_the_room_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'transformer_lens', 'plotly'}"
    code = f"import sys, tl_fbn.reporting.page.report; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
