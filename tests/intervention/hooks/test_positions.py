"""Which tokens are touched, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.helpers.models import CPU
from tl_fbn.acquisition.model.pass_tokens import Reading
from tl_fbn.intervention.hooks.positions import where


class Model:
    tokenizer = type("Tokenizer", (), {"all_special_ids": [0, 9]})()


def touched(positions, reading: Reading, n: int) -> list[list[int]]:
    return where(positions, Model()).select(reading, n, CPU).int().tolist()


def test_a_first_pass_of_four_tokens():
    plain = Reading(0, ids=torch.tensor([[0, 5, 9, 5], [5, 5, 5, 0]]))
    assert touched("all", plain, 4) == [[1, 1, 1, 1]] or where("all", Model()).name == "all"
    assert touched("prompt", plain, 4) == [[1, 1, 1, 1]]
    assert touched("generated", plain, 4) == [[0, 0, 0, 0]]
    assert touched("last", plain, 4) == [[0, 0, 0, 1]]
    assert touched("special", plain, 4) == [[1, 0, 1, 0], [0, 0, 0, 1]]
    assert touched([0, 2, 7], plain, 4) == [[1, 0, 1, 0]]
    assert touched(np.array([False, True]), plain, 4) == [[0, 1, 0, 0]]
    assert touched(torch.tensor([[True, False], [False, True]]), plain, 4) == [[1, 0, 0, 0], [0, 1, 0, 0]]


def test_a_step_behind_a_cache():
    step = Reading(4, ids=torch.tensor([[9]]))
    assert touched("prompt", step, 1) == [[0]]
    assert touched("generated", step, 1) == touched("last", step, 1) == touched("special", step, 1) == [[1]]
    assert touched([4], step, 1) == [[1]]
    assert touched(np.ones(4, bool), step, 1) == [[0]]


def test_prompts_of_several_lengths():
    known = Reading(0, prompt=torch.tensor([2, 3]))
    assert touched("prompt", known, 4) == [[1, 1, 0, 0], [1, 1, 1, 0]]
    assert touched("generated", known, 4) == [[0, 0, 1, 1], [0, 0, 0, 1]]
    assert touched("last", known, 4) == [[0, 1, 1, 1], [0, 0, 1, 1]]


def test_special_tokens_need_ids():
    with pytest.raises(ValueError, match="given embeddings"):
        touched("special", Reading(0), 3)


def test_digests_tell_positions_apart():
    model = Model()
    given = ["all", "prompt", "generated", "last", "special", [1], [2], np.ones(3, bool), np.ones((1, 4), bool)]
    assert len({where(one, model).digest for one in given}) == len(given)
