"""Regression of loss on which units were silenced, over random lesions.

Every random lesion silenced some units (x: 1 where a unit was silenced) and cost a task some drop y. As patients differ
in where their lesion is, so do random networks, and voxel-based lesion-symptom mapping (Bates et al. 2003) asks of each
unit whether lesions that hold it cost more than lesions that do not. Lesions of several source networks are pooled, and
the source network is a covariate: x and y lose their means over the lesions of each source network, since networks
differ in size and layers. Then::

    effect = sum x y / sum x^2                   mean drop with the unit silenced less the mean drop without it
    r      = sum x y / sqrt(sum x^2 sum y^2)
    t      = r sqrt(dof / (1 - r^2))             dof = lesions - source networks - 1

*Corrected p.* The lesions of a source network are independent draws, so that under no effect their drops may be
exchanged among them. The largest t over all units in each such permutation bounds the family-wise error (max-T;
Westfall and Young 1993). It stays exact where controls stopped (:mod:`.stopping`): given all drops in their order, the
units that were drawn are independent of them. Tests are one-sided, for loss.

*Held-out prediction.* Ridge regression on all units at once (Pustina et al. 2018 compare such methods) is fitted to
four fifths of the lesions of each source network and predicts the others; R2 compares it with the mean of the source
network's training lesions, so that 0 is no better than that mean. Ridge depends on the lesions only through their inner
products, of which it takes (lesion, lesion) instead of (lesion, unit) numbers; the penalty is chosen by leave-one-out
error among the training lesions (sklearn's ``RidgeCV``). Each source network has an intercept of its own, which leaving
one out estimates anew: of drops that were centred before, the others would tell the one that is left out. The same
permutations give R2 its null.

Cost: a sparse product of ``permutations * tasks * silenced units``, its maximum over units, and for R2 a fit of
``lesions^2 * permutations * tasks`` for each penalty and fold.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse
from sklearn.linear_model import RidgeCV
from tqdm.auto import tqdm

BAR_AFTER = 3.0  # seconds until a progress bar appears
N_FOLDS = 5
PENALTIES = np.logspace(-2, 4, 13)  # times the mean squared length of a lesion
_FREE = 1e8  # the same of the column of a source network, which so is hardly penalised
_CHUNK = 2**24  # numbers of a product that are held at once
_NEAR_ONE = 1 - 1e-12  # the largest correlation, so that t stays finite
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class RandomLesions:
    """Random lesions, what they silenced and what they cost.

    Args:
        members: (lesion, unit) sparse: 1 where a lesion silenced a unit.
        groups: (lesion,) number of the source network, 0 to their number - 1, each with two lesions or more.
        drops: (lesion, task) what each lesion cost each task.
    """

    members: sparse.csr_array
    groups: Int[np.ndarray, " lesion"]
    drops: Float[np.ndarray, "lesion task"]

    @property
    def dof(self) -> int:
        """Degrees of freedom of t."""
        return len(self.groups) - len(np.unique(self.groups)) - 1

    @classmethod
    def of(
        cls, units: Int[np.ndarray, "network control member"], drops: Float[np.ndarray, "network control task"], n: int
    ) -> RandomLesions:
        """From the controls of a study; those that were not lesioned (NaN) and single ones are left out.

        Args:
            units: Units that each control silenced, -1 where it has fewer.
            drops: What each control cost each task.
            n: Number of units of the model.
        """
        lesioned = ~np.isnan(drops).any(2)
        lesioned &= (lesioned.sum(1) > 1)[:, None]  # a single one says nothing beside its own mean
        groups, controls = np.nonzero(lesioned)
        members = units[groups, controls]
        rows, places = np.nonzero(members >= 0)
        ones = np.ones(len(rows))
        found = sparse.csr_array((ones, (rows, members[rows, places])), shape=(len(groups), n))
        return cls(found, np.unique(groups, return_inverse=True)[1], drops[groups, controls])

    def inclusions(self) -> Int[np.ndarray, " unit"]:
        """(unit,) number of lesions that silenced each unit."""
        return np.asarray(self.members.sum(0)).astype(np.int64)

    def permutations(self, n: int, rng: np.random.Generator) -> Int[np.ndarray, "permutation lesion"]:
        """Orders of the lesions, each shuffled within its source network.

        Args:
            n: Number of orders.
            rng: Makes the draws.
        """
        orders = np.tile(np.arange(len(self.groups)), (n, 1))
        for group in np.unique(self.groups):
            places = np.flatnonzero(self.groups == group)
            orders[:, places] = rng.permuted(orders[:, places], axis=1)
        return orders


@dataclass(frozen=True, eq=False)
class UnitTests:
    """What each unit's presence goes with.

    Args:
        effects: (task, unit) mean drop with the unit silenced less the mean without it; NaN where it is not tested.
        t: (task, unit) t of that difference.
        largest: (task, permutation) largest t over all tested units in each permutation.
    """

    effects: Float[np.ndarray, "task unit"]
    t: Float[np.ndarray, "task unit"]
    largest: Float[np.ndarray, "task permutation"]


def unit_tests(
    lesions: RandomLesions,
    orders: Int[np.ndarray, "permutation lesion"],
    *,
    min_lesions: int,
    progress: bool = False,
) -> UnitTests:
    """t of every unit and task, and the largest t of every permutation.

    Args:
        lesions: The random lesions.
        orders: Orders of the lesions that permute drops within source networks.
        min_lesions: Number of lesions that must have silenced a unit, and of others of the same source networks that
            must have spared it, for it to be tested.
        progress: Whether to show a progress bar, which appears after some seconds.
    """
    tested, squares = _tested(lesions, min_lesions)
    drops = _centred(lesions.drops, lesions.groups)
    lengths = np.sqrt(np.square(drops).sum(0))  # (task,)
    with np.errstate(invalid="ignore", divide="ignore"):
        # a task that no lesion changes has drops of rounding only
        lengths = np.where(lengths > _ROUNDING * np.sqrt(len(drops)) * np.abs(lesions.drops).max(0), lengths, np.nan)
    columns = lesions.members[:, tested].T.tocsr()  # (unit, lesion)
    n_tasks = drops.shape[1]
    effects = np.full((n_tasks, len(tested)), np.nan)
    t = effects.copy()
    if not tested.any():
        return UnitTests(effects, t, np.full((n_tasks, len(orders)), np.nan))
    # centred drops add up to 0 in every source network, so that x need not be centred in the product
    products = (columns @ drops).T  # (task, unit)
    effects[:, tested] = products / squares
    t[:, tested] = _t(products / np.sqrt(squares) / lengths[:, None], lesions.dof)
    at_once = max(1, _CHUNK // (columns.shape[0] * n_tasks))
    largest = np.empty((len(orders), n_tasks))
    with tqdm(total=len(orders), desc="permutations", delay=BAR_AFTER, disable=not progress) as bar:
        for first in range(0, len(orders), at_once):
            part = orders[first : first + at_once]
            permuted = drops[part].transpose(1, 0, 2).reshape(len(drops), -1)  # (lesion, permutation x task)
            scaled = (columns @ permuted) / np.sqrt(squares)[:, None]
            largest[first : first + len(part)] = scaled.max(0).reshape(len(part), n_tasks)
            bar.update(len(part))
    return UnitTests(effects, t, _t(largest / lengths, lesions.dof).T)


def corrected_p(
    t: Float[np.ndarray, " unit"], largest: Float[np.ndarray, " permutation"]
) -> Float[np.ndarray, " unit"]:
    """p corrected over units: the share of permutations, the data themselves among them, whose largest t reaches t.

    Args:
        t: t of each unit; NaN where it was not tested.
        largest: Largest t over all units of each permutation.
    """
    below = np.searchsorted(np.sort(largest), t - _ROUNDING * np.abs(t), "left")
    return np.where(np.isnan(t), np.nan, (1.0 + len(largest) - below) / (1.0 + len(largest)))


def held_out(
    lesions: RandomLesions, orders: Int[np.ndarray, "permutation lesion"], rng: np.random.Generator
) -> tuple[Float[np.ndarray, " task"], Float[np.ndarray, "task permutation"]]:
    """R2 of ridge regression on lesions that it was not fitted to, and the same with permuted drops.

    Args:
        lesions: The random lesions.
        orders: Orders of the lesions that permute drops within source networks.
        rng: Deals the lesions into folds.

    Returns:
        (task,) R2, and (task, permutation) its null; NaN for a task that no lesion changes.
    """
    n_tasks = lesions.drops.shape[1]
    every = np.concatenate([lesions.drops[None], lesions.drops[orders]])  # (1 + permutation, lesion, task)
    y = every.transpose(1, 0, 2).reshape(len(lesions.groups), -1)  # (lesion, target)
    inner, scale = _inner_products(lesions)
    error, total = np.zeros(y.shape[1]), np.zeros(y.shape[1])
    for test in _folds(lesions.groups, rng):
        rest = y - _group_means(lesions.groups, ~test) @ y
        lengths, axes = _axes(inner[~test][:, ~test])
        fitted: Any = _ridge(scale).fit(axes * lengths, rest[~test])
        predicted = np.reshape(fitted.predict(inner[test][:, ~test] @ axes / lengths), rest[test].shape)
        error += np.square(rest[test] - predicted).sum(0)
        total += np.square(rest[test]).sum(0)
    varies = total > _ROUNDING**2 * np.square(y).sum(0)
    r2 = np.where(varies, 1 - error / np.where(varies, total, 1.0), np.nan).reshape(-1, n_tasks)
    return r2[0], r2[1:].T


def ridge_weights(lesions: RandomLesions) -> Float[np.ndarray, "task unit"]:
    """Weight of every unit in the ridge regression on all lesions: the loss that silencing it adds, shrunken to 0.

    Args:
        lesions: The random lesions.
    """
    inner, scale = _inner_products(lesions)
    lengths, axes = _axes(inner)
    fitted: Any = _ridge(scale).fit(axes * lengths, _centred(lesions.drops, lesions.groups))
    # back from coordinates among lesions to units: X' (axes / lengths) coefficients
    coefficients = np.reshape(fitted.coef_, (lesions.drops.shape[1], -1))
    return (lesions.members.T @ ((axes / lengths) @ coefficients.T)).T


def _inner_products(lesions: RandomLesions) -> tuple[Float[np.ndarray, "lesion lesion"], float]:
    """Inner products of lesions, each with a column for its source network, and their mean square without it."""
    inner = (lesions.members @ lesions.members.T).toarray()
    scale = float(np.trace(inner)) / len(inner)
    return inner + _FREE * scale * (lesions.groups[:, None] == lesions.groups), scale


def _tested(lesions: RandomLesions, least: int) -> tuple[Bool[np.ndarray, " unit"], Float[np.ndarray, " tested"]]:
    """Which units are tested, and of these the sum of squares of x without the means of source networks."""
    members: Any = lesions.members  # scipy's stubs know no shape of a sparse array
    n_units = members.shape[1]
    with_unit, without, squares = np.zeros(n_units), np.zeros(n_units), np.zeros(n_units)
    for group in np.unique(lesions.groups):
        of_group = lesions.groups == group
        n = int(of_group.sum())
        count = np.asarray(members[of_group].sum(0))
        varies = (count > 0) & (count < n)  # a unit of all or none says nothing here
        with_unit += np.where(varies, count, 0)
        without += np.where(varies, n - count, 0)
        squares += count * (n - count) / n
    tested = (with_unit >= least) & (without >= least)
    return tested, squares[tested]


def _t(r: np.ndarray, dof: int) -> np.ndarray:
    r = np.clip(r, -_NEAR_ONE, _NEAR_ONE)
    return r * np.sqrt(dof / (1 - np.square(r)))


def _centred(values: Float[np.ndarray, "lesion some"], groups: Int[np.ndarray, " lesion"]) -> np.ndarray:
    """Values less the mean of their source network."""
    return values - _group_means(groups, np.ones(len(groups), dtype=bool)) @ values


def _group_means(
    groups: Int[np.ndarray, " lesion"], counted: Bool[np.ndarray, " lesion"]
) -> Float[np.ndarray, "lesion lesion"]:
    """The matrix that takes every lesion to the mean of the counted lesions of its source network."""
    same = (groups[:, None] == groups) & counted
    return same / same.sum(1, keepdims=True)


def _folds(groups: Int[np.ndarray, " lesion"], rng: np.random.Generator) -> Iterator[Bool[np.ndarray, " lesion"]]:
    """Which lesions are held out, fold by fold; every source network is dealt as evenly as can be."""
    fold = np.empty(len(groups), dtype=int)
    dealt = 0
    for group in np.unique(groups):
        places = rng.permutation(np.flatnonzero(groups == group))
        fold[places] = (dealt + np.arange(len(places))) % N_FOLDS
        dealt += len(places)
    return (fold == number for number in range(N_FOLDS) if (fold == number).any())


def _axes(inner: Float[np.ndarray, "lesion lesion"]) -> tuple[np.ndarray, np.ndarray]:
    """Lengths and directions of the principal axes that have a length.

    ``axes * lengths`` are coordinates of the lesions with the same inner products, so that ridge regression on them is
    that on units: what is orthogonal to all lesions has no weight.
    """
    values, vectors = np.linalg.eigh(inner)
    kept = values > 1e-14 * values.max()
    return np.sqrt(values[kept]), vectors[:, kept]


def _ridge(scale: float) -> RidgeCV:
    """Ridge regression whose penalty each target chooses by leave-one-out error."""
    return RidgeCV(PENALTIES * scale, fit_intercept=False, alpha_per_target=True)
