"""How many networks? Two answers that can disagree, and a proposal.

- *Parallel analysis* (Horn 1965): how many directions carry more variance than the same directions of data whose units have been
  rotated in time, each by an amount of its own, so that they keep their spread and autocorrelation and lose each other.
- *Stability*: for each candidate the mean Iq of its networks (:mod:`.icasso`), and the share of networks above .8.

The proposal is the largest candidate within what parallel analysis allows at which three quarters of the networks have an Iq above .8; where there is
none, the candidate of highest mean Iq, and the repr says so. It is an argument, not a truth: look at the picture, ``fbn.plot.component_choice``.
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
from tl_fbn.analysis.ica.reduction import Preparation, Standardize, reduce_recording
from tl_fbn.analysis.parallel import BAR_AFTER
from tl_fbn.errors import InputError
from tl_fbn.units import html_table
from tl_fbn.units.prose import NOT_RECORDED, listed
from tl_fbn.units.result import Arrays, Described, Result

_STABLE = 0.8
_SHARE = 0.75


@dataclass(frozen=True, eq=False)
class ComponentChoice(Result, step="model order", picture="component_choice"):
    """What speaks for how many networks.

    Args:
        table: One line a candidate: n_components, mean_iq, share_stable, noise_iq (95th percentile), explained.
        variance: (component,) share of variance of the data's directions.
        shuffled: (shuffle, component) the same of data whose units were rotated in time.
        provenance: Recording and seed.
    """

    table: pd.DataFrame
    variance: Float[np.ndarray, " component"]
    shuffled: Float[np.ndarray, "shuffle component"]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n_above_chance(self) -> int:
        """Leading directions with more variance than every shuffle gives."""
        above = self.variance > self.shuffled.max(0)
        return int(len(above) if above.all() else above.argmin())

    @property
    def proposal(self) -> int:
        """The number proposed; see the module."""
        n, iq, share = (self.table[name].to_numpy() for name in ("n_components", "mean_iq", "share_stable"))
        good = n[(share >= _SHARE) & (n <= self.n_above_chance)]
        return int(good.max() if len(good) else n[iq.argmax()])

    @property
    def agreed(self) -> bool:
        """Whether the proposal has both on its side."""
        line = self.table[self.table["n_components"] == self.proposal].iloc[0]
        return bool(line["share_stable"] >= _SHARE and self.proposal <= self.n_above_chance)

    def to_dataframe(self) -> pd.DataFrame:
        """One line a candidate."""
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
            f"Numbers of networks from {listed(tried)} were compared by stability (Iq over {about.get('n_restarts', NOT_RECORDED)} restarts) and by parallel "
            f"analysis against {len(self.shuffled)} shuffles (seed {about.get('seed', NOT_RECORDED)}); proposed: {self.proposal}."
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
        return f"ComponentChoice: {self.proposal} proposed{doubt}; {self.n_above_chance} of {len(self.variance)} directions exceed chance"

    def _repr_html_(self) -> str:
        rows = [tuple(f"{x:.3g}" for x in row) for row in self.table.itertuples(index=False)]
        return html_table(repr(self), tuple(self.table), rows)


def choose_components(
    recording: Recording,
    candidates: Sequence[int],
    *,
    seed: int,
    method: IcaMethod = "spatial",
    n_restarts: int = 10,
    n_null: int = 5,
    standardize: Standardize = False,
    drop_first: int = 0,
    clip: int | float | None = None,
    progress: bool = True,
) -> ComponentChoice:
    """Propose how many networks to look for.

    ::

        choice = fbn.choose_components(recording, (8, 16, 32), seed=0)
        choice.to_dataframe()

    Args:
        recording: Activations.
        candidates: Numbers to try, e.g. ``(4, 8, 16, 32)``.
        seed: Seed of restarts, noise and shuffles.
        method: ``"spatial"``, ``"temporal"`` or ``"canica"``, as for :func:`tl_fbn.find_networks`.
        n_restarts: Restarts of every candidate.
        n_null: Data sets with units rotated in time, against which parallel analysis compares variances.
        standardize: Divide every unit by its spread first, as for :func:`tl_fbn.find_networks`.
        drop_first: Rows to leave out at the start of every context.
        clip: Clip values beyond so many standard deviations.
        progress: Show a bar where it takes longer than some seconds.

    Raises:
        InputError: No candidates, fewer than two restarts or one shuffle, or candidates the recording is too short for.
    """
    tried = sorted(set(candidates))
    if not tried or n_restarts < 2 or n_null < 1:
        raise InputError(
            f"candidates={tuple(candidates)}, n_restarts={n_restarts}, n_null={n_null}; give at least one candidate, two restarts, one shuffle"
        )
    options: dict[str, Any] = {"standardize": standardize, "drop_first": drop_first, "clip": clip}
    lines = []
    steps = tqdm(tried, desc="candidates", delay=BAR_AFTER, disable=not progress)
    for n in steps:
        atlas = find_networks(
            recording, n, seed=seed, method=method, n_restarts=n_restarts, n_null=1, progress=False, **options
        )
        iq = np.asarray(atlas.stability)
        noise = np.asarray(atlas.noise_iq)
        explained = np.asarray(atlas.explained)
        lines.append((n, iq.mean(), (iq > _STABLE).mean(), noise.max(), explained.sum()))
    table = pd.DataFrame(lines, columns=["n_components", "mean_iq", "share_stable", "noise_iq", "explained"])
    preparation = Preparation(drop_first, standardize, None if clip is None else float(clip))
    shared: dict[str, Any] = {
        "layers": list(recording[0].layers),
        "spatial": method != "temporal",
        "preparation": preparation,
        "seed": seed,
    }
    found = [reduce_recording(recording, tried[-1], **shared)]
    found += [reduce_recording(recording, tried[-1], shuffle=seed + i, **shared) for i in range(n_null)]
    size = min(len(one.singular) for one in found)
    shares = np.array([np.square(one.singular[:size]) / one.total for one in found])
    about = {**recording.provenance, "method": method, "seed": seed, "n_restarts": n_restarts}
    return ComponentChoice(table, shares[0], shares[1:], about)
