"""How many networks? Two answers that can disagree, and a proposal.

- *Parallel analysis* (Horn 1965): the number of leading directions, in order of their variance, that carry more
  variance than the same directions of shuffled data. A shuffle rotates the course of every unit in time by an amount of
  its own, within each run: units keep their spread and autocorrelation, and lose each other.
- *Stability*: for each candidate number, the mean stability index Iq of its networks (:mod:`.icasso`; near 1 for a
  network that comes back in every resampled analysis), and the share of its networks whose Iq is above .8.

The proposal is the largest candidate that parallel analysis allows and at which three quarters of the networks have an
Iq above .8. Where there is none, it is the candidate of highest mean Iq, and the repr says so. It is an argument, not a
truth: look at the picture, ``fbn.plot.component_choice``.

Units: variances are shares of the total, Iq has none. Cost: one ICA with restarts for every candidate, and one
reduction for every shuffle. The directions that are compared come from a random sketch of 64 columns, or twice as many
until one of them is no longer above chance, up to 256: how many are does not depend on candidates below that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from tqdm.auto import tqdm

from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.analysis.ica.find_networks import IcaMethod, find_networks
from tl_fbn.analysis.ica.reduction import reduce_recording
from tl_fbn.analysis.ica.unit_scales import measured
from tl_fbn.analysis.parallel import BAR_AFTER
from tl_fbn.errors import InputError
from tl_fbn.signatures import checked
from tl_fbn.units import html_table
from tl_fbn.units.preparation import Preparation, Standardize
from tl_fbn.units.prose import NOT_RECORDED, listed
from tl_fbn.units.result import Arrays, Described, Result

_STABLE_IQ = 0.8  # Iq above which a network counts as stable
_MIN_SHARE_STABLE = 0.75  # of the networks of a candidate, for it to be proposed
_N_DIRECTIONS = 64  # whose variances are compared first
_MOST_DIRECTIONS = 256  # beyond which only a larger candidate makes it worth while to look
_BEYOND = 10  # directions that are kept beyond the largest candidate


@dataclass(frozen=True, eq=False)
class ComponentChoice(Result, step="model order", picture="component_choice"):
    """What speaks for how many networks: stability of each candidate number, and variance beside that of shuffles.

    >>> choice = fbn.choose_components(recording, (3, 6), n_restarts=4, seed=0, progress=False)
    >>> choice.proposal, choice.agreed
    (6, True)
    >>> choice.variance[:2].round(2), choice.shuffled.max(0)[:2].round(2)  # first two directions: data, shuffles
    (array([0.12, 0.09]), array([0.02, 0.02]))

    Args:
        table: One line a candidate: ``n_components``, the number of networks; ``mean_iq``, the mean of their Iq;
            ``share_stable``, the share of networks whose Iq is above .8; ``noise_iq``, the 95th percentile of the Iq of
            networks of Gaussian noise; ``explained``, the share of variance of all networks together.
        variance: (component,) share of variance of each leading direction of the data, in descending order.
        shuffled: (shuffle, component) share of variance of each leading direction of data whose units were rotated in
            time, each by an amount of its own.
        provenance: Where the choice came from: the recording, the method, the seed and the number of restarts.
    """

    table: pd.DataFrame
    variance: Float[np.ndarray, " component"]
    shuffled: Float[np.ndarray, "shuffle component"]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n_above_chance(self) -> int:
        """Number of leading directions with more variance than the same direction of every shuffle."""
        return _n_above(self.variance, self.shuffled)

    @property
    def proposal(self) -> int:
        """The number of networks proposed.

        It is the largest candidate of at most :attr:`n_above_chance` networks, three quarters of which have an Iq above
        .8; where there is none, the candidate of highest mean Iq.
        """
        n, iq, share = (self.table[name].to_numpy() for name in ("n_components", "mean_iq", "share_stable"))
        good = n[(share >= _MIN_SHARE_STABLE) & (n <= self.n_above_chance)]
        return int(good.max() if len(good) else n[iq.argmax()])

    @property
    def agreed(self) -> bool:
        """Whether both stability and parallel analysis speak for the proposal."""
        line = self.table[self.table["n_components"] == self.proposal].iloc[0]
        return bool(line["share_stable"] >= _MIN_SHARE_STABLE and self.proposal <= self.n_above_chance)

    def to_dataframe(self) -> pd.DataFrame:
        """The field ``table``: one line a candidate, with its stability and the variance that it explains."""
        return self.table

    def _pack_(self) -> tuple[Arrays, Described]:
        arrays = {"variance": self.variance, "shuffled": self.shuffled, "table": self.table.to_numpy(float)}
        return arrays, {"columns": list(self.table), "provenance": dict(self.provenance)}

    @classmethod
    def _unpack_(cls, arrays: Arrays, about: Described) -> ComponentChoice:
        table = pd.DataFrame(arrays["table"], columns=about["columns"]).astype({"n_components": int})
        return cls(table, arrays["variance"], arrays["shuffled"], about["provenance"])

    def _methods_(self) -> list[str]:
        about = self.provenance
        tried = self.table["n_components"].tolist()
        return [
            f"Numbers of networks from {listed(tried)} were compared by stability "
            f"(Iq over {about.get('n_restarts', NOT_RECORDED)} restarts) and by parallel "
            f"analysis against {len(self.shuffled)} shuffles (seed {about.get('seed', NOT_RECORDED)}); "
            f"proposed: {self.proposal}."
        ]

    def _report_sections_(self) -> list[dict[str, Any]]:
        return [
            {
                "title": "How many networks",
                "text": f"{self!r}.",
                "origin": self.provenance,
                "picture": "component_choice",
                "table": self.table,
            }
        ]

    def __repr__(self) -> str:
        doubt = "" if self.agreed else ", of highest mean Iq: no candidate is both stable and within chance's limit"
        directions = f"{self.n_above_chance} of {len(self.variance)} directions exceed chance"
        return f"ComponentChoice: {self.proposal} proposed{doubt}; {directions}"

    def _repr_html_(self) -> str:
        rows = [tuple(f"{x:.3g}" for x in row) for row in self.table.itertuples(index=False)]
        return html_table(repr(self), tuple(self.table), rows)


@checked
def choose_components(
    recording: Recording,
    candidates: Sequence[int],
    *,
    seed: int,
    method: IcaMethod = "spatial",
    n_restarts: int = 10,
    n_null: int = 5,
    standardize: Standardize = "robust",
    drop_first: int = 1,
    clip: int | float | None = 5,
    progress: bool = True,
) -> ComponentChoice:
    """Propose how many networks to look for in a recording.

    >>> choice = fbn.choose_components(recording, (3, 6), n_restarts=4, seed=0, progress=False)
    >>> choice
    ComponentChoice: 6 proposed; 53 of 54 directions exceed chance
    >>> choice.to_dataframe()[["n_components", "share_stable", "explained"]].round(2)
       n_components  share_stable  explained
    0             3           1.0       0.30
    1             6           1.0       0.44

    Args:
        recording: Activations of one site.
        candidates: Numbers of networks to try, e.g. ``(4, 8, 16, 32)``.
        seed: Seed of the random sketches, restarts, noise and shuffles; the same seed gives the same choice.
        method: What is independent of what: maps over units (``"spatial"``), courses over rows (``"temporal"``), or
            maps over units within the subspace that runs share (``"canica"``).
        n_restarts: Number of resampled analyses of every candidate, which give its stability; at least 2.
        n_null: Number of data sets with units rotated in time, against which parallel analysis compares variances; at
            least 1.
        standardize: Whether every unit is divided by its spread over all rows first: True by the standard deviation,
            ``"robust"`` by 1.4826 times the median absolute deviation, False not at all.
        drop_first: Number of rows to leave out at the start of every context; 0 leaves out none. Of a pooled recording,
            with one row a prompt, none are left out.
        clip: Number of spreads (standard deviations, or with ``standardize="robust"`` scaled median absolute
            deviations) beyond which values are clipped; None clips nothing.
        progress: Whether to show a bar if it takes longer than some seconds.

    Returns:
        The proposal, with the stability of every candidate and the variances behind it.

    Raises:
        InputError: There are no candidates, fewer than two restarts or one shuffle, or a candidate needs more rows or
            units than the recording has.
    """
    tried = sorted(set(candidates))
    if not tried or n_restarts < 2 or n_null < 1:
        raise InputError(
            f"candidates={tuple(candidates)}, n_restarts={n_restarts}, n_null={n_null}; "
            "give at least one candidate, two restarts, one shuffle"
        )
    options: dict[str, Any] = {"standardize": standardize, "drop_first": drop_first, "clip": clip}
    lines = []
    steps = tqdm(tried, desc="candidates", delay=BAR_AFTER, disable=not progress)
    for n in steps:
        # one noise data set is enough here: its Iq is shown beside the data's and decides nothing
        atlas = find_networks(
            recording, n, seed=seed, method=method, n_restarts=n_restarts, n_null=1, progress=False, **options
        )
        iq = np.asarray(atlas.stability)
        noise = np.asarray(atlas.noise_iq)
        explained = np.asarray(atlas.explained)
        lines.append((n, iq.mean(), (iq > _STABLE_IQ).mean(), noise.max(), explained.sum()))
    table = pd.DataFrame(lines, columns=["n_components", "mean_iq", "share_stable", "noise_iq", "explained"])
    preparation = measured(recording, Preparation(drop_first, standardize, None if clip is None else float(clip)))
    shared: dict[str, Any] = {
        "layers": list(recording[0].layers),
        "spatial": method != "temporal",
        "preparation": preparation,
        "seed": seed,
    }
    shares = _shares_of_variance(recording, n_null, max(_MOST_DIRECTIONS, tried[-1] + _BEYOND), shared)
    # those that are asked about are kept, and all that are above chance, with the first that is not
    size = max(tried[-1] + _BEYOND, _n_above(shares[0], shares[1:]) + 1)
    shares = shares[:, :size]
    about = {**recording.provenance, "method": method, "seed": seed, "n_restarts": n_restarts}
    return ComponentChoice(table, shares[0], shares[1:], about)


def _shares_of_variance(
    recording: Recording, n_null: int, most: int, shared: Mapping[str, Any]
) -> Float[np.ndarray, "data component"]:
    """Shares of variance of the leading directions of the data, then of every shuffle, as far as chance reaches."""
    n = _N_DIRECTIONS
    while True:
        found = [
            reduce_recording(recording, 1, n_extra=n - 1, shuffle=shuffle, **shared)
            for shuffle in (None, *(shared["seed"] + i for i in range(n_null)))
        ]
        size = min(len(one.singular) for one in found)  # directions that all of them have
        shares = np.array([np.square(one.singular[:size]) / one.total for one in found])  # of variance: s^2 / total
        # all above chance: there may be more, unless the data have no more directions
        if size < n or n == most or _n_above(shares[0], shares[1:]) < size:
            return shares
        n = min(2 * n, most)


def _n_above(variance: Float[np.ndarray, " component"], shuffled: Float[np.ndarray, "shuffle component"]) -> int:
    """Number of leading directions with more variance than the same direction of every shuffle."""
    above = variance > shuffled.max(0)
    return int(len(above) if above.all() else above.argmin())  # argmin: the first direction that is not above
