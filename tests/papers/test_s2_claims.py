"""Claims of the block-design protocol, read off numbers that are planted."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

import tl_fbn as fbn
from tl_fbn.analysis.networks.identification import Identification
from tl_fbn.papers import s2_claims

TASKS = ["a", "b", "c"]
SITES = ["one", "two"]


def networks(members: dict[str, range]) -> dict:
    """The same units at both sites and by every selection."""
    spaces = {"one": fbn.UnitSpace("one", (60, 60)), "two": fbn.UnitSpace("two", (100,))}
    return {
        (site, chosen): fbn.Atlas.from_networks(
            {name: fbn.Network.from_indices(space, of) for name, of in members.items()}
        )
        for site, space in spaces.items()
        for chosen in s2_claims.SELECTIONS
    }


FOUND = networks({"a": range(20), "b": range(10, 30), "c": range(25, 45)})


def test_overlaps_over_all_sites_are_those_of_the_joint_sets():
    table = s2_claims.overlap_table(FOUND, SITES, TASKS, 0)
    assert len(table) == 3 * 3 * 3
    line = table.query("selection == 'sized' and site == 'all' and a == 'a' and b == 'b'").iloc[0]
    assert line["dice"] == pytest.approx(2 * 20 / 80)
    # layer-matched: 20 * 20 / 60 of site one, and 20 * 20 / 100 of site two
    assert line["by chance"] == pytest.approx(2 * (400 / 60 + 400 / 100) / 80)
    square = s2_claims.dice_square(table, TASKS)
    assert square.set_index("network").loc["b", "a"] == pytest.approx(0.5) and square.iloc[0, 1] == 1
    sizes = s2_claims.size_table(FOUND, SITES, TASKS)
    assert sizes.query("site == 'two'")["a"].tolist() == [0.2, 0.2]


def identified(right: int) -> Identification:
    table = np.diag([right, right, right]) + np.roll(np.diag([6 - right] * 3), 1, axis=1)
    return Identification(tuple(TASKS), table, "correlation", 0.001 if right > 3 else 0.4, 999)


def claims(related: tuple[str, str] | None, right: int, within: float) -> list:
    overlaps = s2_claims.overlap_table(FOUND, SITES, TASKS, 0)
    lines = [
        (site, task, within + 0.01 * i, 0.1, 0.5 + within / 2)
        for site, (i, task) in itertools.product(SITES, enumerate(TASKS))
    ]
    likeness = pd.DataFrame(lines, columns=["site", "task", "dice_within", "dice_between", "discriminability"])
    about = {"conditions": TASKS, "related": related, "sites": SITES, "runs": 6, "tokens": 32}
    return s2_claims.claims(overlaps, likeness, {site: identified(right) for site in SITES}, "one", about)


def test_claims_follow_their_numbers():
    distinct, largest, repeat, told = claims(("b", "a"), 6, 0.9)
    assert distinct.verdict == "holds in part"  # a and c share nothing
    assert largest.verdict == "holds" and largest.found == pytest.approx(0.5) and largest.p == pytest.approx(1 / 3)
    assert repeat.verdict == "holds" and repeat.p == 1 / 8
    assert told.verdict == "holds" and told.found == 1


def test_and_do_not_hold_where_the_numbers_do_not():
    _, largest, repeat, told = claims(("a", "c"), 2, 0.05)
    assert largest.verdict == "does not hold" and "Rank 3 of 3" in largest.reading
    assert repeat.verdict == "does not hold" and told.verdict == "does not hold"
    assert len(claims(None, 6, 0.9)) == 3
