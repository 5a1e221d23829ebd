"""What a report says about each kind of result: a result in, one or more sections out.

A :class:`Section` is a heading, a few sentences, a picture and the table behind it. A result that knows best how it
wants to be shown has a method ``_report_sections_()``, which is asked first. It returns a list of sections, of plain
dicts with a section's fields (so that a result need not import this room), or of other results. The others are laid out
here:

=========================================  ==============================  ============================
result                                     picture                         table
=========================================  ==============================  ============================
``UnitMap``, or a mapping of names to maps  glass brain                     20 units of largest magnitude
``Network``                                profile over layers             units in each layer
``Atlas``, or a mapping of networks        profile, then Dice overlap      networks; every pair
contrast, t or F                           glass brain of z                20 units of largest |z|
``PermutationTest``                        glass brain of t                20 units of largest |t|
``ComponentChoice``                        scree and stability             numbers tried
``GLMFit``                                 design matrix of its first run  runs; the columns of the design
``Preset``                                 none                            what is stated, what is our choice
table with a lesion study's columns        lesion matrix                   the same numbers
table with a dose response's columns       lines against gain              the same numbers
any other table (``to_dataframe()``)       none                            the table
plotly figure                              the figure                      none
anything else with ``_repr_html_()``       its own HTML                    none
=========================================  ==============================  ============================

Pictures are given as functions and drawn by the page, so that a result is laid out in milliseconds and a report can be
saved where plotly is not installed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tl_fbn.analysis.choosing import ComponentChoice
from tl_fbn.analysis.contrast import Contrast, FContrast
from tl_fbn.analysis.glm import GLMFit
from tl_fbn.analysis.permutation import PermutationTest
from tl_fbn.reporting import attributions, behaviour, designs, figures, networks
from tl_fbn.units import Atlas, Network, UnitMap

if TYPE_CHECKING:
    from plotly.graph_objects import Figure
else:
    Figure = Any  # run-time type checks must not need plotly

TOP_UNITS = 20
LEVELS = {
    "block": "One estimate a block, tested over blocks: it speaks about prompts of this kind.",
    "token": "Tested over rows: it speaks about these prompts only.",
    "run": "Tested over runs.",
}
SHOWABLE = (
    "a Section, a UnitMap, Network or Atlas (or a mapping of names to maps or networks), a DataFrame, a plotly figure, "
    "or an object with _report_sections_(), to_dataframe() or _repr_html_()"
)


@dataclass(frozen=True, eq=False)
class Section:
    """One section of a report.

    >>> Section("Method", "Six cycles of sort and rest, 64 tokens a block.").title
    'Method'

    Args:
        title: Heading, plain text.
        text: Plain text; a blank line starts a new paragraph.
        figure: A plotly figure; a function of no arguments that draws one, called when the page is made; or a map, a
            network, or a mapping of names to either, drawn as a glass brain or a profile over layers.
        table: The numbers behind the figure.
        html: HTML to put in as it is. Nothing in it is escaped, so it must not hold text of unknown origin; scripts in
            it do not run.
    """

    title: str
    text: str
    figure: Figure | Callable[[], Figure] | UnitMap | Network | Mapping[str, Any] | None = None
    table: pd.DataFrame | None = None
    html: str | None = None

    def draw(self) -> Figure:
        """The figure itself; needs plotly."""
        figure: Any = self.figure
        kind = _mapping_of(figure)
        if isinstance(figure, UnitMap) or kind is UnitMap:
            return figures.unit_map(figure)
        if isinstance(figure, Network) or kind is Network:
            return figures.layer_profile(figure)
        drawn: Any = figure() if callable(figure) else figure
        if not callable(getattr(drawn, "to_plotly_json", None)):
            raise TypeError(
                f'section "{self.title}" has a {type(drawn).__name__} as its figure; give a plotly figure, a function '
                "that returns one, a UnitMap, a Network, or a mapping of names to these"
            )
        return drawn


def require_showable(result: object, place: int, whose: str = "this report") -> None:
    """Raise TypeError, saying what can be shown, unless :func:`sections_of` has a way for the result."""
    methods = ("_report_sections_", "to_plotly_json", "to_dataframe", "_repr_html_")
    known = isinstance(result, (Section, UnitMap, Network, Atlas, pd.DataFrame)) or _mapping_of(result) is not None
    # a class has these methods too, and none of the numbers
    if not known and (isinstance(result, type) or not any(callable(getattr(result, name, None)) for name in methods)):
        raise TypeError(f"result {place} of {whose} is of type {type(result).__name__}; a report shows {SHOWABLE}")


def sections_of(result: Any) -> list[Section]:
    """Lay out one result."""
    kind = _mapping_of(result)
    if isinstance(result, Section):
        return [result]
    if callable(getattr(result, "_report_sections_", None)):
        return _own_sections(result)
    if isinstance(result, UnitMap):
        return [_map_section(result)]
    if isinstance(result, Network):
        return [_network_section(result)]
    if isinstance(result, Atlas):
        return _atlas_sections(result)
    if kind is Network:
        return _atlas_sections(Atlas.from_networks(result))
    if kind is UnitMap:
        return [_maps_section(result)]
    if callable(getattr(result, "to_plotly_json", None)):
        return [Section("Figure", "", result)]
    if isinstance(result, (Contrast, FContrast)):
        return [_contrast_section(result)]
    if isinstance(result, PermutationTest):
        return [_permutation_section(result)]
    if isinstance(result, GLMFit):
        return _fit_sections(result)
    if isinstance(result, ComponentChoice):
        draw = partial(figures.component_choice, result)
        return [Section("How many networks", _with_origin(f"{result!r}.", result.provenance), draw, result.table)]
    if isinstance(result, pd.DataFrame) or callable(getattr(result, "to_dataframe", None)):
        return [_table_section(result)]
    return [Section(_words(type(result).__name__), "", html=result._repr_html_())]


def _map_section(result: UnitMap) -> Section:
    text = (
        f"One number ({result.kind}) for each of {result.space.n_units:,} units of {result.space.describe()}. "
        "Colours are clipped at the 99.5th percentile of the magnitudes. "
        f"The table lists the {TOP_UNITS} units of largest magnitude."
    )
    if words := attributions.describe(result):
        text = f"{words}\n\n{text}"
    return Section(f"Map of {result.kind}", _with_origin(text, result.provenance), result, _largest(result))


def _maps_section(maps: Mapping[str, UnitMap]) -> Section:
    text = (
        f"{len(maps)} maps in one space. Maps of one kind share a colour scale, clipped at the 99.5th percentile of "
        f"their magnitudes. The table lists the {TOP_UNITS} units of largest magnitude of each."
    )
    largest = pd.concat([_largest(values, map=name) for name, values in maps.items()], ignore_index=True)
    names = ", ".join(list(map(str, maps))[:4]) + (f" and {len(maps) - 4} more" if len(maps) > 4 else "")
    return Section(f"Maps of {names}", text, maps, largest)


def _largest(values: UnitMap, **first: str) -> pd.DataFrame:
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


def _contrast_section(result: Contrast | FContrast) -> Section:
    z, p = result.z, result.p.values
    tested = int(np.isfinite(p).sum())
    text = (
        f"{result!r}.\n\n{LEVELS[result.level]} Of {tested:,} units {int((p < 0.05).sum()):,} have p < .05, "
        f"uncorrected, where chance alone gives about {0.05 * tested:,.0f}. The picture shows z; the table lists the "
        f"{TOP_UNITS} units of largest |z|."
    )
    largest = result.to_dataframe().iloc[_order(z)]
    asked = result.expression if isinstance(result, Contrast) else ", ".join(result.expressions)
    return Section(f"Contrast {asked}", _with_origin(text, z.provenance), z, largest)


def _permutation_section(result: PermutationTest) -> Section:
    passed = int((result.p.values <= 0.05).sum())
    text = (
        f"{result!r}.\n\np is corrected over all units: {passed:,} have p of at most .05, where by chance one experiment in twenty has "
        f"any. The picture shows t; the table lists the {TOP_UNITS} units of largest |t|."
    )
    largest = result.to_dataframe().iloc[_order(result.t)]
    return Section(f"Permutations of {result.expression}", _with_origin(text, result.t.provenance), result.t, largest)


def _fit_sections(fit: GLMFit) -> list[Section]:
    text = f"{fit!r}. A run is fitted by itself; contrasts are means over runs."
    about = (
        "The model of every row of run 0. A column whose variance inflation factor (VIF) is high is hard to tell from the others; boxcars of all "
        "conditions imply the constant, which costs their differences nothing."
    )
    sections = [Section("GLM fit", _with_origin(text, fit.provenance), table=fit.to_dataframe())]
    for design in fit.designs[:1]:
        sections.append(Section("Design", about, partial(figures.design_matrix, design), designs.design_table(design)))
    return sections


def _network_section(result: Network) -> Section:
    widths = np.array(result.space.widths)
    counts = result.per_layer()
    share = 100 * counts / np.where(widths > 0, widths, np.nan)
    table = pd.DataFrame({"layer": range(len(widths)), "members": counts, "units": widths, "share (%)": share})
    signs = f", {len(result.positive()):,} signed + and {len(result.negative()):,} signed -" if _signed(result) else ""
    text = (
        f"{len(result):,} of {result.space.n_units:,} units ({result.share:.2%}) of {result.space.describe()}{signs}."
    )
    return Section(f"Network {result.name}", _with_origin(text, result.provenance), result, table)


def _atlas_sections(atlas: Atlas) -> list[Section]:
    count = f"{len(atlas)} network{'' if len(atlas) == 1 else 's'}"
    text = _with_origin(f"{count} in {atlas.space.describe()}.", atlas.provenance)
    sections = [Section(f"Atlas of {count}", text, atlas, atlas.to_dataframe())]
    if atlas.stability is not None:
        about = (
            "Iq of a network is how alike its copies in resampled analyses are, less their likeness to others; p the share of networks of matched noise "
            "with as large an Iq."
        )
        if atlas.unstable:
            about += f" No more stable than noise: {', '.join(atlas.unstable)}."
        sections.append(Section("Stability", about, partial(figures.stability, atlas)))
    if len(atlas) > 1:
        about = (
            "Dice is twice the shared units over the sum of both sizes. The chance level is its expectation for random "
            "sets that take as many units from every layer as the two networks do; it is no test."
        )
        draw = partial(figures.overlap_matrix, atlas)
        sections.append(Section(f"Overlap of {count}", about, draw, networks.dice_table(atlas)))
    return sections


def _table_section(result: Any) -> Section:
    bare = isinstance(result, pd.DataFrame)
    table = result if bare else result.to_dataframe()
    name = None if bare else _words(type(result).__name__)
    if set(behaviour.LESION_COLUMNS) <= set(table.columns) and len(table):
        text = (
            f"{'' if bare else f'{result!r}. '}The drop is baseline minus lesioned. p is the share of matched random lesions that cost at least as much, "
            "counting the lesion itself among them; it is not corrected for the number of cells."
        )
        return Section(name or "Lesion study", text, partial(figures.lesion_matrix, _Table(table)), table)
    if set(behaviour.GAIN_COLUMNS) <= set(table.columns) and len(table):
        text = "Activations of the network are multiplied by the gain; a gain of 1 is the untouched model."
        return Section(name or "Amplification", text, partial(figures.amplification, table), table)
    return Section(name or "Table", "" if bare else repr(result), table=table)


def _own_sections(result: Any) -> list[Section]:
    sections: list[Section] = []
    for place, part in enumerate(result._report_sections_(), start=1):
        if isinstance(part, dict) and "title" in part:
            part = Section(**{"text": "", **part})
        require_showable(part, place, f"{type(result).__name__}._report_sections_()")
        sections += sections_of(part)
    return sections


@dataclass(frozen=True, eq=False)
class _Table:
    """A table that has been laid out once already."""

    table: pd.DataFrame

    def to_dataframe(self) -> pd.DataFrame:
        return self.table


def _mapping_of(result: object) -> type | None:
    """The type of the values of a mapping, if they are all maps or all networks."""
    if not isinstance(result, Mapping) or not result:
        return None
    return next((kind for kind in (UnitMap, Network) if all(isinstance(v, kind) for v in result.values())), None)


def _signed(network: Network) -> bool:
    return network.signs is not None and bool(network.signs.any())


def _words(name: str) -> str:
    """``LesionStudy`` as ``Lesion study``; ``GLMFit`` as ``GLM fit``."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", name) or [name]
    return " ".join([parts[0], *(part if part.isupper() else part.lower() for part in parts[1:])])


def _with_origin(text: str, provenance: Mapping[str, Any]) -> str:
    """Add where a result came from, as a paragraph of its own."""
    origin = _origin(provenance)
    return f"{text}\n\nOrigin: {origin}." if origin else text


def _origin(provenance: Mapping[Any, Any]) -> str:
    """Provenance in one line; long lists are counted."""
    words = []
    for key, value in provenance.items():
        if isinstance(value, Mapping):
            value = f"({_origin(value)})"
        elif isinstance(value, (list, tuple)) and (len(value) > 4 or key == "parts"):
            value = f"{len(value)} entries"
        words.append(f"{key} {value}")
    return ", ".join(words)
