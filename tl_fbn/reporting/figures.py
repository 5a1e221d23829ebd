"""Pictures of maps, networks and lesions: one function a picture, each returns a plotly ``Figure``.

- :func:`unit_map`        the glass brain: one heat map a map, layers up, units across;
- :func:`layer_profile`   how much of each layer a network takes;
- :func:`design_matrix`   what a GLM expects of every row, and which columns it cannot tell apart;
- :func:`component_choice` how many networks: variance against chance, stability of each number;
- :func:`stability`       Iq of every network beside what noise gives;
- :func:`overlap_matrix`  Dice of every two networks, with what chance gives;
- :func:`lesion_matrix`   source network x target task, beside the same for matched random networks;
- :func:`amplification`   behaviour against gain, one line a network.

This is ``tl_fbn.plot``. plotly is an optional extra and is imported when the first picture is drawn. The shared look is
in :mod:`tl_fbn.reporting.paint`. Nothing is computed here that a picture does not need, and nothing is written to disk:
see :mod:`tl_fbn.reporting.page`.
"""

from __future__ import annotations

from tl_fbn.reporting.behaviour import amplification as amplification
from tl_fbn.reporting.behaviour import lesion_matrix as lesion_matrix
from tl_fbn.reporting.decompositions import component_choice as component_choice
from tl_fbn.reporting.decompositions import stability as stability
from tl_fbn.reporting.designs import design_matrix as design_matrix
from tl_fbn.reporting.maps import unit_map as unit_map
from tl_fbn.reporting.networks import layer_profile as layer_profile
from tl_fbn.reporting.networks import overlap_matrix as overlap_matrix

__all__ = [
    "amplification",
    "component_choice",
    "design_matrix",
    "layer_profile",
    "lesion_matrix",
    "overlap_matrix",
    "stability",
    "unit_map",
]
