"""The model of a command: loaded as asked for, and said in one line."""

from __future__ import annotations

import pytest
import torch

from tl_fbn.cli import model_argument
from tl_fbn.cli.console import Console
from tl_fbn.models import is_fast


def test_a_command_says_what_it_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    model = model_argument.load(Console(), "demo", dtype="bfloat16", device="cpu", label="mine")
    assert next(model.parameters()).dtype == torch.bfloat16 and model.cfg.model_name == "mine"
    said = capsys.readouterr()
    assert said.out == ""
    loaded, *slow = said.err.splitlines()[-1 if is_fast("bfloat16", "cpu") else -2 :]
    assert loaded == "mine: GPTNeoXForCausalLM, 3 layers x 384 neurons, 0.35 M parameters, bfloat16, 1 MB on cpu"
    assert slow in ([], ["this processor has no arithmetic of bfloat16: --dtype float32 is several times faster here"])
