"""Commands as tests call them, and a recording for them to read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import tl_fbn as fbn
from tests.helpers.paths import ROOT
from tests.helpers.recordings import blocks
from tl_fbn import cli

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


def run(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A command as its users run it."""
    command = [sys.executable, "-m", "tl_fbn", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, cwd=cwd, check=False)


def invoke(*arguments: str | Path) -> Any:
    """A command in this process; what nobody expected is raised."""
    result = CliRunner().invoke(cli.app, list(map(str, arguments)))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def answer(*arguments: str | Path) -> dict[str, Any]:
    """The JSON of a command that must succeed."""
    result = invoke(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


def refused(*arguments: str | Path) -> str:
    """The one line of a command that must be refused."""
    result = invoke(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    *notes, line = result.stderr.strip().splitlines()
    assert line.startswith("tl-fbn: ")
    assert not any(note.startswith(("Traceback", "tl-fbn:")) for note in notes)
    return line.removeprefix("tl-fbn: ")


def planted(folder: Path, *, site: str = "mlp.neurons", seed: int = 0) -> fbn.Recording:
    """Four runs of noise on disk, 2 layers of 20 and 30 units, in which units 3 and 27 follow a, and 40 to 44 one
    course.
    """
    rng = np.random.default_rng(seed)
    runs = []
    for _ in range(4):
        shown = np.repeat([1.0, 0.0] * 6, 10)[:, None]
        noise = rng.normal(size=(120, 50))
        noise[:, [3, 27]] += 3 * shown
        noise[:, 40:45] += 2 * rng.laplace(size=(120, 1))
        runs.append([noise[:, :20], noise[:, 20:]])
    return fbn.Recording.from_arrays(runs, events=[blocks(["a", "b"] * 6, 10)] * 4, path=folder, site=site)
