"""What came of a search for collapse neurons: what silencing each unit and each set costs, and which are called.

The cost of a set of units is by how much the mean cross-entropy of some neutral texts grows when they are zero at every
position, in nats a token, every token counted once::

    cost(S)    = CE with S zero - CE of the untouched model
    beyond(S)  = cost(S) - what its parts cost apart
    threshold  = max(least, costs of random units, what random units add to candidates beyond their own cost)

A unit is called if it costs more than the threshold. Two units are called as a pair if they cost more than the
threshold beyond what they cost apart (the sum of both costs, negative ones taken for 0), and at least twice that; so
are three and more of which no pair is called. What is called grows by units that add to it, beyond their own cost, more
than the threshold and more than any of some random units adds: a model that is broken already is shifted by anything.

*Chance.* None of n random units costs more than the threshold, so that with 95 % confidence at most 1 - .05^(1/n) of
all such units do (5 % for 59; Clopper and Pearson 1934). They are drawn from the layers of the candidates and are no
candidates themselves. p of a unit is that against random units alone, p of a set that against what random units add.

How candidates are found is in :mod:`.collapse`; a unit that no screen ranks high is never lesioned, so that what is not
called is not shown to be harmless.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from tl_fbn.intervention.studies import intervals
from tl_fbn.intervention.studies.item_statistics import empirical_p, resamples
from tl_fbn.units import Network, UnitSpace, html_frame
from tl_fbn.units.prose import NOT_RECORDED, P_FORMULA, listed
from tl_fbn.units.result import Result
from tl_fbn.units.space import Provenance


@dataclass(frozen=True, eq=False)
class Collapse(Result, step="lesions", picture="collapse"):
    """Units that raise the loss of neutral text, alone or a few together; :func:`tl_fbn.collapse_neurons` finds them.

    >>> found = fbn.collapse_neurons(model, fbn.prompts("sort", n=12), least=0.02, progress=False)  # text of a task
    >>> found.network
    Network "collapse": 4 of 1,152 units (0.35%) of tl_fbn-demo mlp.neurons (3 x 384), per layer 3 1 0
    >>> len(found.singles), len(found.groups)  # none costs as much alone
    (0, 3)

    Args:
        space: The model's MLP neurons.
        sets: (set, member) flat indices of the units that were silenced together, -1 behind the last; in a group that
            grew the last was added last.
        items: (set, text) nats a token that each text loses while the set is silenced.
        apart: (set,) what the parts of each set cost apart, in nats a token: 0 for a single unit, the sum of both costs
            for a pair, that of the group before and of the last unit for a group that grew.
        found: (set,) whether the set is called.
        tokens: (text,) number of predicted tokens of each text.
        ranks: The units that were lesioned alone, one line each: layer, unit, and their rank among all by every screen.
        random: (null,) cost of each of some random units, alone.
        partners: (some,) what random units add to candidates beyond their own cost.
        additions: (some,) what random units add to the group that grows beyond their own cost; empty where none does.
        least: The smallest cost that may be called, in nats a token.
        baseline: Cross-entropy of the untouched model, in nats a token.
        provenance: Numbers of texts and tokens, digests of the texts, seed, and settings of the search.
    """

    space: UnitSpace
    sets: Int[np.ndarray, "set member"]
    items: Float[np.ndarray, "set text"]
    apart: Float[np.ndarray, " set"]
    found: Bool[np.ndarray, " set"]
    tokens: Int[np.ndarray, " text"]
    ranks: pd.DataFrame
    random: Float[np.ndarray, " null"]
    partners: Float[np.ndarray, " some"]
    additions: Float[np.ndarray, " other"]
    least: float
    baseline: float
    provenance: Provenance = field(default_factory=dict)

    _settings_ = ("least",)

    @cached_property
    def costs(self) -> Float[np.ndarray, " set"]:
        """(set,) nats a token that each set costs, every token counted once."""
        return self._weighted.mean(1)

    @property
    def threshold(self) -> float:
        """Nats a token beyond which a unit is called alone, or a pair beyond what its units cost apart."""
        return threshold_of(self.least, self.random, self.partners)

    @property
    def false_positives(self) -> float:
        """Share of random units that cost more than the threshold at most, with 95 % confidence."""
        return 1 - 0.05 ** (1 / len(self.random)) if len(self.random) else 1.0

    @property
    def network(self) -> Network:
        """All units that are called, alone or in a set: what ``lesion_study(..., exclude=)`` takes out."""
        members = self.sets[self.found]
        about = {name: value for name, value in self.provenance.items() if name not in ("texts", "tokens")}
        return Network.from_indices(
            self.space,
            np.unique(members[members >= 0]),
            name="collapse",
            provenance={**about, "method": "collapse_neurons", "threshold": self.threshold},
        )

    @property
    def singles(self) -> pd.DataFrame:
        """The lines of :meth:`to_dataframe` of units that are called alone."""
        return self.to_dataframe().query("found and size == 1")

    @property
    def groups(self) -> pd.DataFrame:
        """The lines of :meth:`to_dataframe` of pairs and groups that are called."""
        return self.to_dataframe().query("found and size > 1")

    def to_dataframe(self) -> pd.DataFrame:
        """One line a set that was silenced, those that are called first, then by cost.

        Columns: units (``layer.unit`` of each), size, cost (nats a token), low and high (95 % interval over texts),
        apart (what its parts cost apart; 0 for a single unit), p (one-sided, against random units; not corrected for
        the number of lines), found (whether it is called).
        """
        draws = resamples(len(self.tokens), int(self.provenance.get("n_bootstrap", 1000)), self._seed)
        sizes = (self.sets >= 0).sum(1)
        lines = []
        for number in self._order.tolist():
            cost = float(self.costs[number])
            low, high = intervals.of_mean(self._weighted[number], draws)
            null = (self.random, self.partners, self.additions)[min(int(sizes[number]), 3) - 1]
            apart = float(self.apart[number])
            p = float(empirical_p(cost - apart, null))
            called = bool(self.found[number])
            lines.append((self._in_words(number), int(sizes[number]), cost, low, high, apart, p, called))
        return pd.DataFrame(lines, columns=["units", "size", "cost", "low", "high", "apart", "p", "found"])

    @property
    def called_sets(self) -> list[list[int]]:
        """Flat indices of the units of every set that is called, the costliest first."""
        return [self._members(number) for number in self._order.tolist() if self.found[number]]

    @property
    def _order(self) -> Int[np.ndarray, " set"]:
        """Numbers of the sets in the order of the table: those that are called first, then by cost."""
        return np.lexsort((-self.costs, ~self.found))

    def _members(self, number: int) -> list[int]:
        return [unit for unit in self.sets[number].tolist() if unit >= 0]

    def _in_words(self, number: int) -> str:
        """The units of a set: ``11.1229 + 11.1487``, each its layer and its number in it."""
        return " + ".join("{}.{}".format(*self.space.locate(unit)) for unit in self._members(number))

    @cached_property
    def _weighted(self) -> Float[np.ndarray, "set text"]:
        """Costs of texts, weighted so that their mean counts every token once."""
        return self.items * (self.tokens / self.tokens.mean())

    @property
    def _seed(self) -> int:
        return int(self.provenance.get("seed", 0))

    def chance_in_words(self) -> str:
        """What random units cost, as a sentence."""
        return (
            f"{len(self.random)} random units of the same layers cost at most {self.random.max(initial=0):.2g} nats a "
            f"token, so that with 95 % confidence at most {100 * self.false_positives:.1f} % of such units cost more "
            f"than the threshold, {self.threshold:.2g}"
        )

    def _methods_(self) -> list[str]:
        about = self.provenance
        texts, tokens, most = (about.get(name, NOT_RECORDED) for name in ("texts", "tokens", "max_tokens"))
        return [
            f"Collapse neurons: {len(self.ranks)} of {self.space.n_units:,} MLP neurons, named by what they write into "
            "the residual stream, by activation x gradient, by the latter at half of all activations, and by these in "
            f"lesioned models, were set to zero alone, and some in pairs, on the first {most} tokens of {texts} texts "
            f"({tokens} predicted tokens); {self.chance_in_words()}; {P_FORMULA}, one-sided and not corrected for the "
            f"number of sets; intervals of 95 % over texts by bootstraps of Student's t; seed {self._seed}."
        ]

    def _report_sections_(self) -> list[dict[str, Any]]:
        text = (
            f"{self!r}.\n\nCost is what the model loses on neutral text, in nats a token, while the units are zero; "
            f"apart is what the parts of a set cost when they are silenced apart. {self.chance_in_words()}. p is not "
            "corrected for the number of lines. Units that were not lesioned are not shown to be harmless."
        )
        section = {"title": "Collapse neurons", "text": text, "picture": "collapse", "table": self.to_dataframe()}
        screens = "Rank of each unit that was lesioned alone among all units, by every screen."
        return [section, {"title": "How collapse neurons were found", "text": screens, "table": self.ranks}]

    def __repr__(self) -> str:
        n_alone = int((self.found & ((self.sets >= 0).sum(1) == 1)).sum())
        found = self.groups
        members = [set(units.split(" + ")) for units in found["units"]]
        # those that are part of no larger one
        groups = [
            f"{units} ({cost:.2f})"
            for units, cost, own in zip(found["units"], found["cost"], members, strict=True)
            if not any(own < other for other in members)
        ]
        together = f", and together {listed(groups, most=3)}" if groups else ""
        return (
            f"Collapse: {len(self.network)} of {self.space.n_units:,} units of {self.space.describe()}; {n_alone} cost "
            f"more than {self.threshold:.2g} nats a token alone{together}"
        )

    def _repr_html_(self) -> str:
        return html_frame(repr(self), self.to_dataframe().head(20))


def threshold_of(least: float, random: np.ndarray, partners: np.ndarray) -> float:
    """The cost beyond which units are called.

    Args:
        least: The smallest cost that may be called.
        random: Costs of random units.
        partners: What random units add to candidates beyond their own cost.
    """
    return max(least, float(random.max(initial=0)), float(partners.max(initial=0)))
