"""How each kind of result is laid out: what its section says, which picture it gets, and which table stands behind it.

Results of the other rooms are known by the name of their type, so that no model library is imported here. Their pictures are looked up in
:mod:`.figures` by name (:data:`PICTURES`) and drawn by the page. A list of all kinds is in :mod:`.sections`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from tl_fbn.reporting import plot as figures
from tl_fbn.reporting.page import citations as attributions
from tl_fbn.reporting.page.section import Section
from tl_fbn.reporting.plot import _design_matrix as designs
from tl_fbn.reporting.plot import _lesion_matrix as behaviour
from tl_fbn.reporting.plot import _overlap_matrix as networks
from tl_fbn.reporting.plot._comparisons import CONCORDANCE_COLUMNS
from tl_fbn.reporting.plot._dissociation import DISSOCIATION_COLUMNS
from tl_fbn.reporting.plot._retention_curve import RETENTION_COLUMNS
from tl_fbn.reporting.plot._token_ablation import ABLATION_COLUMNS
from tl_fbn.units import Atlas, Network, UnitMap

TOP_UNITS = 20
LEVELS = {
    "block": "One estimate a block, tested over blocks: it speaks about prompts of this kind.",
    "token": "Tested over rows: it speaks about these prompts only.",
    "run": "Tested over runs.",
}
PICTURES = {
    "ComponentChoice": "component_choice",
    "Connectivity": "connectivity",
    "Contrast": "contrast",
    "DoseResponse": "dose_response",
    "Fingerprint": "fingerprint",
    "GainCalibration": "gain_calibration",
    "Identification": "confusion_matrix",
    "LesionStudy": "lesion_controls",
    "PruneReport": "prune",
    "Recurrence": "recurrence",
    "Validation": "score_validation",
}
_TABLES = (
    # columns that tell a table, those of one line, its heading, its picture, what is said of it
    (
        behaviour.LESION_COLUMNS,
        (),
        "Lesion study",
        "lesion_matrix",
        "The drop is baseline minus lesioned. p is the share of matched random lesions that cost at least as much, counting the lesion itself among "
        "them; it is not corrected for the number of cells.",
    ),
    (
        behaviour.GAIN_COLUMNS,
        (),
        "Amplification",
        "amplification",
        "Activations of the network are multiplied by the gain; a gain of 1 is the untouched model.",
    ),
    (
        ABLATION_COLUMNS,
        ("variant", "tokens", "task"),
        "Which tokens find task neurons",
        "special_tokens",
        "Networks scored on different tokens by different formulas, silenced. Isolated: the own task is hurt more than every other, and more than "
        "matched random networks.",
    ),
    (
        RETENTION_COLUMNS,
        ("networks", "task", "metric"),
        "Retention",
        "retention_curve",
        "What is left of each task as networks are kept (or masked) one after the other, beside as many units chosen at random in each layer.",
    ),
    (
        CONCORDANCE_COLUMNS,
        ("a", "b"),
        "Do maps agree?",
        "concordance",
        "Every two maps: their correlation, and the overlap of their strongest units beside what chance gives in the same layers.",
    ),
    (
        DISSOCIATION_COLUMNS,
        ("first", "second"),
        "Double dissociations",
        "dissociation",
        "Each pair of networks on each other's tasks.",
    ),
)


def picture_of(result: Any) -> Callable[[], Any] | None:
    """What draws a result's own picture; None where there is no such picture."""
    name = PICTURES.get(type(result).__name__)
    return _drawing(name, result) if name else None


def of_table(table: pd.DataFrame, whole: Any = None) -> tuple[str, Callable[[], Any] | None, str] | None:
    """Heading, picture and words of a table that is known by its columns; None for any other, and where lines repeat.

    ``whole`` is the result the table is of, where there is one: pairs are drawn from their study, which knows its metric and its controls.
    """
    for columns, key, title, picture, about in _TABLES:
        known = len(table) and set(columns) <= set(table.columns)
        if known and not (key and table.duplicated(list(key)).any()):
            if picture == "dissociation" and callable(getattr(whole, "dissociations", None)):
                return title, _drawing(picture, whole), about
            return title, _drawing(picture, _Table(table) if picture == "lesion_matrix" else table), about
    return None


def _drawing(name: str, *args: Any) -> Callable[[], Any] | None:
    draw = getattr(figures, name, None)
    return None if draw is None else partial(draw, *args)


# Maps, networks, atlases


def map_section(result: UnitMap) -> Section:
    text = (
        f"One number ({result.kind}) for each of {result.space.n_units:,} units of {result.space.describe()}. "
        "Colours are clipped at the 99.5th percentile of the magnitudes. "
        f"The table lists the {TOP_UNITS} units of largest magnitude."
    )
    if words := attributions.describe(result):
        text = f"{words}\n\n{text}"
    return Section(f"Map of {result.kind}", with_origin(text, result.provenance), result, largest(result))


