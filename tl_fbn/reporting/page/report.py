"""A report: results in, one HTML file out that opens anywhere, for years, without a network.

>>> fbn.Report("What sorts?", recording, contrast, atlas).save("sort.html")

Or later, from the files of saved results, without a model:

>>> contrast.save("results/sort - reverse.safetensors")
>>> fbn.Report("What sorts?", *fbn.load_results("results").values()).save("again.html")

One file holds everything: text, tables, the numbers of every picture and one copy of plotly.js (4.8 MB; left out when
there is no picture). It loads nothing: fonts are the system's, and a content security policy in its head forbids every
request and every script but the page's own. Without scripts it still reads, because each picture is followed by its
table; with them every table has a button that copies it, tab-separated. Where plotly is not installed the page has the
tables alone and says so. Results come in the order given; methods, settings and provenance end the page.

Safety: titles, tokens, names and table cells are text and are escaped; the numbers of a picture are embedded as JSON
in which ``<`` is written ``\\u003c``, so no label can end the script element it stands in. The one exception is the
HTML of a result's own ``_repr_html_()``, put in as it is; scripts in it do not run.

Cost: plotly.js plus 5.3 characters for every cell of a map that is drawn, and up to as many for the number of its unit
(:mod:`.plotly_embed`). The text can be read at once: plotly.js, which takes longer than all the rest, starts when the
text is shown; then pictures near the screen are drawn, the others when the browser is idle, and all of them before
printing. Of a longer table 200 lines are shown, and the page says so. What a section says about a result is decided in
:mod:`tl_fbn.reporting.page.section`.

What it does not do: no model is run and nothing is tested here; a report only shows what results already hold. Given a
model, it reads output weights for the words beside units (:mod:`tl_fbn.reporting.promoted_words`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from tl_fbn.errors import InputError, InputTypeError, visible
from tl_fbn.kinds import ShownText
from tl_fbn.reporting import promoted_words, templates
from tl_fbn.reporting.page import html_tables, methods_section, plotly_embed
from tl_fbn.reporting.page import provenance as provenance_section
from tl_fbn.reporting.page.section import Section, require_showable, sections_of
from tl_fbn.signatures import checked
from tl_fbn.units import Network, html_table

__all__ = ["Report", "Section"]

FOOTER = ("tl-fbn", "numpy", "pandas", "plotly")  # packages whose versions are named at the foot of the page


class Report:
    """A page of results, in the order in which they are to be read; ``save`` writes it to one HTML file.

    >>> report = fbn.Report("What sorts?", contrast, network)
    >>> report
    Report "What sorts?": 2 results
    >>> [section.title for section in report.appendix()]
    ['Methods', 'Settings and where they come from', 'Provenance', 'Software']
    >>> report.save("sort.html")

    Args:
        title: Heading of the page.
        *results: What the page shows: results, maps, networks, mappings of names to maps or networks, tables, plotly
            figures, :class:`Section` objects, and objects with ``_repr_html_()``.
        intro: Plain text under the title; a blank line starts a new paragraph. None writes no introduction.
        methods: Whether the page ends with a methods text for a paper and a table of all settings
            (:mod:`.methods_section`).
        provenance: Whether the page ends with recordings, weights, prompts, seeds and software (:mod:`.provenance`).
        sources: Results that sections of your own were made of; they are not shown, but methods and provenance include
            them.
        model: The model of the results, whose output weights are read: tables of units and networks get a column of the
            words that each promotes (:func:`tl_fbn.networks.promoted_tokens`). None adds no words.
        promoted: What ``fbn.networks.promoted_tokens`` returned earlier, for units of one site: the same column,
            without a model. None adds no words.

    Raises:
        InputError: No result is given, or ``promoted`` lacks a column.
        InputTypeError: The title is no string, or a result is of a type that no report can show.
    """

    @checked
    def __init__(
        self,
        title: ShownText,
        *results: Any,
        intro: ShownText | None = None,
        methods: bool = True,
        provenance: bool = True,
        sources: Sequence[Any] = (),
        model: Any = None,
        promoted: Any = None,
    ) -> None:
        if not isinstance(title, str):
            raise InputTypeError(f"a report's first argument is its title, a string; got {type(title).__name__}")
        if not results:
            raise InputError(f'report "{title}" has no results; give at least one after the title')
        for place, result in enumerate(results, start=1):
            require_showable(result, place)
        self.title = title
        self.results = results
        self.intro = intro
        self.methods = methods
        self.provenance = provenance
        self.sources = tuple(sources)
        self._words = promoted_words.PromotedWords(model, promoted, html_tables.MOST_LINES)

    def sections(self) -> list[Section]:
        """The sections of the results, in the order of the results."""
        found = []
        for result in self.results:
            found += [self._with_words(section, result) for section in sections_of(result)]
            units = self._words.units_of(result) if isinstance(result, Network) else None
            if units is not None:
                text = f"{len(units)} of {len(result):,} units, those of late layers first. {promoted_words.READING}"
                found.append(Section(f"What the units of {result.name} promote", text, table=units))
        return found

    def _with_words(self, section: Section, result: Any) -> Section:
        """A section whose table of units has their words, if a model or a table of words was given."""
        table = self._words.beside(section.table, result)
        if table is section.table:
            return section
        return replace(section, table=table, text=f"{section.text}\n\n{promoted_words.READING}".strip())

    def appendix(self) -> list[Section]:
        """The sections that end the page: methods, settings, provenance and software."""
        results = (*self.results, *self.sources)
        found = methods_section.sections(results) if self.methods else []
        return found + (provenance_section.sections(results) if self.provenance else [])

    def to_html(self) -> str:
        """The page as one string of HTML."""
        plotly_js = _plotly_js()
        sections = [*self.sections(), *self.appendix()]
        # without plotly no picture is drawn, and the page says how many were left out
        blocks = [self._block(section, draw=plotly_js is not None) for section in sections]
        # figures and tables are numbered apart, as in a paper
        n_figures = _number(blocks, "picture")
        n_tables = _number(blocks, "table")
        versions = provenance_section.versions(FOOTER)
        return templates.render(
            "page/page.html.jinja",
            {"breakable": _breakable},
            title=self.title,
            intro=_paragraphs(self.intro or ""),
            sections=blocks,
            left_out=sum(section.figure is not None for section in sections) if plotly_js is None else 0,
            # 4.8 MB that a page without pictures does not carry
            plotly_js=Markup(plotly_js) if plotly_js and n_figures else None,
            numbered=n_tables,
            versions=[f"{name} {version}" for name, version in versions.items()],
        )

    def _block(self, section: Section, *, draw: bool) -> dict[str, Any]:
        """One section as the values that the template uses."""
        picture = None
        table = None
        if draw and section.figure is not None:
            # drawn here and not before: only now is it certain that the page is made
            picture = plotly_embed.embed(section.draw(), section.title)
        if section.table is not None:
            # settings are shown whole, for the page promises every one
            most = None if section.title == methods_section.SETTINGS else html_tables.MOST_LINES
            table = html_tables.lay_out(section.table, most)
        return {
            "title": section.title,
            "paragraphs": _paragraphs(section.text),
            "picture": picture,
            "table": table,
            "html": None if section.html is None else Markup(section.html),
            "for_papers": self.methods and section.title == methods_section.TITLE,
        }

    @checked
    def save(self, path: str | os.PathLike) -> None:
        """Write the page to one HTML file.

        Args:
            path: The file to write; a file that is there already is replaced.
        """
        templates.write(Path(path), self.to_html())

    def __repr__(self) -> str:
        return visible(f'Report "{self.title}": {len(self.results)} result{"" if len(self.results) == 1 else "s"}')

    def _repr_html_(self) -> str:
        lines = [
            (number, section.title) for number, section in enumerate([*self.sections(), *self.appendix()], start=1)
        ]
        return html_table(f"{self!r}; .save(path) writes the page", ("section", "title"), lines)


def _number(blocks: Sequence[dict[str, Any]], what: str) -> int:
    """Number the pictures, or the tables, of a page from 1; returns how many there are."""
    found = [block[what] for block in blocks if block[what] is not None]
    for number, one in enumerate(found, start=1):
        one["number"] = number
    return len(found)


def _paragraphs(text: str) -> Sequence[str]:
    """The parts of a text between blank lines."""
    return [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]


def _plotly_js() -> str | None:
    """plotly.js as text, or None where plotly is not installed."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        return None
    return get_plotlyjs()


def _breakable(name: str) -> Markup:
    """A heading that may break behind an underscore, in print."""
    return Markup("_<wbr>").join(escape(part) for part in str(name).split("_"))
