"""Units that a study leaves alone: taken out of networks, rivals and random controls alike, and counted.

What breaks a model whatever its task (:func:`tl_fbn.collapse_neurons`) would make any network that holds it beat its
controls. Without these units a network is compared with controls that cannot hold them either. A study says which they
are, what they cost where that is known, and which networks held them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from tl_fbn.acquisition.scan.content_key import digest
from tl_fbn.errors import InputError
from tl_fbn.intervention.studies.collapse_results import Collapse
from tl_fbn.units import Network, UnitSpace
from tl_fbn.units.prose import listed

Exclude = Network | Collapse | None


def excluded_units(exclude: Exclude, space: UnitSpace) -> Network | None:
    """The units that are left alone, as a network of a study's space; None where nothing is excluded.

    Args:
        exclude: A network, or collapse neurons.
        space: The space of the networks.

    Raises:
        InputError: They are units of another space.
    """
    if exclude is None:
        return None
    found = exclude.network if isinstance(exclude, Collapse) else exclude
    space.require_same(found.space, "exclude")
    return found


def without(networks: Mapping[str, Network], out: Network | None) -> dict[str, Network]:
    """Networks without some units; name, signs and provenance stay.

    Args:
        networks: Names to networks of one space.
        out: Units to take out; None takes none.

    Raises:
        InputError: Nothing is left of a network.
    """
    if out is None:
        return dict(networks)
    left = {name: replace(one, members=one.members & ~out.members) for name, one in networks.items()}
    if empty := [name for name, one in networks.items() if len(one) and not len(left[name])]:
        raise InputError(
            f"exclude= takes out all {len(networks[empty[0]])} units of {empty[0]!r}, so nothing of it is left to "
            "silence; give a larger network, or leave it out"
        )
    return left


def without_units(
    networks: Mapping[str, Network], rivals: Mapping[str, Mapping[str, Network]], out: Network | None
) -> tuple[dict[str, Network], dict[str, dict[str, Network]]]:
    """The networks of a study and their rivals without some units.

    Args:
        networks: Names to networks of one space.
        rivals: Name of a rival to networks by the name of their source network.
        out: Units to take out; None takes none.

    Raises:
        InputError: Nothing is left of a network or of a rival.
    """
    left = {
        rival: without({f"{rival} of {name}": one for name, one in of.items()}, out) for rival, of in rivals.items()
    }
    named = {rival: dict(zip(rivals[rival], one.values(), strict=True)) for rival, one in left.items()}
    return without(networks, out), named


def exclusion_setting(out: Network | None) -> dict[str, Any]:
    """The excluded units as a setting of a study, by their digest; no entry where nothing is excluded.

    Args:
        out: The units; None for none.
    """
    return {} if out is None else {"exclude": digest([out.space.site, out.space.widths, out.indices.tolist()])}


def exclusion_counts(exclude: Exclude, out: Network | None, networks: Mapping[str, Network]) -> dict[str, Any]:
    """What the provenance of a study says: how many units were excluded, and how many of each network.

    Args:
        exclude: What the user gave.
        out: The units; None for none.
        networks: Names to the networks as they were before.
    """
    if out is None:
        return {}
    held = {name: int((one.members & out.members).sum()) for name, one in networks.items()}
    about: dict[str, Any] = {"name": out.name, "units": len(out), "of": held}
    if isinstance(exclude, Collapse):
        about |= {"threshold": exclude.threshold, "chance": exclude.chance_in_words()}
    return {"excluded": about}


def exclusion_table(exclude: Exclude, out: Network | None, networks: Mapping[str, Network]) -> pd.DataFrame | None:
    """What was excluded, a line each: of collapse neurons every unit and set that is called, with what it costs; of
    another network the units that some network held. None where nothing is excluded.

    Columns: units (``layer.unit``), size, of collapse neurons cost, low, high and apart (nats a token), and networks
    (those that held any of them).

    Args:
        exclude: What the user gave.
        out: The units; None for none.
        networks: Names to the networks as they were before.
    """
    if out is None:
        return None

    def holding(units: list[int]) -> str:
        names = [name for name, one in networks.items() if one.members[units].any()]
        return listed(names, most=6) if names else ""

    if isinstance(exclude, Collapse):
        table = exclude.to_dataframe().query("found").drop(columns=["p", "found"])
        return table.assign(networks=[holding(units) for units in exclude.called_sets])
    held = np.flatnonzero(out.members & np.any([one.members for one in networks.values()], axis=0))
    lines = [("{}.{}".format(*out.space.locate(unit)), 1, holding([unit])) for unit in held.tolist()]
    return pd.DataFrame(lines, columns=["units", "size", "networks"])


def exclusion_in_words(about: Mapping[str, Any]) -> str:
    """A sentence on what a study excluded, from its provenance; empty where it excluded nothing.

    Args:
        about: The provenance of the study.
    """
    counts = about.get("excluded")
    if not counts:
        return ""
    of = {name: n for name, n in counts["of"].items() if n}
    held = listed([f"{n} of {name}" for name, n in of.items()], most=6) if of else "none of any network"
    units = f"{counts['units']:,} unit{'' if counts['units'] == 1 else 's'} ({counts['name']})"
    were = "was" if counts["units"] == 1 else "were"
    return f"{units} {were} taken out of networks, rivals and controls alike: {held}."
