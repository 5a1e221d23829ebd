"""A lesion map as glass brains: t of every unit for each task, with a dot on the units that are found.

Each panel is :func:`tl_fbn.plot.unit_map` of the t of one task. Red units cost the task more where random lesions hold
them; grey ones are in too few lesions to be tested. Dots mark units of p <= .05, corrected over units, one-sided for
loss. The title of a panel says how many they are, and whether the units that a lesion holds predict its loss at all:
the held-out R2 with its p.

The tables behind it are ``found.to_dataframe()`` and ``found.summary()``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tl_fbn.reporting.plot import _panels as panels
from tl_fbn.reporting.plot._theme import Figure
from tl_fbn.reporting.plot._unit_map import unit_map
from tl_fbn.signatures import checked
from tl_fbn.units import Network

# what is read of a result
PARTS = ("tasks", "map", "summary", "provenance")
ALPHA = 0.05


@checked
def lesion_map(found: Any) -> Figure:
    """t of every unit for each task, and the units that cost it more where random lesions hold them.

    >>> networks = {"sort": contrast.effect.top(0.1)}
    >>> study = fbn.lesion_study(model, networks, battery, n_controls=60, seed=0, progress=False)
    >>> found = study.lesion_map(metric="log_likelihood", n_permutations=199, progress=False)
    >>> figure = fbn.plot.lesion_map(found)
    >>> figure.layout.title.text
    'What loss goes with in 60 random lesions'

    Args:
        found: What :meth:`.LesionStudy.lesion_map` found, a :class:`tl_fbn.studies.LesionMap`.

    Raises:
        InputTypeError: ``found`` is no lesion map.
    """
    panels.require(found, PARTS, "lesion_map", "a LesionMap")
    maps, networks = {}, {}
    for line in found.summary().to_dict("records"):
        task = line["task"]
        r2 = round(line["r2"], 2) + 0.0  # no "-0.00"
        predicts = "never changed" if np.isnan(r2) else f"held-out R2 {r2:.2f} (p = {line['r2_p']:.2g})"
        name = f"{task}: {line['found']:,} of {line['tested']:,} units, {predicts}"
        maps[name] = found.map(task)
        passed = found.map(task, "p").values <= ALPHA
        networks[name] = Network(maps[name].space, passed, name="p <= .05")
    n_lesions = found.provenance["n_lesions"]
    title = f"What loss goes with in {n_lesions:,} random lesions"
    if len(maps) == 1:  # which has no title of its own
        title = f"{title}: {next(iter(maps))}"
    return unit_map(maps, title=title, networks=networks)
