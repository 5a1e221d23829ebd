"""The sums over rows that a GLM needs: taken in one pass, mergeable, enough for OLS and for exact AR(1) at any rho.

For a segment of rows whose noise is AR(1), ``cov(e_s, e_t) = rho ** |s - t|``, the inverse covariance is tridiagonal,
up to a factor ``1 / (1 - rho**2)`` that cancels, and quadratic in rho:

    V(rho)^-1  ~  I - rho * N + rho**2 * J

N links every row to its neighbours in the segment; J is the identity without the first and the last row of each (a
segment of one row counts as both, so J is -1 there and the row has weight 1 - rho**2). So

    X' V^-1 X = A - rho B + rho**2 C      with  A = X'X, B = X'NX, C = X'JX,

and the same for X'Y and, unit by unit, for y'y. These sums over rows are all that is kept; whitening a unit at its own
rho then needs no second look at the data. N and J are applied to the narrow X instead of the wide Y, so that all
three products with Y are one matrix product of X, NX and JX side by side.

Precision: X is replaced by an orthonormal basis Q of its columns. Y may have a mean far larger than its spread, whose
square would swamp y'y, so a shift near the mean is taken off every unit first (only where the design spans the
constant, so that the shift changes nothing but the level of the conditions, to which it is added again). Sums are
float64.

Cost per run of T rows, p columns and N units: 6 T p N flops for the products, 4 T N for the sums of squares; memory one
block of units.

Reference: the quadratic form is the textbook inverse of the AR(1) covariance (Prais and Winsten 1954 keep the first
row, scaled by sqrt(1 - rho**2), as here).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float

from tl_fbn.errors import InputError

SHIFT_ROWS = 256  # rows at the start of a run whose mean is the shift of a unit
_MAX_NUMBERS_SOLVED_AT_ONCE = 1 << 20  # entries of the systems of several units that are in memory together: 8 MB
# A, B and C of A - rho B + rho**2 C
Quadratic = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Basis:
    """A design in orthonormal coordinates, with the operators that whitening needs.

    Args:
        q: (row, rank) orthonormal columns spanning the design.
        to_coordinates: (rank, regressor): q @ to_coordinates is the design.
        to_columns: (regressor, rank): maps fitted coordinates to coefficients (minimum norm where rank-deficient).
        starts: (row,) True at the first row of each segment.
    """

    q: Float[np.ndarray, "row rank"]
    to_coordinates: Float[np.ndarray, "rank regressor"]
    to_columns: Float[np.ndarray, "regressor rank"]
    starts: Bool[np.ndarray, " row"]

    @classmethod
    def of(cls, design: Float[np.ndarray, "row regressor"], starts: Bool[np.ndarray, " row"]) -> Basis:
        """Orthonormalise a design; columns are scaled first, so that units of measurement do not decide the rank."""
        scale = np.linalg.norm(design, axis=0)
        scale = np.where(scale > 0, scale, 1.0)
        left, singular, right = np.linalg.svd(design / scale, full_matrices=False)
        # numpy's rule for the rank: smaller singular values are rounding
        rank = int((singular > singular[0] * max(design.shape) * np.finfo(float).eps).sum())
        left = left[:, :rank]
        singular = singular[:rank]
        right = right[:rank]
        # X = Q (S V' D), with D the scale of the columns; the way back is the pseudo-inverse D^-1 V S^-1
        return cls(left, singular[:, None] * right * scale, (right.T / singular) / scale[:, None], starts)

    def part(self, rows: slice) -> Basis:
        """The same coordinates for some of the rows, which must be whole segments; for sums that are merged later."""
        first, stop, _ = rows.indices(self.n_rows)
        if not self.starts[first] or (stop < self.n_rows and not self.starts[stop]):
            raise InputError(f"rows {first} to {stop} cut a segment in two; cut where a context starts")
        return Basis(self.q[first:stop], self.to_coordinates, self.to_columns, self.starts[first:stop])

    @property
    def rank(self) -> int:
        """Number of independent columns of the design."""
        return self.q.shape[1]

    @property
    def n_rows(self) -> int:
        """Number of rows of the design."""
        return self.q.shape[0]

    @property
    def spans_constant(self) -> bool:
        """Whether some combination of the design's columns is 1 in every row."""
        # what the projection onto Q leaves of a column of ones
        ones = np.ones(self.n_rows)
        return bool(np.linalg.norm(ones - self.q @ (self.q.T @ ones)) < 1e-8 * np.sqrt(self.n_rows))

    def neighbours(self, array: Float[np.ndarray, "row some"]) -> Float[np.ndarray, "row some"]:
        """N applied: the sum of the rows before and after, within the segment."""
        linked = ~self.starts[1:, None]  # row t + 1 is a neighbour of row t unless it starts a segment
        out = np.zeros_like(array)
        out[1:] += array[:-1] * linked
        out[:-1] += array[1:] * linked
        return out

    @cached_property
    def interior(self) -> Float[np.ndarray, " row"]:
        """The diagonal of J: 1, less 1 for a first row and 1 for a last."""
        lasts = np.append(self.starts[1:], True)
        return 1.0 - self.starts - lasts

    @cached_property
    def stacked(self) -> Float[np.ndarray, "row three_ranks"]:
        """Q, NQ and JQ side by side: one product with the activations gives A, B and C of X'Y."""
        return np.concatenate([self.q, self.neighbours(self.q), self.q * self.interior[:, None]], axis=1)

    def quadratic(self) -> Quadratic:
        """A, B, C of the design itself, each (rank, rank)."""
        return np.eye(self.rank), self.q.T @ self.neighbours(self.q), self.q.T @ (self.q * self.interior[:, None])


