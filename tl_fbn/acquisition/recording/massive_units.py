"""What a recording says of its variance without being read: first tokens, and units that hold much of it alone.

In many language models a few units of the first token of a text stand hundreds of times above all others (*massive
activations*; Sun et al. 2024). They hold most of the variance of a recording, so they lead a decomposition, and the
model may need them whatever its task: zeroing coordinate (11, 507) of SmolLM2-135M's MLP output, 70 % of the variance,
costs it 9 nats a token.

Variance is that within runs: squared distances of activations from their unit's mean over the rows of the run, summed.
While a scan writes a run it adds up (:mod:`tl_fbn.acquisition.scan.variance_sums`), for every site, and ``run.json``
keeps the sums under ``"variance"``::

    {"mlp.out": {"rows": 7168, "total": 8.1e9, "first_rows": 120, "first": 7.6e9, "units": [[11, 507, 5.7e9]]}}

``total`` is of all rows and units, ``first`` of the rows of first tokens (``first_rows`` of them), and ``units`` lists
layer, unit and sum of each unit that holds at least 1 % of the run's. Recordings of earlier versions, pooled ones and
those of arrays from elsewhere have no such entry; then nothing is said, and :meth:`tl_fbn.Recording.massive` reads.

A unit counts as *massive* if it holds at least 5 % of the variance alone and at least 100 times as much as units do on
average. No torch, no model; nothing here reads an activation.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from tl_fbn.units import Network, UnitSpace
from tl_fbn.units.prose import listed

VARIANCE = "variance"  # entry of run.json, and MASSIVE that of a provenance
MASSIVE = "massive"
LISTED_FROM = 0.01  # share of a run's variance from which a scan lists a unit: at most 100 of them
MASSIVE_SHARE = 0.05
MASSIVE_TIMES = 100.0


@dataclass(frozen=True)
class MassiveUnit:
    """A unit that holds much of a recording's variance.

    Args:
        layer: Layer of the unit, from 0.
        unit: Number of the unit within its layer, from 0.
        share: Share of the variance of all units that it holds, 0 to 1.
    """

    layer: int
    unit: int
    share: float


def without_variance(about: Mapping[str, Any]) -> dict[str, Any]:
    """The description of a run for one with other rows or units, of which its sums would say nothing.

    Args:
        about: The entries of ``run.json``.
    """
    return {name: value for name, value in about.items() if name != VARIANCE}


def is_massive(shares: Float[np.ndarray, " unit"] | float, n_units: int) -> Any:
    """Whether units hold so much of the variance that they count as massive.

    Args:
        shares: Share of the variance that each unit holds, 0 to 1.
        n_units: Number of units that hold all of it.
    """
    return np.asarray(shares) >= max(MASSIVE_SHARE, MASSIVE_TIMES / n_units)


def stated_units(descriptions: Sequence[Mapping[str, Any]], space: UnitSpace) -> list[MassiveUnit] | None:
    """The massive units of a recording by what its runs say; None where they do not say.

    Args:
        descriptions: The entries of every run's ``run.json``.
        space: The units of the site.
    """
    sums = _sums_of_site(descriptions, space.site)
    total = 0.0 if sums is None else sum(one["total"] for one in sums)
    if sums is None or not total:
        return None
    held: dict[tuple[int, int], float] = {}
    for one in sums:
        for layer, unit, squares in one["units"]:
            held[layer, unit] = held.get((layer, unit), 0.0) + squares
    # a unit that one run does not list held less than 1 % of it: shares are too small by that at most
    found = [MassiveUnit(*at, squares / total) for at, squares in sorted(held.items())]
    return [one for one in found if is_massive(one.share, space.n_units)]


def first_token_shares(descriptions: Sequence[Mapping[str, Any]], site: str) -> tuple[float, float] | None:
    """Which share of the variance lies in first tokens, and which share of rows they are; None where runs do not say.

    Args:
        descriptions: The entries of every run's ``run.json``.
        site: Name of the site.
    """
    sums = _sums_of_site(descriptions, site)
    if sums is None or not sum(one["first_rows"] for one in sums) or not sum(one["total"] for one in sums):
        return None
    variance, rows = (
        sum(one[part] for one in sums) / sum(one[whole] for one in sums)
        for part, whole in (("first", "total"), ("first_rows", "rows"))
    )
    return float(variance), float(rows)


def first_tokens_in_words(shares: tuple[float, float] | None) -> str:
    """``93 % of the variance lies in first tokens (1.7 % of rows)``; nothing where it is not more than half.

    >>> first_tokens_in_words((0.93, 0.017)), first_tokens_in_words((0.4, 0.017)), first_tokens_in_words(None)
    ('93 % of the variance lies in first tokens (1.7 % of rows)', '', '')

    Args:
        shares: Share of the variance in first tokens, and share of the rows that they are; None if unknown.
    """
    # rows that are half of all rows hold half of the variance: no news
    if shares is None or shares[0] <= 0.5 or shares[1] >= 0.5:
        return ""
    return f"{percent(shares[0])} of the variance lies in first tokens ({percent(shares[1])} of rows)"


def percent(share: float) -> str:
    """A share in percent, with a digit more where it is small, or nearly all.

    >>> percent(0.93), percent(0.0172), percent(0.9998)
    ('93 %', '1.7 %', '99.9 %')

    Args:
        share: The share, 0 to 1.
    """
    value = 100 * share
    if 99 < value < 100:  # 99.96 is not all
        return f"{math.floor(10 * value) / 10:.1f} %"
    return f"{value:.1f} %" if value < 10 else f"{value:.0f} %"


def as_provenance(units: Iterable[MassiveUnit] | None) -> dict[str, Any]:
    """Massive units as an entry of a provenance: layer, unit and share of each; no entry where there is none.

    Args:
        units: The massive units of a recording; None if unknown.
    """
    listed_units = [[one.layer, one.unit, round(one.share, 4)] for one in units or ()]
    return {MASSIVE: listed_units} if listed_units else {}


def units_of_provenance(provenance: Any) -> list[MassiveUnit]:
    """The massive units that a provenance tells of, also where it tells of several parts.

    Args:
        provenance: Where a network or map came from.
    """
    found: dict[tuple[int, int], MassiveUnit] = {}
    for layer, unit, share in _entries(provenance):
        one = MassiveUnit(layer, unit, share)
        before = found.get((layer, unit))
        found[layer, unit] = one if before is None or before.share < share else before
    return list(found.values())


def warn_of_massive_units(
    networks: Mapping[str, Network], of_network: Mapping[str, Sequence[MassiveUnit]], *, stacklevel: int
) -> None:
    """Warn, in one sentence, where a network holds a massive unit.

    Args:
        networks: Names to networks.
        of_network: Name of a network to the massive units of the recording that it was found in, or is compared with.
        stacklevel: How many frames above this function the user's call is, as in :func:`warnings.warn`.
    """
    # unit -> (its share, names of the networks that hold it)
    held: dict[tuple[int, int], tuple[float, list[str]]] = {}
    for name, network in networks.items():
        for one in of_network.get(name, ()):
            if _is_unit(network.space, one) and network.members[network.space.index(one.layer, one.unit)]:
                names = held.setdefault((one.layer, one.unit), (one.share, []))[1]
                names += [] if name in names else [name]  # told twice: by its provenance and by a reference
    if not held:
        return
    units = listed(
        [
            f"unit {unit} of layer {layer} ({percent(share)} of the variance alone; in {listed(names, most=4)})"
            for (layer, unit), (share, names) in sorted(held.items(), key=lambda pair: -pair[1][0])
        ],
        most=3,
    )
    many = len({name for _, names in held.values() for name in names}) > 1
    warnings.warn(
        f"{'networks hold' if many else 'a network holds'} massive activations, which a model may need whatever its "
        f"task, so that silencing them can break everything: {units}; recording.massive(model=model) says what each "
        "costs, and network - recording.massive().network leaves them out",
        stacklevel=stacklevel + 1,
    )


def _is_unit(space: UnitSpace, one: MassiveUnit) -> bool:
    return 0 <= one.layer < space.n_layers and 0 <= one.unit < space.widths[one.layer]


def _entries(provenance: Any) -> Iterator[tuple[int, int, float]]:
    """Every (layer, unit, share) in a provenance, at whatever depth; what is of another form is passed over."""
    if isinstance(provenance, Mapping):
        for name, value in provenance.items():
            if name == MASSIVE and isinstance(value, (list, tuple)):
                yield from (tuple(entry) for entry in value if _is_entry(entry))
            else:
                yield from _entries(value)
    elif isinstance(provenance, (list, tuple)) and provenance and not isinstance(provenance[0], str):
        for value in provenance:
            yield from _entries(value)


def _sums_of_site(descriptions: Sequence[Mapping[str, Any]], site: str) -> list[dict[str, Any]] | None:
    """The sums of a site of every run; None unless every run has them, each of its kind."""
    found = []
    for about in descriptions:
        of_sites = about.get(VARIANCE)
        sums = of_sites.get(site) if isinstance(of_sites, Mapping) else None
        if not isinstance(sums, Mapping):
            return None
        numbers = [sums.get(name) for name in ("rows", "total", "first_rows", "first")]
        units = sums.get("units")
        if not all(map(_is_sum, numbers)) or not isinstance(units, list) or not all(map(_is_entry, units)):
            return None
        found.append(dict(sums))
    return found or None


def _is_entry(entry: Any) -> bool:
    """Whether something is the layer, the unit and the sum (or share) of a unit."""
    if not isinstance(entry, (list, tuple)) or len(entry) != 3:
        return False
    return type(entry[0]) is int and type(entry[1]) is int and _is_sum(entry[2])


def _is_sum(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and value >= 0
