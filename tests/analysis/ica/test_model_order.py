"""How many networks: planted numbers are proposed, noise is not."""

from __future__ import annotations

import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers.recordings import blocks
from tests.oracle.sources import planted
from tl_fbn.analysis.ica import model_order


def test_the_planted_number_is_proposed(tmp_path) -> None:
    recording, _, _ = planted(6)
    choice = fbn.choose_components(recording, (3, 6, 12), seed=0)
    assert choice.proposal == 6 and choice.agreed
    assert choice.n_above_chance == 6
    assert choice.table["n_components"].tolist() == [3, 6, 12]
    assert choice.table["explained"].is_monotonic_increasing
    choice.save(tmp_path / "c.safetensors")
    again = fbn.ica.ComponentChoice.load(tmp_path / "c.safetensors")
    assert repr(again) == repr(choice) == "ComponentChoice: 6 proposed; 6 of 22 directions exceed chance"


def test_noise_has_no_number_and_the_repr_says_so() -> None:
    rng = np.random.default_rng(0)
    noise = fbn.Recording.from_arrays(
        [[rng.normal(size=(80, 150))] for _ in range(4)], events=[blocks(["a", "b"] * 4, 10)] * 4
    )
    choice = fbn.choose_components(noise, (4, 8), seed=0)
    assert choice.n_above_chance <= 1 and not choice.agreed
    assert "no candidate is both stable and within chance's limit" in repr(choice)


def test_directions_above_chance_do_not_depend_on_the_candidates() -> None:
    """Twenty sources, and candidates that need far fewer directions than that."""
    recording, _, _ = planted(20)
    found = [fbn.choose_components(recording, tried, seed=0, n_restarts=2, n_null=2) for tried in ((2,), (3, 30))]
    assert [choice.n_above_chance for choice in found] == [20, 20]
    n = min(len(choice.variance) for choice in found)
    np.testing.assert_array_equal(found[0].variance[:n], found[1].variance[:n])
    np.testing.assert_array_equal(found[0].shuffled[:, :n], found[1].shuffled[:, :n])


def test_more_directions_above_chance_than_are_looked_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_order, "_N_DIRECTIONS", 4)
    recording, _, _ = planted(6)
    assert fbn.choose_components(recording, (3,), seed=0, n_restarts=2, n_null=2).n_above_chance == 6


def test_refusals() -> None:
    recording, _, _ = planted(3, n_runs=2)
    with pytest.raises(ValueError, match="give at least one candidate, two restarts, one shuffle"):
        fbn.choose_components(recording, (), seed=0)
    with pytest.raises(ValueError, match="500 networks need more than 500 rows"):
        fbn.choose_components(recording, (3, 500), seed=0)