def maps_section(maps: Mapping[str, UnitMap]) -> Section:
    text = (
        f"{len(maps)} maps in one space. Maps of one kind share a colour scale, clipped at the 99.5th percentile of "
        f"their magnitudes. The table lists the {TOP_UNITS} units of largest magnitude of each."
    )
    table = pd.concat([largest(values, map=name) for name, values in maps.items()], ignore_index=True)
    names = ", ".join(list(map(str, maps))[:4]) + (f" and {len(maps) - 4} more" if len(maps) > 4 else "")
    return Section(f"Maps of {names}", text, maps, table)


def largest(values: UnitMap, **first: str) -> pd.DataFrame:
    """The units of largest magnitude, largest first, behind columns that say whose they are."""
    order = _order(values)
    layers = values.space.layer_of[order]
    units = order - np.array(values.space.offsets)[layers]
    columns = {name: [value] * len(order) for name, value in first.items()}
    return pd.DataFrame({**columns, "layer": layers, "unit": units, values.kind: values.values[order]})


def _order(values: UnitMap) -> np.ndarray:
    """Flat indices of the units of largest finite magnitude, largest first, ties by index."""
    sizes = np.abs(values.values)
    order = np.argsort(-np.where(np.isfinite(sizes), sizes, -1.0), kind="stable")
    return order[: min(TOP_UNITS, int(np.isfinite(sizes).sum()))]


def network_section(result: Network) -> Section:
    widths = np.array(result.space.widths)
    counts = result.per_layer()
    share = 100 * counts / np.where(widths > 0, widths, np.nan)
    table = pd.DataFrame({"layer": range(len(widths)), "members": counts, "units": widths, "share (%)": share})
    signed = result.signs is not None and bool(result.signs.any())
    signs = f", {len(result.positive()):,} signed + and {len(result.negative()):,} signed -" if signed else ""
    text = (
        f"{len(result):,} of {result.space.n_units:,} units ({result.share:.2%}) of {result.space.describe()}{signs}."
    )
    return Section(f"Network {result.name}", with_origin(text, result.provenance), result, table)


def atlas_sections(atlas: Atlas) -> list[Section]:
    count = f"{len(atlas)} network{'' if len(atlas) == 1 else 's'}"
    text = with_origin(f"{count} in {atlas.space.describe()}.", atlas.provenance)
    sections = [Section(f"Atlas of {count}", text, atlas, atlas.to_dataframe())]
    if atlas.stability is not None:
        about = (
            "Iq of a network is how alike its copies in resampled analyses are, less their likeness to others; p the share of networks of matched noise "
            "with as large an Iq."
        )
        if atlas.unstable:
            about += f" No more stable than noise: {', '.join(atlas.unstable)}."
        measured = [name for name in ("network", "units", "stability", "stability_p") if name in atlas.to_dataframe()]
        sections.append(
            Section("Stability", about, partial(figures.stability, atlas), atlas.to_dataframe().loc[:, measured])
        )
    if len(atlas) > 1:
        about = (
            "Dice is twice the shared units over the sum of both sizes. The chance level is its expectation for random "
            "sets that take as many units from every layer as the two networks do; it is no test."
        )
        draw = partial(figures.overlap_matrix, atlas)
        sections.append(Section(f"Overlap of {count}", about, draw, networks.dice_table(atlas)))
    return sections


# Recordings and designs


def recording_sections(recording: Any) -> list[Section]:
    """A recording's runs; where it is of time courses, the courses."""
    lines = [
        (number, run.n_rows, len(run.events), ", ".join(dict.fromkeys(map(str, run.events["trial_type"]))))
        for number, run in enumerate(recording.runs_of[0])
    ]
    table = pd.DataFrame(lines, columns=["run", "rows", "blocks", "conditions"])
    courses = "networks" in recording.about
    text = f"{recording.n_rows:,} rows in {len(recording)} runs of {', '.join(one.describe() for one in recording.spaces)}. Key {recording.key[:16]}."
    sections = [Section("Time courses" if courses else "Recording", text, table=table)]
    if courses and (draw := _drawing("time_courses", recording)):
        sections.append(Section("Networks over tokens", "The first networks of the first run.", draw))
    return sections


def design_section(design: Any) -> Section:
    blocks = design.to_dataframe()
    grouped = blocks.groupby("trial_type", sort=False, as_index=False).agg(
        blocks=("block", "size"), rows=("duration", "sum")
    )
    return Section("What is shown", f"{design!r}.", table=grouped)


# The linear model


def contrast_section(result: Any) -> Section:
    z, p = result.z, result.p.values
    tested = int(np.isfinite(p).sum())
    draw = picture_of(result)
    shown = "The picture shows z; the table" if draw is None else "The table"
    text = (
        f"{result!r}.\n\n{LEVELS[result.level]} Of {tested:,} units {int((p < 0.05).sum()):,} have p < .05, "
        f"uncorrected, where chance alone gives about {0.05 * tested:,.0f}. {shown} lists the "
        f"{TOP_UNITS} units of largest |z|."
    )
    table = result.to_dataframe().iloc[_order(z)]
    asked = result.expression if hasattr(result, "expression") else ", ".join(result.expressions)
    return Section(f"Contrast {asked}", with_origin(text, z.provenance), draw or z, table)


