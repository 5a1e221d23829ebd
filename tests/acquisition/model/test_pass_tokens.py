"""The tokens of a pass: positions in texts that are padded."""

from __future__ import annotations

import torch

from tests.helpers.models import CPU
from tl_fbn.acquisition.model.pass_tokens import Reading


def test_positions_do_not_count_padding():
    reading = Reading(0, mask=torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]]))
    assert reading.positions(4, CPU).tolist() == [[0, 0, 0, 1], [0, 1, 2, 3]]
    later = Reading(4, mask=torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]]))
    assert later.positions(1, CPU).tolist() == [[2], [4]]
    assert Reading(4).positions(2, CPU).tolist() == [[4, 5]]
