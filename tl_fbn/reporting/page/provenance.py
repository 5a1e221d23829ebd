"""Where the results of a page came from: recordings, weights, prompts and seeds of each, and the software of the page.

Digests are cut to 16 characters of 64. "not recorded" means that the result does not say; nothing is guessed. The
versions of packages are read from what pip installed, without importing anything, and are those of the time at which
the page is made. A recording carries the versions it was made with, which have a column of their own.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any

import pandas as pd

from tl_fbn.reporting.page.section import Section
from tl_fbn.units import Network, UnitMap
from tl_fbn.units.prose import NOT_RECORDED

PACKAGES = (
    "tl-fbn",
    "torch",
    "transformer-lens",
    "transformers",
    "numpy",
    "scipy",
    "scikit-learn",
    "statsmodels",
    "pandas",
    "plotly",
)
_OF_NETWORK = ("recording", "weights", "model_dtype", "prompts")  # what a result takes over from its network
KEPT = 16  # characters of a digest


def versions(names: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Versions of Python and of packages that are installed now.

    Args:
        names: Names of packages. One that is missing is ``not installed``; this package itself is ``unknown`` where it
            runs from a checkout that was not installed.
    """
    found = {"Python": platform.python_version()}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "unknown" if name == "tl-fbn" else "not installed"
    return found


def parts(results: Sequence[Any]) -> Iterator[Any]:
    """The results that have an origin, one by one.

    Mappings of networks or maps are taken apart, and so is an atlas without a provenance. Sections, tables and figures
    have no origin and are left out.

    Args:
        results: The results of a page.
    """
    for result in results:
        # an atlas is a mapping, too, but has one origin where it has a provenance
        if isinstance(result, Mapping) and not getattr(result, "provenance", None):
            yield from result.values()
        elif not isinstance(result, (Section, pd.DataFrame)) and not callable(getattr(result, "to_plotly_json", None)):
            yield result


def origin(result: Any) -> dict[str, Any]:
    """What a result says about how it was made.

    Args:
        result: Any result.

    Returns:
        Its provenance; where it holds a network, also the recording, weights and prompts of that network, unless the
        result names its own. An empty mapping where it says nothing.
    """
    about = getattr(result, "provenance", None)
    about = dict(about) if isinstance(about, Mapping) else {}
    network = getattr(result, "network", None)
    inner = getattr(network, "provenance", about.get("network"))
    if isinstance(inner, Mapping):
        # last, and therefore first in authority, what the result says of itself
        return {**{key: inner[key] for key in _OF_NETWORK if key in inner}, **about}
    return about


def table(results: Sequence[Any]) -> pd.DataFrame:
    """The origin of every result.

    Args:
        results: The results of a page; presets have no origin and are left out.

    Returns:
        One line a result: result, model, number type, units, recording, weights, discovery prompts, seed.
    """
    lines = []
    for result in (one for one in parts(results) if not is_preset(one)):
        about = origin(result)
        space = getattr(result, "space", None)
        # a comparison has two sides, each with an origin
        pair = [side for side in (about.get("first"), about.get("second")) if isinstance(side, Mapping)]
        seed = about.get("seed", getattr(result, "seed", None))
        lines.append(
            {
                "result": title_of(result),
                "model": getattr(space, "model", NOT_RECORDED),
                "number type": _number_type(pair or [about]),
                "units": f"{space.site}, {space.n_units:,}" if space is not None else NOT_RECORDED,
                "recording": " and ".join(short(side.get("recording")) for side in pair)
                or short(about.get("recording") or _recording_key(result)),
                "weights": " and ".join(short(side.get("weights")) for side in pair)
                or short(about.get("weights") or getattr(space, "weights", None)),
                "discovery prompts": _discovery_prompts(result, about),
                "seed": "none" if seed is None else str(seed),
            }
        )
    return pd.DataFrame(lines).drop_duplicates(ignore_index=True) if lines else pd.DataFrame()


def sections(results: Sequence[Any]) -> list[Section]:
    """The sections "Provenance" (origins of the results) and "Software" (versions of packages).

    Args:
        results: The results of a page. Each recording among them gets a column in the table of versions.
    """
    origins = table(results)
    about = (
        f"Recordings, weights and prompts are known by digests, of which the first {KEPT} characters are shown; two "
        "results with the same digest are of the same data. Where a result does not say, nothing is guessed. Seed "
        "none: nothing was drawn, or the draw was not recorded."
    )
    software = pd.DataFrame(list(versions().items()), columns=["package", "version"])
    for recording in (one for one in parts(results) if _recording_key(one)):
        there = dict(recording.about.get("versions") or {})
        software[f"recording {recording.key[:8]}"] = [there.get(name, NOT_RECORDED) for name in software["package"]]
    found = [Section("Provenance", about, table=origins)] if len(origins) else []
    about_versions = (
        "Versions where this page was made, and where recordings on it were made. They may differ from those of other "
        "results."
    )
    return [*found, Section("Software", about_versions, table=software)]


def title_of(result: Any) -> str:
    """A few words by which a result is known in tables.

    Args:
        result: Any result; its class is named with its expression, task, name or network.
    """
    if isinstance(result, Network):
        return f"Network {result.name}"
    if isinstance(result, UnitMap):
        return f"Map of {result.kind}"
    kind = type(result).__name__
    # the first of these that the result has, from the most telling on
    for name in ("expression", "expressions", "task", "name"):
        if isinstance(value := getattr(result, name, None), (str, tuple)):
            return f"{kind} {value if isinstance(value, str) else ', '.join(map(str, value))}"
    network = getattr(result, "network", None)
    return f"{kind} of {getattr(network, 'name', network)}" if network is not None else kind


def is_preset(result: Any) -> bool:
    """Whether a result is the settings of a paper (:mod:`tl_fbn.papers`, which this folder may not import).

    Args:
        result: Any result.
    """
    return getattr(result, "_step_", None) == "settings"


def short(digest: Any) -> str:
    """The beginning of a digest, or "not recorded" where there is none.

    Args:
        digest: A digest as text, or None.
    """
    return NOT_RECORDED if not digest else str(digest)[:KEPT]


def _number_type(origins: Sequence[Mapping[str, Any]]) -> str:
    """What the models of some origins computed in; those of both sides of a comparison once where they agree."""
    return " and ".join(dict.fromkeys(str(one.get("model_dtype") or NOT_RECORDED) for one in origins))


def _recording_key(result: Any) -> str | None:
    """The key of a recording; None for any other result."""
    # only a recording has runs_of: another class may have a key of another kind
    key = getattr(result, "key", None)
    return key if isinstance(key, str) and hasattr(result, "runs_of") else None


def _discovery_prompts(result: Any, about: Mapping[str, Any]) -> str:
    """Whether the prompts are known in which something was found, and how many they are."""
    discovery = getattr(result, "discovery", about.get("discovery"))
    if isinstance(discovery, Mapping):
        # what is known about each network, counted: "3 known, 1 unknown"
        kinds = {str(kind): sum(other == kind for other in discovery.values()) for kind in discovery.values()}
        return ", ".join(f"{n} {kind}" for kind, n in kinds.items())
    if isinstance(discovery, str):
        return discovery
    known = about.get("prompts")
    return "unknown" if known is None else f"{len(known)} digests of texts"
