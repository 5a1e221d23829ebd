"""Units and what is said of them: the space they live in, one number for each, a set of them, several sets.

A *unit* is one coordinate of one site in one layer, for instance a hidden neuron of an MLP. A :class:`UnitSpace`
numbers all units of a site, layer by layer, so that results of every method share one axis ``unit``:

- :class:`UnitMap` is one number for each unit (a t value, a loading, a gradient score), and what kind of number it is;
- :class:`Network` is a named set of units, with set algebra ``| & - ~`` and, where the map has them, signs;
- :class:`Atlas` is an ordered mapping of names to networks, with their maps and stability.

Two spaces are equal when their sites and widths are. The model's name is a label only: maps of a model and of its
fine-tuned or re-initialised copy may be compared, as many controls do. A layer without such units (a sparse
mixture-of-experts layer, or a layer that was not recorded) has width 0 and keeps its place, so that the numbers of
layers are always those of the model.

Each result saves to one safetensors file and loads from it, in any process and without a model.

Cost: a map takes 8 bytes a unit, a network 2; selecting units is one sort. Nothing here imports torch.
"""

from __future__ import annotations

from tl_fbn.units.atlas import Atlas as Atlas
from tl_fbn.units.html_tables import html_frame as html_frame
from tl_fbn.units.html_tables import html_table as html_table
from tl_fbn.units.network import Network as Network
from tl_fbn.units.space import UnitSpace as UnitSpace
from tl_fbn.units.space import shape_words as shape_words
from tl_fbn.units.ties import top_mask as top_mask
from tl_fbn.units.unit_map import UnitMap as UnitMap
