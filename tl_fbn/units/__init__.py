"""The coordinate system: where a unit is, a number for every unit, a set of units, a set of such sets.

A *unit* is one coordinate of one site in one layer, for instance a hidden MLP neuron. A :class:`UnitSpace` numbers all
of them, layer by layer, so that everything found by any method lives on the same axis ``unit``:

- :class:`UnitMap` one number a unit (a t value, a loading, a gradient score), and what kind of number it is;
- :class:`Network` a named set of units, with set algebra ``| & - ~`` and, where the map had them, signs;
- :class:`Atlas`   an ordered mapping of names to networks, with their maps and stability.

Two spaces are equal when site and widths are. The model's name is a label: the map of a model and of its fine-tuned or
re-initialised copy may be compared, which is the point of many a control. A layer that has no such units (a sparse
mixture-of-experts layer, or one that was not asked for) has width 0 and keeps its place, so layer numbers are always
the model's.

Every noun saves to one safetensors file and loads from it, in any process, without a model.

Cost: a map is 8 bytes a unit, a network 2; selecting is one sort. Nothing here imports torch.
"""

from __future__ import annotations

from tl_fbn.units.atlas import Atlas as Atlas
from tl_fbn.units.html_tables import html_frame as html_frame
from tl_fbn.units.html_tables import html_table as html_table
from tl_fbn.units.network import Network as Network
from tl_fbn.units.space import UnitSpace as UnitSpace
from tl_fbn.units.space import shape_words as shape_words
from tl_fbn.units.unit_map import UnitMap as UnitMap
from tl_fbn.units.unit_map import top_mask as top_mask
