"""Commands: help, one clear line on bad input, exit statuses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import tl_fbn as fbn
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


def prompts_file(folder: Path) -> Path:
    rows = [("a", f"{i} {i + 1} 3 sort") for i in range(60)] + [("b", f"add {i} {i + 2}") for i in range(60)]
    path = folder / "prompts.tsv"
    path.write_text("condition\tprompt\n" + "".join(f"{name}\t{text}\n" for name, text in rows))
    return path


SMALL = ("--runs", "3", "--cycles", "2", "--tokens-per-block", "12", "--no-progress")


def test_scan_records_and_comes_back_at_once(tmp_path):
    scan = ("scan", "demo", str(prompts_file(tmp_path)), "-o", str(tmp_path / "r"), *SMALL)
    planned = run(*scan, "--plan", cwd=tmp_path)
    assert planned.returncode == 0, planned.stderr
    assert "144 rows" in planned.stdout
    assert not (tmp_path / "r").exists()
    finished = run(*scan, "--site", "mlp.neurons", "--site", "resid.post", cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    recording = fbn.Recording.open(tmp_path / "r")
    assert recording.sites == ["mlp.neurons", "resid.post"]
    refused = run(*scan, cwd=tmp_path)
    assert refused.returncode == 2
    assert "holds a different recording (site: " in refused.stderr.strip().splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [2, 4])
def test_torchrun_divides_the_runs_and_the_bytes_are_those_of_one_process(ranks, tmp_path):
    scan = ("scan", "demo", str(prompts_file(tmp_path)), *SMALL)
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    alone = [sys.executable, "-m", "tl_fbn", *scan, "-o", str(tmp_path / "alone")]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    together = [*launcher, "-m", "tl_fbn", *scan, "-o", str(tmp_path / "together")]
    for command in (alone, together):
        finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert finished.returncode == 0, finished.stderr[-2000:]
    a, b = (
        {
            file.relative_to(tmp_path / name): file.read_bytes()
            for file in (tmp_path / name).rglob("*")
            if file.is_file()
        }
        for name in ("alone", "together")
    )
    assert a.keys() == b.keys()  # and nothing is left over
    assert [str(name) for name in a if a[name] != b[name] and name.name != "run.json"] == []
