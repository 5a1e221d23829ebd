"""Claims of the CGVST protocol, read off numbers that are planted."""

from __future__ import annotations

import numpy as np
import pytest

import tl_fbn as fbn
from tl_fbn.papers import s1_claims
from tl_fbn.papers.conditions import Scored, own_and_others

TASKS = ["a", "b", "c"]
SPACE = fbn.UnitSpace("mlp.neurons", (50, 50))


def scores(matrix: np.ndarray, labels: list[str]) -> Scored:
    """Scores of three tasks with four items each that lose what a (condition, task) matrix says, give or take."""
    noise = np.tile([0.01, -0.01, 0.02, -0.02], 3)
    before = np.stack([np.ones(12), np.full(12, -0.5)], axis=1)
    lost = np.repeat(matrix, 4, axis=1) + noise
    after = np.stack([(lost < 1).astype(float), -0.5 - lost], axis=2)
    return Scored(labels, TASKS, np.array([4, 4, 4]), before, after, 0)


def claims(special: np.ndarray, answer: np.ndarray, gain: float) -> list:
    rows = {"special": special, "all": special, "answer": answer, "random": special, "better": answer}
    labels = [f"{tokens}: {name}" for tokens in rows for name in TASKS]
    lesions = scores(np.concatenate(list(rows.values())), labels)
    doubled = scores(np.full((3, 3), -gain), TASKS)
    drawn = {name: np.array([0.0, 0.1, 0.2]) for name in TASKS}
    silent = own_and_others(s1_claims.called(lesions, "special"), TASKS, drawn)
    ours = own_and_others(s1_claims.called(lesions, "better"), TASKS, drawn)
    louder = own_and_others(doubled, TASKS, drawn)
    at = {(one, s1_claims.LARGE): s1_claims.called(lesions, one) for one in s1_claims.TOKENS}
    at |= {(one, s1_claims.SMALL["least"]): s1_claims.called(lesions, "better") for one in s1_claims.TOKENS}
    tokens = s1_claims.token_table(at, TASKS)
    networks = {name: fbn.Network.from_indices(SPACE, range(i, i + 20)) for i, name in enumerate(TASKS)}
    overlaps = s1_claims.overlap_table(networks, 0)
    about = {"items": 4, "controls": 3}
    return s1_claims.claims(silent, louder, ours, tokens, overlaps, doubled, about)


def test_what_breaks_everything_is_nobodys_own():
    everything, own = np.full((3, 3), 9.0), 3 * np.eye(3)
    needed, specific, amplified, by_tokens, shared, better = claims(everything, own, 0.3)
    assert needed.verdict == "holds" and needed.found == pytest.approx(9.0)
    assert specific.verdict == "does not hold" and specific.found == pytest.approx(0.0)
    assert amplified.verdict == "holds" and amplified.found == pytest.approx(0.3)
    assert by_tokens.verdict == "does not hold" and "answer 3.00 (3 isolated)" in by_tokens.reading
    assert "special 3, all 3, answer 3, random 3 isolated" in by_tokens.reading
    assert shared.verdict == "holds" and shared.found > 0.8
    assert better.verdict == "holds" and better.control == pytest.approx(0.0)


def test_own_networks_at_special_tokens_hold():
    needed, specific, amplified, by_tokens, _, _ = claims(3 * np.eye(3), np.full((3, 3), 0.5), -0.3)
    assert (needed.verdict, specific.verdict, by_tokens.verdict) == ("holds", "holds", "does not hold")
    assert amplified.verdict == "does not hold"  # and special tokens are no better than all: they are the same here


def test_jaccard_is_that_of_the_sets():
    networks = {"a": fbn.Network.from_indices(SPACE, range(20)), "b": fbn.Network.from_indices(SPACE, range(10, 30))}
    line = s1_claims.overlap_table(networks, 0).iloc[0]
    assert line["shared"] == 10 and line["jaccard"] == pytest.approx(10 / 30)
    assert line["by chance"] == pytest.approx((20 * 20 / 50) / (40 - 20 * 20 / 50))