@dataclass(frozen=True, eq=False)
class Moments:
    """The sums of one run for a block of units.

    Args:
        cross: A = Q'Y, B = Q'NY and C = Q'JY: three (rank, unit) arrays.
        squares: A = y'y, B = y'Ny and C = y'Jy of every unit: three (unit,) arrays.
        shift: (unit,) number that was taken off every activation of the unit before the sums.
    """

    cross: Quadratic
    squares: Quadratic
    shift: Float[np.ndarray, " unit"]

    @classmethod
    def of(cls, basis: Basis, activations: Float[np.ndarray, "row unit"]) -> Moments:
        """One pass over a block of units."""
        return cls.with_shift(basis, activations, first_shift(basis, activations))

    @classmethod
    def with_shift(
        cls, basis: Basis, activations: Float[np.ndarray, "row unit"], shift: Float[np.ndarray, " unit"]
    ) -> Moments:
        """One pass over a block of units with a given shift: parts can be merged only if they have the same."""
        sums = Summing(basis, shift)
        sums.add(0, np.subtract(activations, shift, dtype=np.float64))
        return sums.moments()

    def units(self, part: slice) -> Moments:
        """The sums of some of the units."""
        a, b, c = (cross[:, part] for cross in self.cross)
        total, lagged, inner = (squares[part] for squares in self.squares)
        return Moments((a, b, c), (total, lagged, inner), self.shift[part])

    def merge(self, other: Moments) -> Moments:
        """The sums of both parts; they must have been taken with one shift and against rows of one basis."""
        if not np.array_equal(self.shift, other.shift):
            raise InputError(
                "these sums were taken with different shifts; give both parts the same with Moments.with_shift"
            )
        cross = tuple(mine + theirs for mine, theirs in zip(self.cross, other.cross, strict=True))
        squares = tuple(mine + theirs for mine, theirs in zip(self.squares, other.squares, strict=True))
        return Moments((cross[0], cross[1], cross[2]), (squares[0], squares[1], squares[2]), self.shift)


