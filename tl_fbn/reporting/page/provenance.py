"""Where the results of a page came from: recordings, weights, prompts and seeds of each, and the software of the page.

Digests are cut to 16 characters of 64. "not recorded" means that the result does not say; nothing is guessed. Versions are read from what pip
installed, without importing anything, and are those of the page: a recording carries the versions it was made with, which stand in its own line.
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
KEPT = 16  # characters of a digest


def versions(names: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Python and packages; ``unknown`` for ourselves where they run from a bare checkout."""
    found = {"Python": platform.python_version()}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "unknown" if name == "tl-fbn" else "not installed"
    return found


def parts(results: Sequence[Any]) -> Iterator[Any]:
    """The results, with mappings of networks or maps (and atlases that say nothing themselves) taken apart; sections, tables and figures have no origin."""
    for result in results:
        if isinstance(result, Mapping) and not getattr(result, "provenance", None):
            yield from result.values()
        elif not isinstance(result, (Section, pd.DataFrame)) and not callable(getattr(result, "to_plotly_json", None)):
            yield result


def origin(result: Any) -> dict[str, Any]:
    """What a result says about how it was made; {} where it says nothing. A network inside it says where it came from."""
    about = getattr(result, "provenance", None)
    about = dict(about) if isinstance(about, Mapping) else {}
    network = getattr(result, "network", None)
    inner = getattr(network, "provenance", about.get("network"))
    if isinstance(inner, Mapping):
        return {**{key: inner[key] for key in ("recording", "weights", "prompts") if key in inner}, **about}
    return about


def table(results: Sequence[Any]) -> pd.DataFrame:
    """One line a result: result, model, units, recording, weights, discovery prompts, seed."""
    lines = []
    for result in (one for one in parts(results) if not is_preset(one)):
        about = origin(result)
        space = getattr(result, "space", None)
        pair = [side for side in (about.get("first"), about.get("second")) if isinstance(side, Mapping)]
        seed = about.get("seed", getattr(result, "seed", None))
        lines.append(
            {
                "result": title_of(result),
                "model": getattr(space, "model", NOT_RECORDED),
                "units": f"{space.site}, {space.n_units:,}" if space is not None else NOT_RECORDED,
                "recording": " and ".join(short(side.get("recording")) for side in pair)
                or short(about.get("recording") or _own_key(result)),
                "weights": " and ".join(short(side.get("weights")) for side in pair)
                or short(about.get("weights") or getattr(space, "weights", None)),
                "discovery prompts": _prompts(result, about),
                "seed": "none" if seed is None else str(seed),
            }
        )
    return pd.DataFrame(lines).drop_duplicates(ignore_index=True) if lines else pd.DataFrame()


def sections(results: Sequence[Any]) -> list[Section]:
    """Provenance of the results, and the software of the page."""
    origins = table(results)
    about = (
        f"Recordings, weights and prompts are known by digests, of which the first {KEPT} characters are shown; two results with the same digest are "
        "of the same data. Where a result does not say, nothing is guessed. Seed none: nothing was drawn, or the draw was not recorded."
    )
    software = pd.DataFrame(list(versions().items()), columns=["package", "version"])
    for recording in (one for one in parts(results) if _own_key(one)):
        there = dict(recording.about.get("versions") or {})
        software[f"recording {recording.key[:8]}"] = [there.get(name, NOT_RECORDED) for name in software["package"]]
    found = [Section("Provenance", about, table=origins)] if len(origins) else []
    said = "Versions where this page was made, and where recordings on it were made. They may differ from those of other results."
    return [*found, Section("Software", said, table=software)]


def title_of(result: Any) -> str:
    """A few words by which a result is known in tables."""
    if isinstance(result, Network):
        return f"Network {result.name}"
    if isinstance(result, UnitMap):
        return f"Map of {result.kind}"
    kind = type(result).__name__
    for name in ("expression", "expressions", "task", "name"):
        if isinstance(said := getattr(result, name, None), (str, tuple)):
            return f"{kind} {said if isinstance(said, str) else ', '.join(map(str, said))}"
    network = getattr(result, "network", None)
    return f"{kind} of {getattr(network, 'name', network)}" if network is not None else kind


def is_preset(result: Any) -> bool:
    """Whether a result is a paper's settings (:mod:`tl_fbn.presets`, which this room may not import)."""
    return getattr(result, "_step_", None) == "settings"


def short(digest: Any) -> str:
    """The beginning of a digest."""
    return NOT_RECORDED if not digest else str(digest)[:KEPT]


def _own_key(result: Any) -> str | None:
    key = getattr(result, "key", None)
    return key if isinstance(key, str) and hasattr(result, "runs_of") else None


def _prompts(result: Any, about: Mapping[str, Any]) -> str:
    """Whether the prompts are known on which something was found."""
    discovery = getattr(result, "discovery", about.get("discovery"))
    if isinstance(discovery, Mapping):
        kinds = {str(kind): sum(other == kind for other in discovery.values()) for kind in discovery.values()}
        return ", ".join(f"{n} {kind}" for kind, n in kinds.items())
    if isinstance(discovery, str):
        return discovery
    known = about.get("prompts")
    return "unknown" if known is None else f"{len(known)} digests of texts"