def permutation_section(result: Any) -> Section:
    passed = int((result.p.values <= 0.05).sum())
    text = (
        f"{result!r}.\n\np is corrected over all units: {passed:,} have p of at most .05, where by chance one experiment in twenty has "
        f"any. The picture shows t; the table lists the {TOP_UNITS} units of largest |t|."
    )
    table = result.to_dataframe().iloc[_order(result.t)]
    return Section(f"Permutations of {result.expression}", with_origin(text, result.t.provenance), result.t, table)


def fit_sections(fit: Any) -> list[Section]:
    text = f"{fit!r}. A run is fitted by itself; contrasts are means over runs."
    about = (
        "The model of every row of run 0. A column whose variance inflation factor (VIF) is high is hard to tell from the others; boxcars of all "
        "conditions imply the constant, which costs their differences nothing."
    )
    sections = [Section("GLM fit", with_origin(text, fit.provenance), table=fit.to_dataframe())]
    for design in fit.designs[:1]:
        sections.append(Section("Design", about, partial(figures.design_matrix, design), designs.design_table(design)))
    return sections


def choice_section(result: Any) -> Section:
    return Section(
        "How many networks", with_origin(f"{result!r}.", result.provenance), picture_of(result), result.table
    )


# Behaviour


def dose_sections(result: Any) -> list[Section]:
    """Curves of every task, and what they amount to."""
    table = result.to_dataframe()
    draw = picture_of(result)
    if draw is None and set(behaviour.GAIN_COLUMNS) <= set(table.columns):
        draw = partial(figures.amplification, table)
    untouched = {
        "gain": "Activations of the network are multiplied by the gain; a gain of 1 is the untouched model.",
        "add": "The amount is added to every member; 0 is the untouched model.",
        "add_sd": "The amount is added to every member, in its standard deviations; 0 is the untouched model.",
        "size": "The dose is the share of all units that is changed.",
    }[result.kind]
    text = f"{result!r}. {untouched} Low and high are 95 % intervals over items; controls are networks with as many units in each layer."
    about = (
        "Area is the mean change from the untouched model over the doses, monotonicity the rank correlation of score and distance from the "
        "harmless dose. Both p are shares of matched random networks whose value is as low, counting the network itself."
    )
    return [
        Section(f"Dose response: {result.network}", text, draw, table),
        Section(f"What the doses of {result.network} amount to", about, table=result.summary()),
    ]


def response_sections(result: Any) -> list[Section]:
    about = (
        "Free text, parsed strictly: what could not be parsed is wrong. Constant: the share of the commonest output."
    )
    return [
        Section("Written answers", f"{result!r}. {about}", table=result.summary()),
        Section("What was written", "Item by item.", table=result.to_dataframe()),
    ]


def plain_section(result: Any) -> Section:
    """A table, or a result that is best told by one; a known set of columns brings its picture."""
    bare = isinstance(result, pd.DataFrame)
    table = result if bare else result.to_dataframe()
    name = None if bare else words(type(result).__name__)
    said = "" if bare else f"{result!r}."
    draw = None if bare else picture_of(result)
    if draw is None and (known := of_table(table)) is not None:
        title, draw, about = known
        return Section(name or title, f"{said} {about}".strip(), draw, table)
    origin = {} if bare else getattr(result, "provenance", {})
    return Section(
        name or "Table", with_origin(said, origin if isinstance(origin, Mapping) else {}).strip(), draw, table
    )


LAYOUTS: dict[str, Callable[[Any], Section | Sequence[Section]]] = {
    "BlockDesign": design_section,
    "ComponentChoice": choice_section,
    "Contrast": contrast_section,
    "DoseResponse": dose_sections,
    "FContrast": contrast_section,
    "GLMFit": fit_sections,
    "PermutationTest": permutation_section,
    "Recording": recording_sections,
    "Responses": response_sections,
}
"""How the results of other rooms are laid out, by the name of their type."""


@dataclass(frozen=True, eq=False)
class _Table:
    """A table that has been laid out once already."""

    table: pd.DataFrame

    def to_dataframe(self) -> pd.DataFrame:
        return self.table


def words(name: str) -> str:
    """``LesionStudy`` as ``Lesion study``; ``GLMFit`` as ``GLM fit``."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", name) or [name]
    return " ".join([parts[0], *(part if part.isupper() else part.lower() for part in parts[1:])])


def with_origin(text: str, provenance: Mapping[str, Any]) -> str:
    """Add where a result came from, as a paragraph of its own."""
    origin = _origin(provenance)
    return f"{text}\n\nOrigin: {origin}." if origin else text


def _origin(provenance: Mapping[Any, Any]) -> str:
    """Provenance in one line; long lists are counted, digests cut, the rest is in the page's provenance."""
    found = []
    for key, value in provenance.items():
        if isinstance(value, Mapping):
            value = f"({_origin(value)})"
        elif isinstance(value, (list, tuple)) and (len(value) > 4 or key in ("parts", "prompts")):
            value = f"{len(value)} {'digests of texts' if key == 'prompts' else 'entries'}"
        elif isinstance(value, str) and re.fullmatch("[0-9a-f]{40,}", value):
            value = value[:16]
        found.append(f"{key} {value}")
    return ", ".join(found)
