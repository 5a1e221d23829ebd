"""The model of a command: loaded as asked for, and said in one line."""

from __future__ import annotations

import pytest
import torch

from tl_fbn.cli import model_argument
from tl_fbn.cli.console import Console


def test_a_command_says_what_it_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    model = model_argument.load(Console(), "demo", dtype="bfloat16", device="cpu", label="mine")
    assert next(model.parameters()).dtype == torch.bfloat16 and model.cfg.model_name == "mine"
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.endswith(
        "mine: GPTNeoXForCausalLM, 3 layers x 384 neurons, 0.35 M parameters, bfloat16, 1 MB on cpu\n"
    )
