"""What pruning took out of a model: the report that a pruned model carries as ``small.pruned``.

Units of the small model are numbered anew; ``report.kept`` says which units of the intact model they were, in order. Sizes are
parameters, tied ones counted once; ``difference`` is the largest difference in logits (natural-log units) between the small
model and the masked one that it was checked against. It says nothing about what the small model can still do: a
:class:`tl_fbn.Battery` does.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from tl_fbn import files
from tl_fbn.units import Network, UnitSpace, html_table


@dataclass(frozen=True, eq=False)
class PruneReport:
    """What was removed.

    Args:
        kept: The neurons that are left, in the intact model's numbers.
        heads: The attention heads that are left, likewise; None where heads were not pruned.
        n_before: Parameters of the intact model.
        n_after: Parameters of the small one.
        difference: Largest absolute difference of logits between small and masked model.
        compensation: ``"none"``, ``"recording"`` or ``"prompts"``: where means of removed neurons are from.
        heads_stored: Heads that the matrices of a layer still have; more than are left where zeros fill a layout.
        about: Provenance: model, weights digest, protected layers, the networks' own.
    """

    kept: Network
    heads: Network | None
    n_before: int
    n_after: int
    difference: float
    compensation: str = "none"
    heads_stored: int | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """Share of the parameters that was removed."""
        return 1 - self.n_after / self.n_before

    def to_dataframe(self) -> pd.DataFrame:
        """One line a layer: layer, neurons, kept, removed; with heads and heads_kept where heads were pruned."""
        widths, kept = np.array(self.kept.space.widths), self.kept.per_layer()
        table = pd.DataFrame({"layer": range(len(widths)), "neurons": widths, "kept": kept, "removed": widths - kept})
        if self.heads is not None:
            table["heads"] = self.heads.space.widths
            table["heads_kept"] = self.heads.per_layer()
        return table

    def to_about(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Arrays and description, for a file."""
        arrays = {"kept": self.kept.members}
        if self.heads is not None:
            arrays["heads"] = self.heads.members
        described = {
            "space": self.kept.space.about(),
            "name": self.kept.name,
            "heads_space": None if self.heads is None else self.heads.space.about(),
            "n_before": self.n_before,
            "n_after": self.n_after,
            "difference": self.difference,
            "compensation": self.compensation,
            "heads_stored": self.heads_stored,
            "about": dict(self.about),
        }
        return arrays, described

    @classmethod
    def from_about(cls, arrays: Mapping[str, np.ndarray], described: Mapping[str, Any]) -> PruneReport:
        """The report that :meth:`to_about` described."""
        heads = None
        if described["heads_space"] is not None:
            heads = Network(UnitSpace.from_about(described["heads_space"]), arrays["heads"], name="heads kept")
        return cls(
            Network(UnitSpace.from_about(described["space"]), arrays["kept"], name=described["name"]),
            heads,
            *(
                described[name]
                for name in ("n_before", "n_after", "difference", "compensation", "heads_stored", "about")
            ),
        )

    def save(self, path: str | os.PathLike) -> None:
        """Save to one safetensors file."""
        arrays, described = self.to_about()
        files.write_result(path, "PruneReport", arrays, described)

    @classmethod
    def load(cls, path: str | os.PathLike) -> PruneReport:
        """Load what :meth:`save` saved."""
        return cls.from_about(*files.read_result(path, "PruneReport"))

    def __repr__(self) -> str:
        heads = "" if self.heads is None else f", {len(self.heads):,} of {self.heads.space.n_units:,} heads"
        bias = "" if self.compensation == "none" else f", means of the rest from {self.compensation}"
        return (
            f"Pruned {self.kept.space.model}: {len(self.kept):,} of {self.kept.space.n_units:,} neurons{heads} left, "
            f"{self.n_before:,} to {self.n_after:,} parameters (-{self.ratio:.1%}){bias}"
        )

    def _repr_html_(self) -> str:
        table = self.to_dataframe()
        return html_table(repr(self), tuple(table.columns), [tuple(row) for row in table.itertuples(index=False)])
