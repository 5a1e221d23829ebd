"""Collapse neurons: units that break a model whatever its task, alone or a few together.

On a real model a few neurons are in every list of "task neurons", because everything needs them. In SmolLM2-135M two
neurons of layer 11 write the massive activation of the first token; each alone costs neutral text at most .3 nats a
token, both together 2. A lesion of any network that holds them beats all its random controls, and says nothing of the
task. They are looked for on text that is no task's::

    collapse = fbn.collapse_neurons(model, texts)                      # neutral text
    study = fbn.lesion_study(model, networks, battery, seed=0, exclude=collapse)

1. *Screens* rank all neurons in a few passes (:mod:`.collapse_screens`). The first by turns are candidates.
2. *Random units* of the candidates' layers are lesioned one by one: what they cost is chance.
3. *Candidates* are lesioned one by one. Of the first 240 of SmolLM2-135M all eight that cost more than .1 are among
   the first 37; 40 are lesioned.
4. The costliest, and the one that writes most, are silenced in turn and the screens are made again: what stands in for
   a unit shows only then.
5. *Pairs*: the first units by cost, by what they write and by these screens, each with each, and the two that were
   silenced with all that ranks first without them; beside them random units in the place of partners.
6. *A group*: the costliest pair that is called grows by one unit at a time, screened in the lesioned model, while the
   addition is more than chance. Where no pair is called it begins with the first units by what they write, as many as
   cost something together, without those that they can do without.

What is called, and how often by chance, is in :mod:`.collapse_results`. Costs are of these texts; they are short, and
the first of a text's tokens weigh more in them than in long ones. Units that no screen ranks high are not found, nor
are further groups of three and more.

Cost: at most some 200 readings of 12 texts of 32 tokens, and six passes with gradients; 75 s for SmolLM2-135M
in bfloat16 on one thread. :func:`tl_fbn.studies.plan_collapse` counts and times them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.acquisition.model.sites import resolve_site
from tl_fbn.errors import InputError
from tl_fbn.intervention.behaviour.battery import Battery
from tl_fbn.intervention.hooks.interventions import inhibit
from tl_fbn.intervention.studies.collapse_results import Collapse, threshold_of
from tl_fbn.intervention.studies.collapse_screens import (
    Beginnings,
    UnitScores,
    beginnings,
    interleaved,
    lesioned_screens,
    ranks,
    screens,
)
from tl_fbn.intervention.studies.engine import Condition, StudyRuns, silenced_units
from tl_fbn.intervention.studies.item_statistics import METRICS
from tl_fbn.signatures import checked
from tl_fbn.units import Network, UnitSpace

Units = tuple[int, ...]  # flat indices, in the order in which a set grew
LEAST_NULL = 19  # random units: fewer cannot give p = .05
SHARE_OF_PARTNERS = 3  # of random units every third is also added to a candidate, and to a pair that is called


@checked
def collapse_neurons(
    model: HookedModel,
    texts: Sequence[Any],
    *,
    seed: int = 0,
    n: int | None = 12,
    max_tokens: int = 32,
    least: float = 0.1,
    n_candidates: int = 40,
    n_pairs: int = 6,
    n_null: int = 59,
    largest: int = 4,
    n_bootstrap: int = 1000,
    batch_tokens: int = 8192,
    progress: bool = True,
) -> Collapse:
    """Find MLP neurons that raise the loss of neutral text when they are zero, alone or a few together.

    >>> fbn.collapse_neurons(model, fbn.prompts("rest", n=12), progress=False)  # the embedded model has none
    Collapse: 0 of 1,152 units of tl_fbn-demo mlp.neurons (3 x 384); 0 cost more than 0.1 nats a token alone
    >>> found = fbn.collapse_neurons(model, fbn.prompts("sort", n=12), least=0.02, progress=False)  # what sorts
    >>> found.to_dataframe()[["units", "cost", "apart", "p"]].head(3).round(2)
                              units  cost  apart     p
    0  0.77 + 0.162 + 0.232 + 1.374  0.26   0.18  0.05
    1          0.77 + 0.162 + 0.232  0.18   0.05  0.05
    2                  0.77 + 0.162  0.05   0.01  0.05

    Args:
        model: A TransformerLens model in eval mode; its parameters stay as they are.
        texts: Neutral text, which belongs to no task that is studied: strings, chats or lists of token ids.
        seed: Seed of the random units and of the intervals; the same seed gives the same result.
        n: Largest number of texts that are read, evenly spread over those given; None reads all.
        max_tokens: Largest number of tokens that are read of each text.
        least: The smallest cost that is called, in nats a token: .1 is a tenth more perplexity.
        n_candidates: Number of units that the screens of the untouched model name.
        n_pairs: Number of units of which all pairs are lesioned.
        n_null: Number of random units that are lesioned one by one; 59 say with 95 % confidence that at most 5 % of
            random units are called.
        largest: Largest number of units of a group.
        n_bootstrap: Number of times the texts are resampled for the intervals.
        batch_tokens: Largest number of tokens in a forward pass, padding counted; it changes speed and memory only.
        progress: Show a progress bar.

    Returns:
        What each candidate and set costs, which are called, and as ``.network`` all units that are.

    Raises:
        InputError: Fewer than two texts, too few or too short ones, too few random units, more lesions than the model
            has units, or a model without MLP neurons, readable output weights or gradients.
    """
    host.require_eval(model, "collapse_neurons")
    space = resolve_site(model, "mlp.neurons").space
    _check_numbers(space, least, n, max_tokens, n_candidates, n_pairs, n_null, largest)
    ids, about = beginnings(model, texts, n, max_tokens)
    at_rest = screens(model, ids, batch_tokens)
    candidates = interleaved(at_rest, n_candidates)
    null = random_units(space, candidates, n_null, seed)
    total = most_lesions(n_candidates, n_pairs, n_null, largest)
    with StudyRuns(
        model, n_conditions=total, title="collapse neurons", batch_tokens=batch_tokens, progress=progress
    ) as runs:
        search = _Search(model, space, ids, runs, batch_tokens, least, n_pairs)
        search.random = null
        search.lesion([(unit,) for unit in null])
        search.alone += candidates
        search.lesion([(unit,) for unit in candidates])
        search.try_pairs(at_rest)
        search.grow(search.beginning_of_group(at_rest["written"], largest), largest)
    settings = {"seed": seed, "n_candidates": n_candidates, "n_pairs": n_pairs, "n_bootstrap": n_bootstrap}
    return search.result(at_rest, {**about, **settings, "model_dtype": host.number_type(model)})


def most_lesions(n_candidates: int, n_pairs: int, n_null: int, largest: int) -> int:
    """Largest number of readings of the texts that a search takes, that of the untouched model included.

    Args:
        n_candidates: Number of units that the screens of the untouched model name.
        n_pairs: Number of units of which all pairs are lesioned.
        n_null: Number of random units.
        largest: Largest number of units of a group.
    """
    alone = n_candidates + 3 * n_pairs  # screens of the two lesioned models, and those that only pairs need
    pairs = n_pairs * (n_pairs - 1) // 2 + 2 * n_pairs
    grown = 3 * n_pairs + max(largest - 2, 0) * (n_pairs + 1)
    return 1 + n_null + alone + pairs + grown + 2 * -(-n_null // SHARE_OF_PARTNERS)


def random_units(space: UnitSpace, avoid: Sequence[int], n: int, seed: int) -> list[int]:
    """Random units of the layers of some others, by turns as many of each, none of them one of these.

    Args:
        space: The units.
        avoid: Units whose layers count and which are not drawn.
        n: Number of units; where those layers have fewer, the others are of any layer.
        seed: Seed of the draw; the same seed gives the same units.
    """
    rng = np.random.default_rng([seed, 0])
    free = np.ones(space.n_units, dtype=bool)
    free[list(avoid)] = False
    layers = rng.permutation(space.layer_of[list(avoid)]).tolist()
    pools = {}
    for layer in dict.fromkeys(layers):
        span = space.layer_slice(layer)
        pools[layer] = (rng.permutation(np.flatnonzero(free[span])) + span.start).tolist()
    drawn: list[int] = []
    while len(drawn) < n and any(pools.values()):
        drawn += [pools[layer].pop() for layer in layers if pools[layer]]
    drawn = drawn[:n]
    free[drawn] = False
    others = rng.permutation(np.flatnonzero(free))[: n - len(drawn)]
    return [*drawn, *others.tolist()]


@dataclass
class _Search:
    """Lesions of one search, and what was called so far."""

    model: HookedModel
    space: UnitSpace
    ids: Beginnings
    runs: StudyRuns
    batch_tokens: int
    least: float
    n_pairs: int
    random: list[int] = field(default_factory=list)
    known: dict[frozenset[int], Float[np.ndarray, " text"]] = field(default_factory=dict)  # nats a token lost
    alone: list[int] = field(default_factory=list)  # candidates, in the order of their lesions
    pairs: list[Units] = field(default_factory=list)
    groups: list[tuple[Units, bool]] = field(default_factory=list)  # that grew, and whether it is called
    partners: list[float] = field(default_factory=list)
    additions: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.battery = Battery.from_texts({"texts": self.ids})
        self.tokens = np.array([len(one) - 1 for one in self.ids])
        scores = self.runs.untouched(self.battery)
        self.untouched = scores[:, METRICS.index("log_likelihood")]

    def lesion(self, sets: Iterable[Units]) -> None:
        """Measure what some sets cost; those that are known are not read again."""
        new = [one for one in dict.fromkeys(map(frozenset, sets)) if one not in self.known]
        if not new:
            return
        silence = partial(inhibit, self.model)
        conditions = [
            Condition(f"{sorted(one)}", partial(silenced_units, silence, self.space, sorted(one))) for one in new
        ]
        scores, _ = self.runs.scores(f"{len(self.known):05d}", self.battery, conditions)
        losses = self.untouched - scores[..., METRICS.index("log_likelihood")]
        self.known |= dict(zip(new, losses, strict=True))

    def cost(self, units: Iterable[int]) -> float:
        """Nats a token that a set costs, every token counted once."""
        return float((self.known[frozenset(units)] * self.tokens).sum() / self.tokens.sum())

    def own(self, *units: int) -> float:
        """Sum of what units cost alone, those that cost nothing counted as nothing."""
        return sum(max(self.cost([unit]), 0.0) for unit in units)

    @property
    def null(self) -> Float[np.ndarray, " null"]:
        """Costs of random units that were not screened later."""
        return np.array([self.cost([unit]) for unit in self.random if unit not in self.alone])

    @property
    def threshold(self) -> float:
        return threshold_of(self.least, self.null, np.array(self.partners))

    def try_pairs(self, at_rest: dict[str, UnitScores]) -> None:
        """Lesion pairs of the first units of several kinds, and candidates with random partners."""
        costs = np.full(self.space.n_units, -np.inf)
        costs[self.alone] = [self.cost([unit]) for unit in self.alone]
        turns = {"cost": costs, "written": at_rest["written"], "half": at_rest["half"]}
        pairs: list[Units] = []
        for leader in interleaved({name: turns[name] for name in ("cost", "written")}, 2):
            without = Network.from_indices(self.space, [leader])
            screened = lesioned_screens(self.model, self.ids, self.batch_tokens, without)
            pairs += [(leader, unit) for unit in interleaved(screened, self.n_pairs)]
            turns[f"without {leader}"] = screened["gradient"]
        first = interleaved(turns, self.n_pairs)
        self._keep_alone([*first, *(unit for _, unit in pairs)])
        of_each_other = list(combinations(first, 2))
        known = set(map(frozenset, of_each_other))
        self.pairs = of_each_other + [pair for pair in dict.fromkeys(pairs) if frozenset(pair) not in known]
        # random units in the place of the second of a pair
        null = [unit for unit in self.random if unit not in self.alone][::SHARE_OF_PARTNERS]
        beside = [(first[number % len(first)], unit) for number, unit in enumerate(null)]
        self.lesion([*self.pairs, *beside])
        self.partners = [self.cost(pair) - self.own(*pair) for pair in beside]

    def together(self, units: Units) -> bool:
        """Whether units cost more than chance beyond what they cost apart, and at least twice that."""
        cost, apart = self.cost(units), self.own(*units)
        return cost - apart > self.threshold and cost >= 2 * apart

    def beginning_of_group(self, written: UnitScores, largest: int) -> Units:
        """The costliest pair that is called, else the fewest of the units that write most that are called together.

        Empty where there is neither.
        """
        if called := [pair for pair in self.pairs if self.together(pair)]:
            return max(called, key=self.cost)
        first = interleaved({"written": written}, self.n_pairs)
        nested = [tuple(first[:size]) for size in range(3, self.n_pairs + 1) if largest > 2]
        self.lesion([*((unit,) for unit in first), *nested])
        units = next((one for one in nested if self.together(one)), ())
        for unit in reversed(units):  # those that write least first
            others = tuple(one for one in units if one != unit)
            self.lesion([others])
            units = others if self.together(others) else units
        if len(units) == 2:
            self.pairs.append(units)
        return units if len(units) <= largest else ()

    def grow(self, group: Units, largest: int) -> None:
        """Add units to a group while they add more than random units do."""
        if not group or largest < 3:
            return
        self._keep_alone(group)
        null = [unit for unit in self.random if unit not in self.alone][::SHARE_OF_PARTNERS]
        if len(group) > 2:
            self.groups.append((group, True))
        # random units behind a pair, or in the place of the last of more
        beside = group if len(group) == 2 else group[:-1]
        self.lesion([beside, *((*beside, unit) for unit in null)])
        self.additions = [self._added(beside, unit) for unit in null]
        noise = max([self.threshold, *self.additions])
        while len(group) < largest:
            without = Network.from_indices(self.space, list(group))
            screened = lesioned_screens(self.model, self.ids, self.batch_tokens, without)
            tried = interleaved(screened, self.n_pairs)
            self.lesion([(*group, unit) for unit in tried])
            best = max(tried, key=lambda unit: self.cost([*group, unit]))
            self._keep_alone([best])
            more = self._added(group, best) > noise
            group = (*group, best)
            self.groups.append((group, more))
            if not more:
                return

    def _keep_alone(self, units: Iterable[int]) -> None:
        """Lesion units alone that no earlier step did, and show them."""
        new = [unit for unit in dict.fromkeys(units) if unit not in self.alone]
        self.alone += new
        self.lesion([(unit,) for unit in new])

    def _added(self, group: Units, unit: int) -> float:
        """What a unit adds to a group beyond its own cost."""
        return self.cost([*group, unit]) - self.cost(group) - self.own(unit)

    def _apart(self, group: Units) -> float:
        """What the parts of a group cost: the group before and its last unit, or all its units where it began so."""
        before = group[:-1]
        grew = any(before == one for one in [*self.pairs, *(each for each, _ in self.groups)])
        return self.cost(before) + self.own(group[-1]) if grew else self.own(*group)

    def result(self, at_rest: dict[str, UnitScores], about: dict[str, Any]) -> Collapse:
        """Everything that was lesioned but random units, with what is called."""
        singles: list[Units] = [(unit,) for unit in self.alone]
        sets = [*singles, *self.pairs, *(group for group, _ in self.groups)]
        width = max(map(len, sets))
        apart = [
            *np.zeros(len(singles)),
            *(self.own(*pair) for pair in self.pairs),
            *map(self._apart, (group for group, _ in self.groups)),
        ]
        found = [
            *(self.cost(one) > self.threshold for one in singles),
            *map(self.together, self.pairs),
            *(called for _, called in self.groups),
        ]
        places = {name: ranks(scores)[self.alone] for name, scores in at_rest.items()}
        layers, units = zip(*map(self.space.locate, self.alone), strict=True)
        return Collapse(
            space=self.space,
            sets=np.array([[*one, *[-1] * (width - len(one))] for one in sets]),
            items=np.array([self.known[frozenset(one)] for one in sets]),
            apart=np.array(apart, dtype=float),
            found=np.array(found),
            tokens=self.tokens,
            ranks=pd.DataFrame({"layer": layers, "unit": units, **places}),
            random=self.null,
            partners=np.array(self.partners),
            additions=np.array(self.additions),
            least=self.least,
            baseline=float(-(self.untouched * self.tokens).sum() / self.tokens.sum()),
            provenance=about,
        )


def _check_numbers(
    space: UnitSpace,
    least: float,
    n: int | None,
    max_tokens: int,
    n_candidates: int,
    n_pairs: int,
    n_null: int,
    largest: int,
) -> None:
    """Refuse settings that no search can have."""
    if least < 0 or not np.isfinite(least):
        raise InputError(f"least={least} is no cost in nats a token; give 0 or more, such as 0.1")
    if max_tokens < 2 or (n is not None and n < 2):
        raise InputError(f"n={n} texts of max_tokens={max_tokens} tokens predict nothing; give at least 2 of each")
    if n_candidates < 2 or n_pairs < 2 or largest < 2:
        raise InputError(
            f"n_candidates={n_candidates}, n_pairs={n_pairs} and largest={largest} must be at least 2 each: units are "
            "also lesioned two together"
        )
    if n_null < LEAST_NULL:
        raise InputError(f"n_null={n_null} random units cannot show p = .05; give at least {LEAST_NULL}, better 59")
    needed = n_candidates + 3 * n_pairs + n_null
    if space.n_units < needed:
        raise InputError(
            f"{space.describe()} has {space.n_units} units, fewer than the {needed} that may be lesioned one by one; "
            f"give smaller n_candidates={n_candidates}, n_pairs={n_pairs} or n_null={n_null}"
        )
