"""^C at any moment leaves no hook, no flag and no replaced method on the model: :mod:`tests.faults.interrupted`."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.helpers.paths import ROOT


def found(*arguments: str) -> dict:
    command = [sys.executable, "-m", "tests.faults.interrupted", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


FEW = ("inhibit, last", "retain, generated, a pass", "nested", "reader", "only_network", "watching")


def test_an_interrupt_leaves_nothing_behind() -> None:
    seen = found("steps", "12", *FEW)
    assert (seen["blocks"], seen["lost"], seen["left"]) == (len(FEW), 0, {})
    assert seen["interrupts"] >= 42


@pytest.mark.slow
@pytest.mark.parametrize(("how", "n"), [("random", "1000"), ("steps", "15")])
def test_a_thousand_interrupts_of_every_block_leave_nothing_behind(how: str, n: str) -> None:
    seen = found(how, n)
    assert seen["left"] == {}
    assert seen["interrupts"] >= 1000
    # at single steps a few in a thousand are swallowed, where is not yet known; they leave nothing behind either
    assert seen["lost"] <= (0 if how == "random" else seen["interrupts"] // 100)
