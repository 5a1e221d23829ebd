"""``--tasks FILES``: the same files for scan, cgvst, lesion and demo, without a script between them."""

from __future__ import annotations

import json

import pytest

import tl_fbn as fbn
from tests.helpers.cli import answer, invoke, refused
from tl_fbn.acquisition.design.block_design import prompt_digest
from tl_fbn.cli.task_options import read_tasks, with_repeated_option
from tl_fbn.intervention.behaviour.task_rows import key_of


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two tasks of the embedded model as files."""
    folder = tmp_path_factory.mktemp("tasks")
    rows = fbn.demo.tasks(n=60)
    made = []
    for name in ("upper", "count"):
        lines = [(row.input, row.output) for half in ("discovery", "evaluation") for row in rows.rows(name, half)]
        made.append(folder / f"{name}.jsonl")
        made[-1].write_text(
            "\n".join(json.dumps({"instruction": name, "input": one, "output": out}) for one, out in lines)
        )
    return made


FORM = ("--shots", "0", "--template", "[INST] {instruction} : {input} [/INST]")


def test_several_files_follow_one_option():
    words = ["lesion", "gpt2", "a.safetensors", "--tasks", "a.json", "b.CSV", "--items", "3"]
    assert with_repeated_option(words) == [*words[:5], "--tasks", "b.CSV", *words[6:]]
    assert with_repeated_option(["scan", "m.gguf", "--tasks", "a.json", "m.gguf"]) == [
        *("scan", "m.gguf", "--tasks", "a.json", "m.gguf")
    ]
    assert with_repeated_option(["scan", "a.tsv", "-o", "b.tsv"]) == ["scan", "a.tsv", "-o", "b.tsv"]
    assert with_repeated_option(["--tasks", "demo", "b.json"]) == ["--tasks", "demo", "--tasks", "b.json"]


def test_one_set_of_files_from_a_scan_to_a_lesion(files, tmp_path):
    """Three commands; what the first two read is disjoint from what the third scores."""
    results = tmp_path / "results"
    scan = answer("scan", "demo", "--tasks", *files, *FORM, "-o", tmp_path / "scan", "--runs", "1", "--cycles", "2")
    assert scan["conditions"] == ["upper", "count"]
    found = answer("cgvst", "demo", "--tasks", *files, *FORM, "--items", "20", "--top", "0.05", "-o", results)
    assert found["specific"] and [one["task"] for one in found["tasks"]] == ["upper", "count"]
    said = invoke("cgvst", "demo", "--tasks", *files, *FORM, "--items", "5", "-o", tmp_path / "again").stdout
    assert "count: 5 rows, 5 answer tokens scored, grad_x_act" in said
    assert "less the largest on any other task" in said
    networks = [one["network"] for one in found["tasks"]]
    lesions = answer(
        *("lesion", "demo", *networks, "--tasks", *files, *FORM, "--items", "12", "--controls", "4"),
        *("-o", results),
    )
    summary = {one["network"]: one for one in lesions["summary"]}
    assert summary["upper"]["own"] > 0.5 > summary["upper"]["other_worst"]
    assert {one["discovery"] for one in lesions["lesions"]} == {"disjoint"}
    # the recording's prompts are of the half that no lesion is scored on
    tasks = read_tasks(list(map(str, files)), shots=0, head="drawn", template=FORM[-1], chat=False)
    shown = set(fbn.load(tmp_path / "scan").provenance["prompts"])
    halves = {
        half: {prompt_digest(text) for prompts in tasks.prompts(half).values() for text in prompts}
        for half in ("discovery", "evaluation")
    }
    assert shown & halves["discovery"] and not shown & halves["evaluation"]


def test_the_halves_are_those_of_python(files):
    tasks = read_tasks(list(map(str, files)), shots=2, head="fixed", template="{input} ->", chat=False, only=["count"])
    same = fbn.Tasks(files, shots=2, head="fixed", template="{input} ->").select(["count"])
    assert tasks.prompts() == same.prompts()
    assert {key_of(row) for row in tasks.rows("count")} == {key_of(row) for row in same.rows("count")}


def test_what_cannot_be_is_refused_before_a_model_is_loaded(files, tmp_path):
    out = ("-o", tmp_path / "out")
    assert refused("scan", "no/such/model/here", *out) == "give PROMPTS or --tasks FILES"
    assert refused("scan", "demo", "demo:sort,rest", "--tasks", files[0], *out) == (
        "give PROMPTS or --tasks FILES, not both"
    )
    assert refused("cgvst", "demo", *out) == "give CHATS or --tasks FILES"
    assert "no file at" in refused("cgvst", "demo", "--tasks", tmp_path / "none.json", *out)
    assert "--chat shows rows by the model's chat template" in refused(
        "cgvst", "demo", "--tasks", files[0], "--chat", "--template", "{input}", *out
    )
    assert "--tokens special is for chats" in refused("cgvst", "demo", "--tasks", *files, "--tokens", "special", *out)
    assert "--less must be mean or largest; got most" in refused("cgvst", "demo", "--tasks", *files, "--less", "most")
    assert "500 drawn shots need at least 501" in refused("demo", "--tasks", *files, "--shots", "500", *out)
    assert "two tasks or more" in refused("demo", "--tasks", files[0], *FORM, *out)


def test_a_plan_says_what_a_demo_costs(files, tmp_path):
    said = invoke("demo", "--tasks", *files, *FORM, "--items", "4", "--controls", "2", "--plan", "-o", tmp_path / "d")
    assert said.exit_code == 0 and said.stdout.startswith("plan: about ")
    assert "6 lesions" in said.stdout