class Summing:
    """The sums of a block of units, while its rows pass by in pieces, in order.

    Args:
        basis: The design of the whole run, in orthonormal coordinates.
        shift: (unit,) number that the caller has taken off every activation of the unit already.
        lagged: Whether B and C are summed too, which only a rho other than 0 needs and which are three
            quarters of the work.
    """

    def __init__(self, basis: Basis, shift: Float[np.ndarray, " unit"], *, lagged: bool = True) -> None:
        self.shift = shift
        self._basis = basis
        self._lagged = lagged
        self._functionals = basis.stacked if lagged else basis.q
        self._cross = np.zeros((self._functionals.shape[1], len(shift)))
        self._total = np.zeros(len(shift))  # y'y
        self._neighbours = np.zeros(len(shift))  # y_t y_(t-1) over neighbours: half of y'Ny
        self._edge = np.zeros(len(shift))  # y'Jy - y'y: what the first and last rows of segments take off
        self._last_row = np.zeros(len(shift))  # last row of the piece before, neighbour of the next piece's first

    def add(self, start: int, y: Float[np.ndarray, "row unit"]) -> None:
        """Rows ``start`` onwards, with the shift off."""
        rows = slice(start, start + len(y))
        self._cross += self._functionals[rows].T @ y  # Q'y (and NQ'y, JQ'y) of the rows seen so far
        self._total += np.einsum("tn,tn->n", y, y)
        if not self._lagged:
            return
        first = self._basis.starts[rows]
        # products of all neighbours in the piece, less those across the start of a segment (few, so one by one) ...
        self._neighbours += np.einsum("tn,tn->n", y[1:], y[:-1])
        for row in np.flatnonzero(first[1:]) + 1:
            self._neighbours -= y[row] * y[row - 1]
        # ... and that of the first row with the last of the piece before
        if not first[0]:
            self._neighbours += self._last_row * y[0]
        self._last_row = y[-1].copy()  # a copy, for the caller fills its buffer with the next piece
        # J differs from the identity at the ends of segments only, by -1 (by -2 for a segment of one row)
        interior = self._basis.interior[rows]
        ends = interior != 1.0
        self._edge += (interior[ends] - 1.0) @ np.square(y[ends])

    def moments(self) -> Moments:
        """The sums of all rows added so far."""
        if not self._lagged:  # B and C are never looked at where rho is 0: A stands in for them
            cross = self._cross
            total = self._total
            return Moments((cross, cross, cross), (total, total, total), self.shift)
        a, b, c = np.split(self._cross, 3)
        return Moments((a, b, c), (self._total, 2.0 * self._neighbours, self._total + self._edge), self.shift)


def first_shift(basis: Basis, activations: Float[np.ndarray, "row unit"]) -> Float[np.ndarray, " unit"]:
    """A per-unit shift near the mean, from the first rows; zero where the design could not absorb it."""
    if not basis.spans_constant:
        return np.zeros(activations.shape[1])
    return activations[:SHIFT_ROWS].mean(0, dtype=np.float64)


def at(quadratic: Quadratic, rho: Float[np.ndarray, " unit"]) -> np.ndarray:
    """A - rho B + rho**2 C for sums whose last axis is the unit."""
    a, b, c = quadratic
    return a - rho * b + rho**2 * c


def information(quadratic: Quadratic, rho: Float[np.ndarray, " unit"]) -> Float[np.ndarray, "unit rank rank"]:
    """X' V(rho)^-1 X for every unit, from A, B, C of the design."""
    a, b, c = quadratic
    rho = rho[:, None, None]
    return a - rho * b + rho**2 * c


def solved(
    quadratic: Quadratic, rho: Float[np.ndarray, " unit"], right: Float[np.ndarray, "unit rank some"]
) -> Float[np.ndarray, "unit rank some"]:
    """(X' V(rho)^-1 X)^-1 of every unit times its columns; some units at a time, so that memory stays bounded."""
    out = np.empty(right.shape)
    step = max(1, _MAX_NUMBERS_SOLVED_AT_ONCE // quadratic[0].size)
    for start in range(0, len(rho), step):
        part = slice(start, start + step)
        out[part] = np.linalg.solve(information(quadratic, rho[part]), right[part])
    return out
