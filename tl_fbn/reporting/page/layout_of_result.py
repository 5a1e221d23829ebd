"""What a report says about each kind of result: a result in, one or more sections out.

A result that knows best how it wants to be shown has a method ``_report_sections_()``, which is asked first. It returns a list of sections, of plain
dicts with a section's fields (so that a result need not import this room), or of other results. The others are laid out in :mod:`.layouts`:

=========================================  ==============================  ============================
result                                     picture                         table
=========================================  ==============================  ============================
``UnitMap``, or a mapping of names to maps  glass brain                     20 units of largest magnitude
``Network``                                profile over layers             units in each layer
``Atlas``, or a mapping of networks        profile, stability, overlap     networks; stability; every pair
``Recording``, ``BlockDesign``             time courses, if it is of them  runs; conditions
``Contrast``                               contrast                        20 units of largest |z|
``FContrast``                              glass brain of z                20 units of largest |z|
``PermutationTest``                        glass brain of t                20 units of largest |t|
``ComponentChoice``                        scree and stability             numbers tried
``GLMFit``                                 design matrix of its first run  runs; the columns of the design
``DoseResponse``                           curves with intervals           the same numbers; areas
``LesionStudy``                            controls; lesions; pairs         summary; every cell; pairs
``Preset``                                 none                            what is stated, what is our choice
table with a known set of columns          the picture of such tables      the same numbers
any other result with ``to_dataframe()``   the one named in ``PICTURES``   the table
plotly figure                              the figure                      none
anything else with ``_repr_html_()``       its own HTML                    none
=========================================  ==============================  ============================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from tl_fbn.reporting.page import layouts
from tl_fbn.reporting.page.section import Section, mapping_of, require_showable
from tl_fbn.units import Atlas, Network, UnitMap

__all__ = ["Section", "require_showable", "sections_of"]


def sections_of(result: Any) -> list[Section]:
    """Lay out one result."""
    kind = mapping_of(result)
    if isinstance(result, Section):
        return [result]
    if callable(getattr(result, "_report_sections_", None)):
        return _own_sections(result)
    if isinstance(result, UnitMap):
        return [layouts.map_section(result)]
    if isinstance(result, Network):
        return [layouts.network_section(result)]
    if isinstance(result, Atlas):
        return layouts.atlas_sections(result)
    if kind is Network:
        return layouts.atlas_sections(Atlas.from_networks(result))
    if kind is UnitMap:
        return [layouts.maps_section(result)]
    if callable(getattr(result, "to_plotly_json", None)):
        return [Section("Figure", "", result)]
    if (lay_out := layouts.LAYOUTS.get(type(result).__name__)) is not None and type(result).__module__.startswith(
        "tl_fbn."
    ):
        made = lay_out(result)
        return list(made) if isinstance(made, Sequence) else [made]
    if isinstance(result, pd.DataFrame) or callable(getattr(result, "to_dataframe", None)):
        return [layouts.plain_section(result)]
    return [Section(layouts.words(type(result).__name__), "", html=result._repr_html_())]


def _own_sections(result: Any) -> list[Section]:
    """What a result says of itself; tables that are known get theirs, the first other section the picture of the whole."""
    sections: list[Section] = []
    for place, part in enumerate(result._report_sections_(), start=1):
        if isinstance(part, dict) and "title" in part:
            part = Section(**{"text": "", **part})
        require_showable(part, place, f"{type(result).__name__}._report_sections_()")
        sections += sections_of(part)
    draws = [layouts.picture_of(result)]
    for place, section in enumerate(sections):
        if section.figure is None and section.html is None:
            known = None if section.table is None else layouts.of_table(section.table, result)
            draw = known[1] if known else draws.pop() if draws else None
            sections[place] = replace(section, figure=draw)
    return sections
