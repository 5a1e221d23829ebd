"""What a lesion study says in words: idle networks are named, and nothing is concluded from too few controls."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

import tl_fbn as fbn
from tests.helpers.lesions import made_up_study


def study_of(own: list[list[float]], *, n_controls: int = 39, chance: float = 0.1) -> fbn.studies.LesionStudy:
    """Networks a, b ... whose lesions cost each task these shares of 20 items; every control costs one share."""
    items = np.array([[[1.0] * round(20 * rate) + [0.0] * (20 - round(20 * rate)) for rate in line] for line in own])
    controls = np.zeros((len(own), n_controls, len(own), 20))
    controls[..., : round(20 * chance)] = 1
    return made_up_study(items, controls)


def test_networks_that_do_nothing_are_named_first() -> None:
    said = study_of([[0.8, 0.1, 0.1], [0.1, 0.1, 0.1], [0.1, 0.9, 0.5]]).verdict().splitlines()
    assert said == [
        "1 of 3 networks is isolated (the own task loses more than any other, by the 95 % interval of isolation, and "
        "more than under random networks, p <= 0.05): a 0.78 [0.41, 1.00].",
        "No double dissociation can be shown (p < 0.01): that takes 100 controls that were all lesioned.",
        "Not isolated: b (a loses as much); c (b loses more).",
        "Silencing b costs its own task no more than random networks do (10 points; 95 % of them cost at most 10 "
        "points; p = 1): nothing shows that this network is needed, and maybe its task does not hang on few units.",
        "Silencing c costs b at least as much as its own task (90 points and 50 points): it is needed, and not for c "
        "alone.",
        "Silencing costs the own task more than random networks do (p <= 0.05) and more than any other task loses: a.",
    ]


def test_isolation_is_claimed_where_it_is_shown() -> None:
    every = study_of([[0.8, 0.0, 0.2], [0.1, 0.9, 0.1], [0.0, 0.0, 0.9]], n_controls=100).verdict().splitlines()
    assert re.findall(r"(\w) (0\.\d\d|1\.00) \[0\.\d\d, ", every[0]) == [("c", "1.00"), ("b", "0.80"), ("a", "0.60")]
    assert (
        every[0].startswith("3 of 3 networks are isolated") and every[1] == "3 of 3 pairs dissociate doubly (p < 0.01)."
    )
    assert not any("Not isolated" in line for line in every)
    # half of 20 items against a fifth: more in this sample, but not by its interval; nothing lost; no more than chance
    none = (
        study_of([[0.5, 0.2, 0.1], [0.0, 0.0, 0.0], [0.0, 0.0, 0.6]], n_controls=100, chance=0.6).verdict().splitlines()
    )
    assert none[0].startswith("0 of 3 networks are isolated") and none[0].endswith("p <= 0.05).")
    assert none[1:3] == [
        "0 of 3 pairs dissociate doubly (p < 0.01).",
        "Not isolated: a (by its interval b may lose as much); b (no task loses); c (random networks cost its task as "
        "much).",
    ]
    assert "isolated" not in study_of([[0.8]]).verdict()  # one task: no other one to be isolated from


def test_networks_of_no_task() -> None:
    named = study_of([[0.8, 0.1], [0.1, 0.1]])
    other = replace(named, networks=("N00", "N01"), discovery={"N00": "disjoint", "N01": "disjoint"})
    assert other.verdict() == (
        "Silencing N01 costs none of 2 tasks more than random networks do (smallest p = 1): nothing shows that a task "
        "here needs this network."
    )


def test_few_controls_conclude_nothing() -> None:
    said = study_of([[0.8, 0.1], [0.1, 0.1]], n_controls=5).verdict()
    assert said == (
        "5 random networks cannot show that a lesion costs more than chance (p is at least 0.17); take 19 or more."
    )


def test_log_likelihood_has_its_unit() -> None:
    assert "0.100 nats a token; " in study_of([[0.1, 0.0], [0.9, 0.9]]).verdict(metric="log_likelihood")


def test_printing_a_study_says_what_it_found_within_a_line() -> None:
    study = study_of([[0.8, 0.1], [0.1, 0.1]])
    first, *table = str(study).splitlines()
    assert first == repr(study)
    assert table[0].split() == ["network", "own", "other_worst", "worst_task", "isolation", "isolation_low", "p"]
    assert max(map(len, table[:3])) <= 80
    assert "\n".join(table[3:]) == study.verdict()
    assert list(study.to_dataframe(columns="main")) == [
        *("network", "task", "baseline", "lesioned", "drop", "control_p95", "p")
    ]
    assert list(study.summary(columns="main")) == table[0].split()
    assert len(study.summary().columns) > 6 and len(study.to_dataframe().columns) > 9
    other = replace(study, networks=("N00", "N01"), discovery={"N00": "disjoint", "N01": "disjoint"})
    assert "baseline" in str(other).splitlines()[1]
