"""Results that are kept as they come."""

from __future__ import annotations

import numpy as np
import pytest

from tl_fbn.intervention.studies import resume as unfinished
from tl_fbn.intervention.studies.resume import Unfinished


def test_results_are_made_once(tmp_path, monkeypatch):
    monkeypatch.setattr(unfinished, "SAVE_EVERY", 0.0)  # after every result
    made = []

    def one(number):
        if number == 3 and len(made) == 3:
            raise KeyboardInterrupt
        made.append(number)
        return np.full((2, 2), number), {"first": [1]} if number == 0 else {}

    with pytest.raises(KeyboardInterrupt):
        Unfinished(tmp_path / "s", {"seed": 1}).grow("a", 5, lambda start: map(one, range(start, 5)))
    made.append(-1)
    rows, notes = Unfinished(tmp_path / "s", {"seed": 1}).grow("a", 5, lambda start: map(one, range(start, 5)))
    assert made == [0, 1, 2, -1, 3, 4]
    assert rows[:, 0, 0].tolist() == [0, 1, 2, 3, 4]
    assert notes == {"first": [1]}
    with pytest.raises(ValueError, match="seed: 1 there, 2 here"):
        Unfinished(tmp_path / "s", {"seed": 2})


def test_damage_is_an_error(tmp_path):
    kept = Unfinished(tmp_path / "s", {"seed": 1})
    kept.grow("a", 1, lambda start: [(np.zeros(1), {})])
    (tmp_path / "s" / "a.safetensors").write_bytes(b"no")
    with pytest.raises(ValueError, match="damaged"):
        kept.grow("a", 2, lambda start: [(np.zeros(1), {})])
