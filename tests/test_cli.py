"""Commands: help, one clear line on bad input, exit statuses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tl_fbn import cli


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1]), "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [sys.executable, "-m", "tl_fbn", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        cwd=cwd,
        check=False,
    )


def test_help_lists_commands_and_shows_an_example():
    runner = CliRunner()
    assert "demo" in runner.invoke(cli.app, ["--help"]).output
    page = runner.invoke(cli.app, ["demo", "--help"])
    assert page.exit_code == 0
    assert "Example: tl-fbn demo" in page.output
    for option in ("--out", "--model", "--controls", "--seed"):
        assert option in page.output


def test_a_folder_that_is_not_there_is_one_line(tmp_path):
    finished = run("demo", "--model", "./nowhere", cwd=tmp_path)
    assert finished.returncode == 2
    assert (
        finished.stderr.strip().splitlines()[-1]
        == "tl-fbn: no folder at ./nowhere; give a folder with a Hugging Face model, or a name such as gpt2"
    )
    assert "Traceback" not in finished.stderr


def test_a_folder_without_a_model_is_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    finished = run("demo", "--model", "empty", cwd=tmp_path)
    assert finished.returncode == 2
    assert "tl-fbn: TransformerLens cannot load 'empty'" in finished.stderr
    assert "Traceback" not in finished.stderr


@pytest.mark.parametrize("arguments", [["nonsense"], ["demo", "--controls", "0"], ["demo", "--controls", "many"]])
def test_wrong_usage_exits_with_2(arguments):
    assert CliRunner().invoke(cli.app, arguments).exit_code == 2


def test_help_is_quick_because_nothing_heavy_is_imported():
    code = "import sys; from tl_fbn import cli; sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'transformer_lens', 'plotly')))"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
