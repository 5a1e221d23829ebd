"""Rows and units that hold most of the variance of a recording, counted from its activations.

With activations ``y`` of row t and unit u, and ``m`` the mean of a unit over the rows of its run::

    d_tu = y_tu - m_u        V = sum_tu d_tu^2
    share of unit u = sum_t d_tu^2 / V        share of row t = sum_u d_tu^2 / V

Shares of units add up to 1, and so do shares of rows. In an even recording of n units each has about 1 / n, and
thousands are needed to hold half of the variance. In many language models one unit of the first token of a text does
that alone (*massive activations*; Sun et al. 2024). Then a decomposition shows that token first, correlations are about
it, and silencing the unit breaks whatever is asked of the model. What silencing costs needs the model, and is
measured by :func:`tl_fbn.studies.zeroing_costs`, which ``recording.massive(model=...)`` calls.

Cost: each layer of each run is read once or twice, a piece at a time. Memory: one piece of a layer (64 MB), two numbers
a unit and one a row. What a scan noted of the same sums is read without any activation in :mod:`.massive_units`. It
does not say what a massive unit is for. No torch, no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from tl_fbn.acquisition.recording import massive_units as stated
from tl_fbn.acquisition.recording.half_precision import HalfArray
from tl_fbn.acquisition.recording.massive_units import MassiveUnit
from tl_fbn.acquisition.recording.memory_maps import hand_back
from tl_fbn.acquisition.recording.run import Run
from tl_fbn.acquisition.recording.run_sums import StreamRun
from tl_fbn.arguments import share as checked_share
from tl_fbn.arguments import whole_number
from tl_fbn.errors import InputError
from tl_fbn.units import Network, UnitSpace, html_table
from tl_fbn.units.prose import NOT_RECORDED
from tl_fbn.units.result import Result
from tl_fbn.units.space import Provenance

_PIECE_BYTES = 64 << 20  # of float64
COST_COLUMNS = ("cost", "layer_cost")  # of the table of units, once a model was asked
_ROW_COLUMNS = ("prompt", "position", "token", "trial_type", "flags")  # of a row table, as far as it has them


@dataclass(frozen=True, eq=False)
class Massive(Result, step="recording", picture="massive"):
    """Rows and units that hold most of the variance of a recording; :meth:`tl_fbn.Recording.massive` finds them.

    >>> found = recording.massive(share=0.25)
    >>> found.n_units, found.n_rows  # so many hold a quarter of the variance
    (7, 119)
    >>> len(found.network)  # none is massive: with 5 % alone, and 100 times the average
    0

    Args:
        space: The units of the recording.
        unit_shares: (unit,) share of the variance that each unit holds, 0 to 1.
        row_shares: (row,) share of the variance that each row holds, 0 to 1, rows of all runs in order.
        share: Share of the variance that the units, and the rows, that are counted hold together.
        units: The units that hold most, the largest first: layer, unit, share, times (how many times as much as units
            hold on average), peak (its activation farthest from its mean), and of the row of that activation run, row
            and, where it is known, token. With a model also cost (nats a token that the model loses on texts when this
            unit alone is zero) and layer_cost (when all units of this table in its layer are).
        rows: The rows that hold most, the largest first: run, row, share, times, and what the row table says of prompt,
            position, token, trial_type and flags.
        first: Share of the variance in first tokens of prompts, and share of the rows that they are; None where the
            recording does not say which rows those are.
        together: Nats a token that the model loses when all units of the table are zero; None without a model.
        baseline: Nats a token of the model on the same texts, untouched; None without a model.
        provenance: Where the numbers came from: the recording and, with a model, the number of texts and of tokens.
    """

    space: UnitSpace
    unit_shares: Float[np.ndarray, " unit"]
    row_shares: Float[np.ndarray, " row"]
    share: float
    units: pd.DataFrame
    rows: pd.DataFrame
    first: tuple[float, float] | None = None
    together: float | None = None
    baseline: float | None = None
    provenance: Provenance = field(default_factory=dict)

    _settings_ = ("share",)

    @property
    def n_units(self) -> int:
        """Number of the fewest units that together hold the share of the variance."""
        return fewest(self.unit_shares, self.share)

    @property
    def n_rows(self) -> int:
        """Number of the fewest rows that together hold the share of the variance."""
        return fewest(self.row_shares, self.share)

    @property
    def network(self) -> Network:
        """The massive units: at least 5 % of the variance alone, and 100 times as much as units do on average."""
        members = np.asarray(stated.is_massive(self.unit_shares, self.space.n_units))
        about = {name: value for name, value in self.provenance.items() if name != "texts"}
        return Network(self.space, members, name="massive", provenance={**about, "method": "share of variance"})

    def to_dataframe(self) -> pd.DataFrame:
        """The table of units; :attr:`rows` is that of rows."""
        return self.units

    def _methods_(self) -> list[str]:
        lost = (
            ""
            if self.together is None
            else (
                f" Zeroing each of {len(self.units)} units alone was measured as nats a token lost on "
                f"{self.provenance.get('texts', NOT_RECORDED)} texts."
            )
        )
        return [
            f"Variance was summed as squared distances from each unit's mean within runs; {self.n_units:,} of "
            f"{self.space.n_units:,} units, and {self.n_rows:,} of {len(self.row_shares):,} rows, hold "
            f"{stated.percent(self.share)} of it.{lost}"
        ]

    def _report_sections_(self) -> list[dict[str, Any]]:
        lines = [f"{self!r}."]
        if self.together is not None:
            lines.append(
                f"cost is what the model loses, in nats a token, when one unit is zero; layer_cost, when all listed "
                f"units of its layer are; all {len(self.units)} together cost {self.together:.2f}."
            )
        text = "\n\n".join(lines)
        rows = {"title": "Rows of largest variance", "text": "The rows that hold most.", "table": self.rows}
        return [{"title": "Massive activations", "text": text, "picture": "massive", "table": self.units}, rows]

    def __repr__(self) -> str:
        first = (
            ""
            if self.first is None
            else (f"; {stated.percent(self.first[0])} lies in first tokens ({stated.percent(self.first[1])} of rows)")
        )
        return (
            f"Massive: {self.n_units:,} of {self.space.n_units:,} units and {self.n_rows:,} of "
            f"{len(self.row_shares):,} rows hold {stated.percent(self.share)} of the variance of "
            f"{self.space.describe()}; {self._largest_in_words()}{first}"
        )

    def _largest_in_words(self) -> str:
        """The unit that holds most, and what its zeroing costs where that is known."""
        layer, unit = self.space.locate(int(self.unit_shares.argmax()))
        cost = ""
        if "cost" in self.units and len(self.units):
            cost = f" and costs {self.units['cost'].iloc[0]:.2f} nats a token when it is zero"
        return f"unit {unit} of layer {layer} holds {stated.percent(float(self.unit_shares.max()))}{cost}"

    def _repr_html_(self) -> str:
        tables = []
        for caption, table in ((repr(self), self.units), ("Rows that hold most", self.rows)):
            cells = [[f"{x:.3g}" if isinstance(x, float) else x for x in line] for line in table.head(10).values]
            tables.append(html_table(caption, tuple(table.columns), cells))
        return "".join(tables)


def measured_massive(
    runs: Sequence[Run],
    provenance: Mapping[str, Any],
    share: float,
    top: int,
    *,
    model: Any,
    texts: Sequence[Any] | None,
    progress: bool,
) -> Massive:
    """Count which units and rows hold most of the variance of some runs, and on request what zeroing units costs.

    Args:
        runs: The runs, of one site.
        provenance: Where the runs came from.
        share: Share of the variance that is asked for, between 0 and 1.
        top: Largest number of lines of the tables.
        model: The model that was recorded; None measures no costs.
        texts: What it reads while units are zero; None takes prompts of the runs.
        progress: Whether to show a bar while the model runs.

    Raises:
        InputError: As :func:`massive_of` says, or texts without a model.
    """
    if model is None and texts is not None:
        raise InputError("texts= is what a model reads while units are zero; give model= with it")
    found = massive_of(runs, share, top, provenance)
    if model is None:
        return found
    import tl_fbn  # interventions are a room above this one: asked for by name, once there is a model

    given = shown_prompts(runs) if texts is None else texts
    return tl_fbn.studies.zeroing_costs(model, found, given, progress=progress)


def massive_of(runs: Sequence[Run], share: float, top: int, provenance: Mapping[str, Any]) -> Massive:
    """Count which units and rows hold most of the variance of some runs.

    Args:
        runs: The runs, of one site.
        share: Share of the variance that is asked for, between 0 and 1.
        top: Largest number of lines of the tables.
        provenance: Where the runs came from.

    Raises:
        InputError: The share or the number of lines is out of range, or no unit varies within a run.
    """
    checked_share(share, "share")
    whole_number(top, "top", least=1)
    space = runs[0].space
    of_units, of_runs = squares_of(runs)
    total = float(of_units.sum())
    if not total > 0:
        raise InputError(f"no unit of {space.describe()} varies within a run; there is no variance that units hold")
    unit_shares = of_units / total
    row_shares = np.concatenate(of_runs) / total
    units = _largest(unit_shares, fewest(unit_shares, share), top)
    rows = _largest(row_shares, fewest(row_shares, share), top)
    return Massive(
        space,
        unit_shares,
        row_shares,
        share,
        _unit_table(runs, units, unit_shares),
        _row_table(runs, rows, row_shares),
        _first_shares(runs, row_shares),
        provenance=dict(provenance),
    )


def massive_units_of(runs: Sequence[Run]) -> list[MassiveUnit]:
    """The massive units of some runs: as their descriptions say, or counted from the activations if they do not.

    Args:
        runs: The runs, of one site.
    """
    space = runs[0].space
    known = stated.stated_units([run.about for run in runs], space)
    if known is not None:
        return known
    if space.n_units < stated.MASSIVE_TIMES:  # no unit can hold 100 times the average
        return []
    squares, _ = squares_of(runs)
    shares = squares / (squares.sum() or 1.0)
    found = np.flatnonzero(stated.is_massive(shares, space.n_units))
    return [MassiveUnit(*space.locate(int(unit)), float(shares[unit])) for unit in found]


def squares_of(runs: Sequence[Run]) -> tuple[Float[np.ndarray, " unit"], list[Float[np.ndarray, " row"]]]:
    """Squared distances from each unit's mean over the rows of its run, summed for every unit and for every row.

    Args:
        runs: The runs, of one site.

    Returns:
        (unit,) sums over the rows of all runs, and for every run (row,) sums over units.
    """
    of_units = np.zeros(runs[0].space.n_units)
    of_runs = []
    for run in runs:
        of_rows = np.zeros(run.n_rows)
        for layer, array in run.layers.items():
            step = max(1, _PIECE_BYTES // (8 * max(array.shape[1], 1)))
            slices = [slice(first, first + step) for first in range(0, run.n_rows, step)]
            # one piece is read once, several are read again when the mean is known
            pieces = [np.asarray(array[rows], dtype=np.float64) for rows in slices] if len(slices) == 1 else None
            totals = (np.asarray(array[rows]).sum(0, dtype=np.float64) for rows in slices)
            mean = (pieces[0].sum(0) if pieces else np.sum(list(totals), axis=0)) / max(run.n_rows, 1)
            for rows in slices:
                distances = (pieces[0] if pieces else np.asarray(array[rows], dtype=np.float64)) - mean
                np.square(distances, out=distances)
                of_units[run.space.layer_slice(layer)] += distances.sum(0)
                of_rows[rows] += distances.sum(1)
            hand_back(array.words if isinstance(array, HalfArray) else array)
        of_runs.append(of_rows)
    return of_units, of_runs


def fewest(shares: Float[np.ndarray, " _"], share: float) -> int:
    """Number of the fewest entries that together reach a share of all.

    >>> fewest(np.array([0.1, 0.6, 0.3]), 0.5), fewest(np.array([0.1, 0.6, 0.3]), 0.7)
    (1, 2)

    Args:
        shares: Shares that add up to 1.
        share: The share to reach.
    """
    # rounding: a sum of many shares may stay a little below what it should reach
    reached = np.cumsum(np.sort(shares)[::-1]) >= share * (1 - 1e-12)
    return int(np.argmax(reached)) + 1 if reached.any() else len(shares)


def first_tokens(run: Run | StreamRun) -> Bool[np.ndarray, " row"] | None:
    """(row,) True at the first token of every prompt; None where the rows are not known to begin with any.

    Args:
        run: A run of a recording or of a stream; its row table says what rows are.
    """
    table = run.rows
    if "n_tokens" in table:  # a row is a prompt
        return None
    if "position" in table:
        found = np.asarray(table["position"] == 0, dtype=bool)
    elif "prompt" in table:
        found = run.segment_starts
    else:
        return None
    return found if found.any() else None  # tokens that a model wrote have no first one


def shown_prompts(runs: Sequence[Run], most: int = 32) -> list[list[int]]:
    """Token ids of prompts that the runs showed from their first token on, evenly spread over all that there are.

    Args:
        runs: The runs, whose row tables say prompts, positions and token ids.
        most: Largest number of prompts.

    Raises:
        InputError: The row tables do not tell which tokens were read.
    """
    found: list[list[int]] = []
    for run in runs:
        table = run.rows
        if {"prompt", "position", "token_id"} <= set(table):
            for _, lines in table.groupby("prompt", sort=False):
                ids = lines["token_id"].tolist()
                if lines["position"].iloc[0] == 0 and len(ids) > 1 and min(ids) >= 0:
                    found.append([int(one) for one in ids])
    if not found:
        raise InputError(
            "the recording does not tell the tokens of its prompts (its rows are pooled, written by the model, or of "
            "arrays from elsewhere); give texts=, strings or lists of token ids"
        )
    chosen = np.unique(np.linspace(0, len(found) - 1, min(most, len(found))).astype(int))
    return [found[number] for number in chosen.tolist()]


def _first_shares(runs: Sequence[Run], row_shares: Float[np.ndarray, " row"]) -> tuple[float, float] | None:
    """Share of the variance in first tokens, and share of the rows that they are; None where a run does not say."""
    masks = [first_tokens(run) for run in runs]
    known = [mask for mask in masks if mask is not None]
    if len(known) < len(masks):
        return None
    mask = np.concatenate(known)
    return float(row_shares[mask].sum()), float(mask.mean())


def _largest(shares: Float[np.ndarray, " _"], n: int, top: int) -> Int[np.ndarray, " some"]:
    """Numbers of the ``n`` largest shares, at most ``top`` of them, the largest first; ties go to the first."""
    return np.argsort(-shares, kind="stable")[: min(n, top)]


def _unit_table(runs: Sequence[Run], units: np.ndarray, shares: np.ndarray) -> pd.DataFrame:
    """The table of units, with the activation of each that is farthest from its mean."""
    space = runs[0].space
    order = np.sort(units)  # in which a run reads them
    peaks: dict[int, tuple[float, float, int, int]] = {}  # unit -> (distance, activation, run, row)
    for number, run in enumerate(runs):
        values = run.read(units=order)
        distances = np.abs(values - values.mean(0, dtype=np.float64))
        for unit, row, column in zip(order.tolist(), distances.argmax(0).tolist(), range(len(order)), strict=True):
            peak = (float(distances[row, column]), float(values[row, column]), number, row)
            peaks[unit] = max(peaks.get(unit, peak), peak, key=lambda one: one[0])
    has_tokens = all("token" in run.rows for run in runs)
    lines = []
    for unit in units.tolist():
        layer, within = space.locate(unit)
        _, value, number, row = peaks[unit]
        line = {"layer": layer, "unit": within, "share": float(shares[unit])}
        line |= {"times": float(shares[unit] * len(shares)), "peak": value, "run": number, "row": row}
        if has_tokens:
            line["token"] = str(runs[number].rows["token"].iloc[row])
        lines.append(line)
    return pd.DataFrame(lines)


def _row_table(runs: Sequence[Run], rows: np.ndarray, shares: np.ndarray) -> pd.DataFrame:
    """The table of rows, with what the row tables of all runs say of them."""
    starts = np.cumsum([0, *(run.n_rows for run in runs)])
    tables = [run.rows for run in runs]
    known = [name for name in _ROW_COLUMNS if all(name in table for table in tables)]
    lines = []
    for flat in rows.tolist():
        number = int(np.searchsorted(starts, flat, side="right")) - 1
        row = flat - int(starts[number])
        line = {"run": number, "row": row, "share": float(shares[flat]), "times": float(shares[flat] * len(shares))}
        lines.append({**line, **{name: tables[number][name].iloc[row] for name in known}})
    return pd.DataFrame(lines)
