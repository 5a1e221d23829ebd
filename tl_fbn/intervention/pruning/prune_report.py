"""What pruning took out of a model: the report that a pruned model carries as ``small.pruned``.

Units of the small model are numbered anew; ``report.kept`` says which units of the intact model they were, in order. Sizes are
parameters, tied ones counted once; ``difference`` is the largest difference in logits (natural-log units) between the small
model and the masked one that it was checked against. It says nothing about what the small model can still do: a
:class:`tl_fbn.Battery` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from tl_fbn.units import Network, UnitSpace, html_table
from tl_fbn.units.prose import NOT_RECORDED, listed, space_in_words
from tl_fbn.units.result import Arrays, Described, Result

_WORDS = ("n_before", "n_after", "difference", "compensation", "heads_stored")


@dataclass(frozen=True, eq=False)
class PruneReport(Result, step="pruning", picture="prune"):
    """What was removed.

    Args:
        kept: The neurons that are left, in the intact model's numbers.
        heads: The attention heads that are left, likewise; None where heads were not pruned.
        n_before: Parameters of the intact model.
        n_after: Parameters of the small one.
        difference: Largest absolute difference of logits between small and masked model.
        compensation: ``"none"``, ``"recording"`` or ``"prompts"``: where means of removed neurons are from.
        heads_stored: Heads that the matrices of a layer still have; more than are left where zeros fill a layout.
        provenance: Where it comes from: model, weights digest, protected layers, the networks' own.
    """

    kept: Network
    heads: Network | None
    n_before: int
    n_after: int
    difference: float
    compensation: str = "none"
    heads_stored: int | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    _settings_ = ("compensation", "difference")
    _measured_ = ("difference",)

    @property
    def ratio(self) -> float:
        """Share of the parameters that was removed."""
        return 1 - self.n_after / self.n_before

    def to_dataframe(self) -> pd.DataFrame:
        """One line a layer: layer, neurons, kept, removed; with heads and heads_kept where heads were pruned."""
        widths = np.array(self.kept.space.widths)
        kept = self.kept.per_layer()
        table = pd.DataFrame({"layer": range(len(widths)), "neurons": widths, "kept": kept, "removed": widths - kept})
        if self.heads is not None:
            table["heads"] = self.heads.space.widths
            table["heads_kept"] = self.heads.per_layer()
        return table

    def _pack_(self) -> tuple[Arrays, Described]:
        arrays = {"kept": self.kept.members}
        if self.heads is not None:
            arrays["heads"] = self.heads.members
        described: Described = {name: getattr(self, name) for name in _WORDS}
        described |= {
            "space": self.kept.space.about(),
            "name": self.kept.name,
            "heads_space": None if self.heads is None else self.heads.space.about(),
            "about": dict(self.provenance),
        }
        return arrays, described

    @classmethod
    def _unpack_(cls, arrays: Arrays, about: Described) -> PruneReport:
        kept = Network(UnitSpace.from_about(about["space"]), arrays["kept"], name=about["name"])
        heads = None
        if about["heads_space"] is not None:
            heads = Network(UnitSpace.from_about(about["heads_space"]), arrays["heads"], name="heads kept")
        return cls(kept, heads, provenance=about["about"], **{name: about[name] for name in _WORDS})

    def _methods_(self) -> list[str]:
        protected = self.provenance.get("protected")
        layers = NOT_RECORDED if protected is None else listed(protected)
        means = "no compensation" if self.compensation == "none" else f"means of removed units from {self.compensation}"
        return [
            f"All but {len(self.kept):,} of {self.kept.space.n_units:,} units of {space_in_words(self.kept.space)} were removed from the weights ({self.ratio:.1%} of the "
            f"parameters; protected layers: {layers}; {means}). Logits differ from the masked model's by at most {self.difference:.2g}."
        ]

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
