"""Results that are kept as they come."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.helpers.models import tiny_model
from tl_fbn.acquisition.model.model_state import ModelState
from tl_fbn.acquisition.model.sites import resolve_site
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
        Unfinished(tmp_path / "s", {"seed": 1}).grow("a", 5, lambda known: map(one, range(len(known), 5)))
    made.append(-1)
    rows, notes = Unfinished(tmp_path / "s", {"seed": 1}).grow("a", 5, lambda known: map(one, range(len(known), 5)))
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


@pytest.mark.parametrize("text", ["", '{"key": "1', '{"key": "1"}', "[]", '{"fields": 3, "key": "1"}'])
def test_a_half_written_description_locks_no_folder(text, tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "study.json").write_text(text)
    kept = Unfinished(tmp_path / "s", {"seed": 1})
    assert json.loads((tmp_path / "s" / "study.json").read_text())["fields"] == {"seed": 1}
    kept.grow("a", 1, lambda start: [(np.zeros(1), {})])
    (tmp_path / "s" / "study.json").write_text(text)
    with pytest.raises(ValueError, match=r"study\.json is damaged.*give another folder, or delete"):
        Unfinished(tmp_path / "s", {"seed": 1})


def test_what_an_interrupted_write_left_locks_no_folder(tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / ".study.json.0a1b2c3d.part").write_text('{"ke')
    Unfinished(tmp_path / "s", {"seed": 1})
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="that is no study"):
        Unfinished(tmp_path / "other", {"seed": 1})


def test_of_two_studies_in_one_new_folder_one_is_refused(tmp_path):
    def begin(path, seed):
        try:
            return Unfinished(path, {"seed": seed})
        except ValueError as error:
            return str(error)

    with ThreadPoolExecutor(2) as pool:
        for trial in range(20):
            folders = [tmp_path / str(trial)] * 2
            begun = list(pool.map(begin, folders, (1, 2)))
            refused = [one for one in begun if isinstance(one, str)]
            assert len(refused) == 1
            assert "holds a different recording (seed" in refused[0]


def test_results_of_a_model_that_changed_are_not_kept(tmp_path):
    model = tiny_model()
    state = ModelState.of(model, resolve_site(model, "mlp.neurons").taps)
    kept = Unfinished(tmp_path / "s", {"seed": 1}, state)

    def results(start):
        yield np.zeros(1), {}
        next(model.parameters()).data.view(-1)[0] += 1
        yield np.ones(1), {}

    with pytest.raises(ValueError, match=r"model changed while it was read \(weights are others\)"):
        kept.grow("a", 2, results)
    assert not (tmp_path / "s" / "a.safetensors").exists()
