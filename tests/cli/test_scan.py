"""``tl-fbn scan`` and ``tl-fbn demo``: what they record and say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import tl_fbn as fbn
from tests.helpers.cli import ENVIRONMENT, answer, invoke, refused, run

SMALL = ("--runs", "3", "--cycles", "2", "--tokens-per-block", "12", "--no-progress")


def prompts_file(folder: Path) -> Path:
    rows = [("a", f"{i} {i + 1} 3 sort") for i in range(60)] + [("b", f"add {i} {i + 2}") for i in range(60)]
    path = folder / "prompts.tsv"
    path.write_text("condition\tprompt\n" + "".join(f"{name}\t{text}\n" for name, text in rows))
    return path


def test_scan_records_and_comes_back_at_once(tmp_path):
    scan = ("scan", "demo", prompts_file(tmp_path), "-o", tmp_path / "r", *SMALL)
    planned = invoke(*scan, "--plan")
    assert "144 rows" in planned.stdout
    assert not (tmp_path / "r").exists()
    found = answer(*scan, "--site", "mlp.neurons", "--site", "resid.post")
    recording = fbn.Recording.open(tmp_path / "r")
    assert recording.sites == ["mlp.neurons", "resid.post"]
    assert found["key"] == recording.key
    assert (found["rows"], found["runs"]) == (recording.n_rows, len(recording)) == (144, 3)
    assert found["units"] == {space.site: space.n_units for space in recording.spaces}
    assert found["bytes"] == 4 * 144 * sum(found["units"].values())
    assert found["conditions"] == recording.conditions == ["a", "b"]
    assert answer(*scan, "--site", "mlp.neurons", "--site", "resid.post")["key"] == recording.key
    assert "holds a different recording (site: " in refused(*scan)


@pytest.mark.slow
def test_the_plan_goes_to_standard_error_and_the_result_to_standard_output(tmp_path):
    finished = run("scan", "demo", prompts_file(tmp_path), "-o", "r", *SMALL, cwd=tmp_path)
    assert finished.returncode == 0
    assert finished.stdout.startswith("Recording at r: 3 runs, 144 rows")
    assert len(finished.stdout.splitlines()) == 1
    model, plan = finished.stderr.splitlines()  # no bars, no words of libraries
    assert model.startswith("tl_fbn-demo: GPTNeoXForCausalLM, 3 layers x 384 neurons")
    assert plan.startswith("Plan: 144 rows")


def test_chats_and_generated_rows(tmp_path):
    chats = {name: fbn.chats(name, n=20) for name in ("sort", "add")}
    file = tmp_path / "chats.jsonl"
    file.write_text("\n".join(json.dumps({"condition": n, "messages": c[:1]}) for n, of in chats.items() for c in of))
    small = ("--runs", "2", "--cycles", "2", "--tokens-per-block", "4", "--generate", "--tokens-per-prompt", "2")
    answer("scan", "demo", file, "-o", tmp_path / "r", *small, "--no-surprisal")
    recording = fbn.Recording.open(tmp_path / "r")
    assert recording.about["fields"]["generation"]["tokens_per_prompt"] == 2
    assert recording.n_rows == 2 * 2 * 2 * 4
    assert recording[0].rows["prompt"].nunique() == 8  # two prompts a block


def test_prompts_of_the_package(tmp_path):
    found = answer("scan", "demo", "demo:sort,rest", "-o", tmp_path / "r", "--plan")
    design = fbn.block_design({name: fbn.prompts(name) for name in ("sort", "rest")}, seed=0)
    assert found["rows"] == design.n_rows
    assert found["recording"] is None


@pytest.mark.usefixtures("unchecked")  # the type checker of tests knows the words a user may get wrong
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--order", "sideways"], "order must be 'alternate', 'off/on/off' or 'random'; got 'sideways'"),
        (["--site", "mlp.nonsense"], "mlp.nonsense"),
        (["--temperature", "1"], "give generate=True with it"),
        (["--model-dtype", "int8"], "dtype of a model must be 'auto', 'float32', 'bfloat16' or 'float16'; got 'int8'"),
        (["--runs", "400"], "are needed for 400 runs"),
        (["--layer", "9"], "layer"),
    ],
)
def test_what_cannot_be_scanned_is_refused(options, words, tmp_path):
    assert words in refused("scan", "demo", "demo:sort,rest", "-o", tmp_path / "r", *options)
    assert not (tmp_path / "r").exists()


@pytest.mark.slow
def test_the_demo_as_json(tmp_path):
    small = ("--controls", "3", "--items", "4", "--no-progress")
    finished = run("demo", "--out", "d", *small, "--json", cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    found = json.loads(finished.stdout)
    study = fbn.studies.LesionStudy.load(tmp_path / "d" / "lesions.safetensors")
    assert [line["drop"] for line in found["lesions"]] == study.to_dataframe()["drop"].tolist()
    assert (tmp_path / found["page"]).stat().st_size > 10_000
    assert "1/4 scan" in finished.stderr
    text = run("demo", "--out", "d", *small, cwd=tmp_path)
    assert text.stdout.startswith("Networks found")
    assert "reused the recording" in text.stderr
    assert answer("report", tmp_path / "d")["results"]  # what the demo leaves is a folder of results


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [2, 4])
def test_torchrun_divides_the_runs_and_the_bytes_are_those_of_one_process(ranks, tmp_path):
    scan = ("scan", "demo", str(prompts_file(tmp_path)), *SMALL)
    alone = [sys.executable, "-m", "tl_fbn", *scan, "-o", str(tmp_path / "alone")]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    together = [*launcher, "-m", "tl_fbn", *scan, "-o", str(tmp_path / "together")]
    for command in (alone, together):
        finished = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
        assert finished.returncode == 0, finished.stderr[-2000:]
        assert len(finished.stdout.splitlines()) == 1  # one process speaks
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
