"""Claims of the ICA protocol, read off numbers that are planted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import tl_fbn as fbn
from tl_fbn.analysis.networks.connectivity import Connectivity
from tl_fbn.analysis.networks.recurrence import Recurrence
from tl_fbn.papers import s0_claims
from tl_fbn.papers.conditions import Scored
from tl_fbn.papers.s0_masks import Variances
from tl_fbn.papers.s0_tables import Evidence

SPACE = fbn.UnitSpace("mlp.out", (20, 20))
TASKS = ["a", "b", "c"]


def scores(losses: dict[str, float]) -> Scored:
    """Scores of three tasks with four items each, right but for losses above 1 nat; the same loss for every item."""
    before = np.tile([1.0, -0.5], (12, 1))
    after = np.array([np.tile([float(lost < 1), -0.5 - lost], (12, 1)) for lost in losses.values()])
    return Scored(list(losses), TASKS, np.array([4, 4, 4]), before, after, 0)


def evidence(masked: dict[str, float], kept: float = 9.0, added: float = 0.2, pruned: float = 4.0) -> Evidence:
    """What a run would have measured, with what masks cost given."""
    some = fbn.Network.from_indices(SPACE, [1, 2])
    lost = {f"K=10: {name}": cost for name, cost in masked.items()}
    lost |= {f"K=10: {kind} {n}": 0.1 * n for kind in ("layer-matched", "variance-matched") for n in range(5)}
    lost |= {"corrected: union": 0.5} | {f"corrected: variance-matched {n}": 0.1 for n in range(5)}
    keep = {"K=10: union": kept} | {f"K=10: layer-matched {n}": 12.0 for n in range(5)}
    single = {"N00": 3.0, "N01": 0.0} | {f"N0{i}: control {n}": 0.1 for i in range(2) for n in range(3)}
    louder = {"N00": -added, "N01": 0.5} | {f"N0{i}: control {n}": 0.0 for i in range(2) for n in range(3)}
    about: dict[str, Any] = {"networks": [10], "tasks": TASKS, "items": 4, "controls": 5, "few": 3}
    again = Recurrence(("N00", "N01"), np.array([9, 1]), np.array([7, 1]), 10, np.ones((19, 2), int), 0.2, "ica")
    together = Connectivity(("N00", "N01"), "pearson", np.eye(2), np.eye(2), np.eye(2))
    models = {"intact": 3.0, "networks kept": 5.0, "and compensated": pruned}
    models |= {"random 0": 9.0, "random 0, compensated": 8.0}
    columns = ["model", "perplexity", "parameters", "exact match", "log-likelihood"]
    table = pd.DataFrame([(name, value, 0.8, 0.5, -1.0) for name, value in models.items()], columns=columns)
    variances = Variances(SPACE, np.ones(40), np.ones(40), 0.7)
    networks = dict.fromkeys([*lost, *keep], some)
    corrected = fbn.Atlas.from_networks({"N00": some})
    runs = (scores(lost), scores(keep), scores(single), scores(louder))
    return Evidence(about, variances, networks, {"N00": some, "N01": some}, *runs, again, together, corrected, table)


def verdicts(found: Evidence) -> list[str]:
    return [one.verdict for one in s0_claims.claims(found)]


def test_a_collapse_by_five_units_is_trivial():
    found = s0_claims.claims(evidence({"union": 10.0, "without five": 1.5, "five": 9.5, "first tokens": 9.0}))
    collapse = found[1]
    assert collapse.verdict == "holds in part" and collapse.found == pytest.approx(10.0)
    assert (
        "a trivial reason" in collapse.reading
        and "the 5 of largest variance alone (2 units) cost 9.5" in collapse.reading
    )
    assert collapse.p == pytest.approx(1 / 6) and collapse.control == pytest.approx(0.2)


def test_a_collapse_of_the_rest_holds():
    found = s0_claims.claims(evidence({"union": 10.0, "without five": 8.0, "five": 0.3}))
    assert found[1].verdict == "holds" and "trivial" not in found[1].reading


def test_no_collapse_does_not_hold():
    found = s0_claims.claims(evidence({"union": 0.1, "without five": 0.1, "five": 0.0}))
    assert found[1].verdict == "does not hold" and "It does not collapse." in found[1].reading


def test_the_other_claims_follow_their_numbers():
    few = {"union": 0.1, "five": 0.0}
    assert verdicts(evidence(few)) == [
        "holds in part",  # one of two networks comes back beyond chance
        "does not hold",
        "holds",  # one of two single networks matters
        "does not hold",  # kept: 9 nats lost
        "holds in part",  # one of two gains
        "holds",
        "holds",
    ]
    assert verdicts(evidence(few, kept=0.1))[3] == "holds"
    assert verdicts(evidence(few, added=-0.1))[4] == "does not hold"
    assert verdicts(evidence(few, pruned=8.5))[5] == "does not hold"
    assert verdicts(evidence(few, pruned=7.0))[5] == "holds in part"
