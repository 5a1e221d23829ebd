"""What pruning removed from a model: the report that a pruned model carries as ``small.pruned``.

Units of the small model are numbered anew; ``report.kept`` says which units of the intact model they were, in the same
order. Sizes are numbers of parameters, with tied parameters counted once. ``difference`` is the largest difference of
logits (natural-log units) between the small model and the masked model that it was checked against; it does not say
what the small model can still do, which a :class:`tl_fbn.Battery` shows.
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

# fields that are written to a file by their own name and value
_PLAIN_FIELDS = ("n_before", "n_after", "difference", "compensation", "heads_stored")


@dataclass(frozen=True, eq=False)
class PruneReport(Result, step="pruning", picture="prune"):
    """What pruning removed from a model, and how close the small model is to the masked one.

    >>> report = fbn.prune(model, remove=network, progress=False).pruned
    >>> report
    Pruned tl_fbn-demo: 1,129 of 1,152 neurons left, 353,760 to 349,321 parameters (-1.3%)
    >>> report.to_dataframe()
       layer  neurons  kept  removed
    0      0      384   366       18
    1      1      384   379        5
    2      2      384   384        0

    Args:
        kept: The neurons that are left, as units of the intact model.
        heads: The attention heads that are left, as units of the intact model; None where heads were not pruned.
        n_before: Number of parameters of the intact model.
        n_after: Number of parameters of the small model.
        difference: Largest absolute difference of logits between the small model and the masked one, on the probe.
        compensation: Where the means of removed neurons are from: ``"recording"``, ``"prompts"``, or ``"none"`` where
            removed neurons count as 0.
        heads_stored: Number of heads for which each layer still has matrices; larger than the number of heads left
            where removed heads are zeros. None where heads were not pruned.
        provenance: Where the report comes from: ``weights``, the digest of the intact model's weights; ``protected``,
            the numbers of protected layers; ``network``, the provenance of the network that was given.
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
        """Share of the intact model's parameters that was removed, between 0 and 1."""
        return 1 - self.n_after / self.n_before

    def to_dataframe(self) -> pd.DataFrame:
        """One line a layer.

        Returns:
            A table with the columns ``layer``, ``neurons`` (of the intact model), ``kept`` and ``removed`` (numbers of
            neurons); where heads were pruned, also ``heads`` (of the intact model) and ``heads_kept``.
        """
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
        # networks are arrays of members here, with their space and name in the description
        described: Described = {name: getattr(self, name) for name in _PLAIN_FIELDS}
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
        return cls(kept, heads, provenance=about["about"], **{name: about[name] for name in _PLAIN_FIELDS})

    def _methods_(self) -> list[str]:
        protected = self.provenance.get("protected")
        # a report that was made by hand may lack protected layers; an empty list is "none", not "not recorded"
        layers = NOT_RECORDED if protected is None else listed(protected)
        means = "no compensation" if self.compensation == "none" else f"means of removed units from {self.compensation}"
        return [
            f"All but {len(self.kept):,} of {self.kept.space.n_units:,} units of {space_in_words(self.kept.space)} "
            f"were removed from the weights ({self.ratio:.1%} of the parameters; protected layers: {layers}; {means}). "
            f"Logits differ from the masked model's by at most {self.difference:.2g}."
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
