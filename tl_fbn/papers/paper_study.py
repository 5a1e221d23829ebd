"""What came of a paper's protocol: its claims beside what was found, tables, pictures, and the results behind them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pandas as pd

from tl_fbn.errors import InputKeyError, visible
from tl_fbn.papers.claims import Claim, table_of_claims
from tl_fbn.papers.preset import Preset
from tl_fbn.reporting import plot
from tl_fbn.reporting.page.report import Report, Section
from tl_fbn.reporting.plot._theme import Figure
from tl_fbn.signatures import checked
from tl_fbn.units.result import RESULT_CLASSES, Arrays, Described, Result
from tl_fbn.units.space import Provenance


@dataclass(frozen=True)
class PaperTable:
    """One table of a protocol, with the sentences that explain it and the picture that shows it.

    Args:
        title: Heading of the table.
        text: What its numbers are, beside which chance.
        table: The table.
        picture: ``"matrix"`` (the first column names the rows, all others are numbers), ``"curves"`` (columns x, y and
            series, and low and high where there are intervals), or None for none.
    """

    title: str
    text: str
    table: pd.DataFrame
    picture: str | None = None


@dataclass(frozen=True, eq=False)
class PaperStudy(Result, step="protocols", picture="paper_claims"):
    """A paper's protocol, run on one model: what it claims, what was found, and what a control it lacks has.

    :func:`tl_fbn.papers.s0.run`, :func:`tl_fbn.papers.s1.run` and :func:`tl_fbn.papers.s2.run` make one.

    >>> study = fbn.papers.s2.run(model, fbn.demo.topics(), "s2", seed=0, quick=True, progress=False)
    >>> study.claims[["found", "control", "verdict"]].iloc[[2]]  # runs that are given to their task, and chance
       found  control verdict
    2    1.0     0.25   holds
    >>> list(study.tables)
    ['overlap', 'overlaps', 'sizes', 'repeatability', 'confusion', 'identification']

    Args:
        paper: Name of the protocol: ``"s0"``, ``"s1"`` or ``"s2"``.
        source: The paper.
        model: Name of the model.
        claims: One line a claim: claim, paper (its figure), measure, found, low and high (95 % interval), control,
            beside (what the control is), p, n, verdict and reading.
        tables: Name of a table to the table with its title, text and picture.
        results: Name of a result to the result: networks, lesion studies, overlaps and others behind the claims.
        settings: The paper's settings as they were used here: what it states, and what is our choice.
        provenance: Model, seed, whether it was quick, tasks and sizes.
    """

    paper: str
    source: str
    model: str
    claims: pd.DataFrame
    tables: Mapping[str, PaperTable]
    results: Mapping[str, Result]
    settings: Preset
    provenance: Provenance = field(default_factory=dict)

    def to_dataframe(self) -> pd.DataFrame:
        """The claims, one line each."""
        return self.claims

    @property
    def pictures(self) -> dict[str, Figure]:
        """Name of a picture to the picture: the claims, and every table that has one. plotly must be installed."""
        drawn = {"claims": plot.paper_claims(self)}
        return drawn | {name: plot.paper_table(self, name) for name, one in self.tables.items() if one.picture}

    @checked
    def table(self, name: str) -> pd.DataFrame:
        """One of the tables.

        Args:
            name: Its name, one of ``study.tables``.

        Raises:
            InputKeyError: No table of that name.
        """
        if name not in self.tables:
            raise InputKeyError(f"no table {name!r} in this study; tables: {', '.join(self.tables)}")
        return self.tables[name].table

    def verdict(self) -> str:
        """In words: how many of the claims hold on this model, and what each was read off."""
        counts = self.claims["verdict"].value_counts()
        said = ", ".join(f"{counts[one]} {one}" for one in counts.index)
        lines = [f"{self.source}, on {self.model}: of {len(self.claims)} claims {said}."]
        for line in self.claims.to_dict("records"):
            lines.append(f"{line['claim']}: {line['verdict']}. {line['reading']}")
        return "\n".join(lines)

    @checked
    def report(self, path: str | os.PathLike | None = None) -> Report:
        """The page: the claims, the tables and pictures behind them, then the results and the settings.

        Args:
            path: File that the page is written to; None only returns it.
        """
        quick = "A quick run: too few items for a claim. " if self.provenance.get("quick") else ""
        intro = f"{quick}{self.verdict()}".replace("\n", "\n\n")
        parts = [Section(**part) for part in self._own_sections()]
        behind = list(self.results.values())
        page = Report(
            f"{self.source}: the protocol on {self.model}", *parts, *behind, self.settings, intro=intro, sources=behind
        )
        if path is not None:
            page.save(path)
        return page

    def _own_sections(self) -> list[dict[str, Any]]:
        """The claims and the tables, as fields of sections."""
        text = (
            "Dots: what was found here, with its 95 % interval; hollow squares: the control that the paper does not "
            "have. Every measure has a scale of its own."
        )
        shown = self.claims.drop(columns=["reading"]).round(3)
        claims: dict[str, Any] = {"title": "Claims", "text": text, "table": shown}
        parts: list[dict[str, Any]] = [claims | {"figure": partial(plot.paper_claims, self)}]
        for name, one in self.tables.items():
            part: dict[str, Any] = {"title": one.title, "text": one.text, "table": one.table.round(4)}
            parts.append(part | ({"figure": partial(plot.paper_table, self, name)} if one.picture else {}))
        return parts

    def _report_sections_(self) -> list[dict[str, Any]]:
        return self._own_sections()

    def _methods_(self) -> list[str]:
        quick = " in its quick form" if self.provenance.get("quick") else ""
        return [
            f"The protocol of {self.source} was run{quick} on {self.model} (seed {self.provenance.get('seed')}); what "
            "the paper does not state is our choice and listed as such."
        ]

    def _pack_(self) -> tuple[Arrays, Described]:
        plain = {name: getattr(self, name) for name in ("paper", "source", "model")}
        arrays: Arrays = {}
        about: Described = {**plain, "claims": _columns(self.claims), "provenance": dict(self.provenance)}
        about["tables"] = [
            [name, one.title, one.text, one.picture, _columns(one.table)] for name, one in self.tables.items()
        ]
        packed = []
        for name, result in {"settings": self.settings, **self.results}.items():
            inner, described = result._pack_()
            arrays.update({f"{len(packed)}/{part}": array for part, array in inner.items()})
            packed.append([name, type(result).__name__, described])
        return arrays, about | {"results": packed}

    @classmethod
    def _unpack_(cls, arrays: Arrays, about: Described) -> PaperStudy:
        tables = {
            name: PaperTable(title, text, pd.DataFrame(dict(columns)), picture)
            for name, title, text, picture, columns in about["tables"]
        }
        results: dict[str, Any] = {}
        for number, (name, noun, described) in enumerate(about["results"]):
            start = f"{number}/"
            inner = {part.removeprefix(start): array for part, array in arrays.items() if part.startswith(start)}
            results[name] = _class_of(noun)._unpack_(inner, described)
        settings = results.pop("settings")
        return cls(
            about["paper"],
            about["source"],
            about["model"],
            pd.DataFrame(dict(about["claims"])),
            tables,
            results,
            settings,
            about["provenance"],
        )

    def __repr__(self) -> str:
        counts = self.claims["verdict"].value_counts()
        said = ", ".join(f"{counts[one]} {one}" for one in counts.index)
        return f"PaperStudy {self.paper} on {self.model}: {len(self.claims)} claims ({said})"

    def __str__(self) -> str:
        shown = self.claims[["claim", "found", "control", "p", "verdict"]].round(3)
        return visible(f"{self!r}\n{shown.to_string(index=False)}\n{self.verdict()}")


def study_of(
    settings: Preset,
    claims: Sequence[Claim],
    tables: Mapping[str, PaperTable],
    results: Mapping[str, Result],
    provenance: Mapping[str, Any],
) -> PaperStudy:
    """A study from the parts of its protocol.

    Args:
        settings: The paper's settings as they were used.
        claims: The claims, in the order in which they are told.
        tables: Name of a table to the table.
        results: Name of a result to the result.
        provenance: Model, seed, whether it was quick, tasks and sizes; ``model`` is needed.
    """
    paper = settings.name.partition("_")[0]
    model = str(provenance["model"])
    return PaperStudy(
        paper, settings.source, model, table_of_claims(claims), tables, results, settings, dict(provenance)
    )


def _columns(table: pd.DataFrame) -> list[tuple[Any, list[Any]]]:
    """A table as pairs of column and cells, which JSON can hold in their order."""
    return list(table.to_dict("list").items())


def _class_of(noun: str) -> type[Result]:
    """The class of a result by its name; importing the protocols registers all that they keep."""
    if noun not in RESULT_CLASSES:
        from tl_fbn.papers import s0, s1, s2  # noqa: F401  (what a protocol keeps is imported by it)
    return RESULT_CLASSES[noun]
