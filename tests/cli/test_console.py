"""The shell's side of every command: help, one line on bad input, exit statuses, JSON, pipes and interrupts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import tl_fbn as fbn
from tests.conftest import blocks
from tl_fbn import cli
from tl_fbn.cli import console as shell
from tl_fbn.cli import input_files as texts
from tl_fbn.cli import options
from tl_fbn.cli import result_files as places

ROOT = Path(__file__).resolve().parents[2]
VERBS = ("demo", "scan", "glm", "networks", "cgvst", "lesion", "prune", "report")
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
    """Four runs of noise on disk, 2 layers of 20 and 30 units, in which units 3 and 27 follow a, and 40 to 44 one course."""
    rng = np.random.default_rng(seed)
    runs = []
    for _ in range(4):
        shown = np.repeat([1.0, 0.0] * 6, 10)[:, None]
        noise = rng.normal(size=(120, 50))
        noise[:, [3, 27]] += 3 * shown
        noise[:, 40:45] += 2 * rng.laplace(size=(120, 1))
        runs.append([noise[:, :20], noise[:, 20:]])
    return fbn.Recording.from_arrays(runs, events=[blocks(["a", "b"] * 6, 10)] * 4, path=folder, site=site)


# --- help


def test_the_first_page_lists_every_verb_and_says_what_exit_statuses_mean():
    page = invoke("--help").stdout
    for verb in VERBS:
        assert f"\n  {verb} " in page
    for words in ("0    done", "1    an unexpected error", "2    bad input", "130  interrupted", "tl-fbn report sort"):
        assert words in page
    assert invoke().stdout == page  # also without a word


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_every_verb_has_an_example_that_parses_and_the_shared_options(verb):
    page = invoke(verb, "--help").stdout
    assert f"Example: tl-fbn {verb}" in page
    for option in ("--json", "--progress", "-o, --out"):
        assert option in page
    if verb not in ("prune", "report"):  # nothing is left to chance there
        assert "--seed" in page
    assert ("--device" in page) == (verb in ("demo", "scan", "cgvst", "lesion", "prune"))
    assert ("dtype" in page) == (verb in ("demo", "scan", "cgvst", "lesion", "prune"))


def test_examples_of_the_help_use_options_that_exist():
    for verb in VERBS:
        for line in invoke(verb, "--help").stdout.splitlines():
            if "tl-fbn " not in line:
                continue
            words = line.partition("tl-fbn ")[2].split()
            known = invoke(words[0], "--help").stdout
            for word in words[1:]:
                if word.startswith("--") and word != "--help":
                    assert word in known, line


def test_version():
    from importlib import metadata

    assert invoke("--version").stdout == f"tl-fbn {metadata.version('tl-fbn')}\n"


def test_help_is_quick_because_nothing_heavy_is_imported():
    heavy = ("torch", "transformers", "transformer_lens", "plotly", "pandas", "numpy")
    code = f"import sys; from tl_fbn import cli; sys.exit(any(name in sys.modules for name in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, check=False).returncode == 0


# --- bad input


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["glmm"], "Did you mean 'glm'? See tl-fbn --help"),
        (["glm"], "Missing argument 'DIR'. See tl-fbn glm --help"),
        (["--nonsense"], "--nonsense"),
        (["demo", "--controls", "0"], "--controls"),
        (["demo", "--controls", "many"], "--controls"),
        (["glm", "nowhere", "a - b"], "no folder at nowhere; give the folder that tl-fbn scan wrote"),
        (["networks", "nowhere", "-k", "4"], "no folder at nowhere"),
        (["report", "nowhere"], "no folder at nowhere"),
        (["lesion", "demo", "nowhere.safetensors", "--battery", "demo"], "no file at nowhere.safetensors"),
        (["prune", "demo", "nowhere.safetensors", "-o", "out"], "no file at nowhere.safetensors"),
        (["cgvst", "demo", "nowhere.jsonl"], "no file at nowhere.jsonl"),
        (["cgvst", "demo", "demo:nonsense"], "no chats are called 'nonsense'"),
        (["scan", "demo", "nowhere.tsv", "-o", "out"], "no file at nowhere.tsv"),
        (["scan", "demo", "demo:sort,rest", "-o", "out", "--seed", "-1"], "--seed"),
        (
            ["demo", "--model", "./nowhere"],
            "no folder at ./nowhere; give a folder with a Hugging Face model, or a name such as gpt2",
        ),
    ],
)
def test_bad_input_is_one_line_and_status_2(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert words in refused(*arguments)
    assert list(tmp_path.iterdir()) == []  # and nothing is left behind


def test_a_folder_that_is_no_recording_is_named(tmp_path):
    assert "is no recording" in refused("glm", tmp_path, "a - b")


@pytest.mark.slow
def test_errors_are_one_line_in_a_process_of_their_own(tmp_path):
    (tmp_path / "empty").mkdir()
    finished = run("demo", "--model", "empty", cwd=tmp_path)
    assert finished.returncode == 2
    assert finished.stderr.startswith("tl-fbn: TransformerLens cannot load 'empty'")
    assert len(finished.stderr.splitlines()) == 1


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_devices_that_are_not_there_are_named(device, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=f"device '{device}'"):
        cli.load_model("demo", device=device)


def test_dtypes_of_models(monkeypatch):
    import torch

    assert cli.load_model("demo", dtype="bfloat16").blocks[0].mlp.W_in.dtype == torch.bfloat16
    with pytest.raises(ValueError, match="none of float32, bfloat16, float16"):
        cli.load_model("demo", dtype="int8")


# --- how commands end


def raising(error: Exception) -> int:
    def work() -> None:
        raise error

    return shell.ended(work)


def test_an_error_the_package_raises_is_one_line_and_one_that_happens_is_a_bug(capsys):
    space = fbn.UnitSpace("mlp.neurons", (3,))
    atlas = fbn.Atlas.from_networks({"a": fbn.Network.from_indices(space, [0])})
    assert shell.ended(lambda: atlas["b"]) == 2  # a KeyError, whose str() would be quoted
    assert capsys.readouterr().err == "tl-fbn: no network 'b' in this atlas; networks: a\n"
    assert shell.ended(lambda: space.locate(7)) == 2  # an IndexError
    with pytest.raises(KeyError):
        shell.ended(lambda: places.file_for({}["x"], "y"))  # ours by place, nobody's by intention
    with pytest.raises(TypeError):
        shell.ended(lambda: places.file_for(3, "y"))  # int / str, inside the package, but no raise statement
    with pytest.raises(ValueError, match="could not be broadcast"):
        shell.ended(lambda: np.zeros(3) + np.zeros(4))
    with pytest.raises(RuntimeError):
        raising(RuntimeError("not ours"))


def test_files_that_cannot_be_read_are_named(tmp_path, capsys):
    assert shell.ended(lambda: (tmp_path / "x").read_text()) == 2
    assert capsys.readouterr().err == f"tl-fbn: {tmp_path / 'x'}: No such file or directory\n"
    assert raising(OSError(28, "the scan needs 3 GB")) == 2
    assert capsys.readouterr().err == "tl-fbn: the scan needs 3 GB\n"


def test_an_interrupt_says_what_is_kept(capsys):
    def stopped() -> None:
        with shell.Console().working("two runs are kept"):
            raise KeyboardInterrupt

    assert shell.ended(stopped) == 130
    assert capsys.readouterr().err == "tl-fbn: stopped; two runs are kept\n"


def test_messages_of_several_lines_become_one(capsys):
    assert raising(shell.BadInput("one\n  two")) == 2
    assert capsys.readouterr().err == "tl-fbn: one two\n"


def test_only_the_first_process_prints_and_the_others_leave_alone_what_one_does(monkeypatch, capsys):
    monkeypatch.setenv("RANK", "2")
    console = shell.Console()
    console.note("a note")
    console.result("text", number=1)
    entered = []

    def alone() -> None:
        with console.working():
            entered.append(1)

    assert shell.ended(alone) == 0
    assert capsys.readouterr() == ("", "")
    assert entered == []
    with console.working(shared=True):
        entered.append(1)
    assert entered == [1]
    assert raising(shell.BadInput("no room")) == 2
    assert capsys.readouterr().err == "tl-fbn: [rank 2] no room\n"


def test_what_libraries_print_does_not_reach_standard_output(capsys):
    with shell.Console(json=True).working():
        print("Moved model to cpu")
    shell.Console(json=True).result("", a=np.float32(2), b=[np.nan], c=Path("x"), d=pd.DataFrame({"e": [1]}))
    out, err = capsys.readouterr()
    assert json.loads(out) == {"a": 2.0, "b": [None], "c": "x", "d": [{"e": 1}]}
    assert err == "Moved model to cpu\n"


def test_warnings_become_notes(capsys):
    def work() -> None:
        warnings.simplefilter("always")
        warnings.warn("the bias is beside", stacklevel=1)

    assert shell.ended(work) == 0
    assert capsys.readouterr().err == "note: the bias is beside\n"


@pytest.mark.slow
def test_a_closed_pipe_ends_quietly(tmp_path):
    planted(tmp_path / "r")
    script = f'{sys.executable} -m tl_fbn glm {tmp_path / "r"} "a - b" --json | head -1; echo ${{PIPESTATUS[0]}}'
    finished = subprocess.run(["bash", "-c", script], env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert finished.stdout == "{\n0\n"
    assert finished.stderr == ""
    closed = f"{sys.executable} -m tl_fbn --help | true; echo ${{PIPESTATUS[0]}}"
    finished = subprocess.run(["bash", "-c", closed], env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert (finished.stdout, finished.stderr) == ("0\n", "")


@pytest.mark.slow
def test_an_interrupted_study_goes_on_where_it_was(tmp_path, demo_model):
    network = fbn.Network.from_indices(fbn.Scanner(demo_model).space, range(0, 1152, 20), name="sort")
    network.save(tmp_path / "n.safetensors")
    study = ["lesion", "demo", tmp_path / "n.safetensors", "--battery", "demo", "--controls", "20", "--items", "60"]
    command = [sys.executable, "-m", "tl_fbn", *map(str, study)]
    process = subprocess.Popen(
        command,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # what runs in the background ignores it
    )
    parts = tmp_path / "lesions-sort-demo.parts"
    while not (parts / "baseline.safetensors").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130
    assert out == ""
    assert err == f"tl-fbn: stopped; finished items are kept in {parts}, and the same command goes on from there\n"
    assert parts.exists()
    assert "n_controls: 20 there, 39 here" in refused(*study[:-4], "--controls", "39", "--items", "60")
    assert run(*study).returncode == 0
    assert not parts.exists()  # the study is saved
    assert fbn.LesionStudy.load(tmp_path / "lesions-sort-demo.safetensors").controls.shape[1] == 20


# --- small parts


def test_tables_line_up_and_are_short():
    frame = pd.DataFrame({"name": ["a", "bcd"], "n": [1, 200], "share": [0.123456, np.nan], "ok": [True, False]})
    shown = shell.table(frame, decimals={"share": ".1%"})
    assert shown == "name    n  share   ok\na       1  12.3%  yes\nbcd   200      -   no"


@pytest.mark.parametrize(("text", "value"), [("57", 57), ("0.05", 0.05), ("1", 1), (None, None)])
def test_amounts(text, value):
    assert options.amount(text, "--top") == value
    assert type(options.amount(text, "--top")) is type(value)


@pytest.mark.parametrize("text", ["0", "1.0", "-3", "2.5", "many", "nan", "inf"])
def test_amounts_out_of_range_are_errors_by_name(text):
    with pytest.raises(ValueError, match=f"--top {text} is neither"):
        options.amount(text, "--top")


def test_names_of_files():
    assert places.file_for(Path("r"), "contrast", "sort - rest").name == "contrast-sort-rest.safetensors"
    assert places.file_for(Path("r"), "network", "`a b` / 2").name == "network-a-b-2.safetensors"
    assert places.file_for(Path("r"), "glm").name == "glm.safetensors"
    assert places.file_for(Path("r"), "network", "../../etc").name == "network-etc.safetensors"
    with pytest.raises(shell.BadInput, match="would be saved as one file"):
        places.differing(["a - b", "a  b"])


def test_results_lie_beside_their_recording(tmp_path):
    planted(tmp_path / "r")
    assert places.results_of(tmp_path / "r") == tmp_path / "r" / "results"
    assert places.results_of(tmp_path) == tmp_path
    (tmp_path / "file").write_text("")
    with pytest.raises(shell.BadInput, match="is a file"):
        places.writable(tmp_path / "file" / "below")


def test_prompts_and_chats_from_lines(tmp_path):
    chat = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]
    lines = [{"condition": "a", "prompt": "p q"}, {"condition": "b", "messages": chat}]
    file = tmp_path / "p.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    assert texts.read_conditions(str(file)) == {"a": ["p q"], "b": [chat]}
    file.write_text("\n".join(map(json.dumps, [{"messages": chat}, chat, {"text": "t\u2028u"}, "v"])))
    assert texts.read_chats(str(file)) == [chat, chat, "t\u2028u", "v"]
    assert texts.read_chats(str(file), 2) == [chat, chat]
    assert texts.read_conditions("demo:sort,rest")["sort"] == fbn.prompts("sort")
    assert texts.read_chats("demo:add") == fbn.chats("add")
    assert (texts.name_of("demo:add"), texts.name_of("a/b.jsonl")) == ("add", "b")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"mess', "line 2 is no JSON"),
        ('{"messages": []}', "line 2 holds [], no chat"),
        ('{"messages": [{"role": "user"}]}', "no chat"),
        ("3", "line 2 holds 3, no chat"),
        ('""', "line 2 is an empty text"),
        ('{"txt": "x"}', "no chat"),
    ],
)
def test_bad_lines_are_named_by_number(line, words, tmp_path):
    file = tmp_path / "c.jsonl"
    file.write_text(f'"fine"\n{line}\n')
    said = refused("cgvst", "demo", file)
    assert words in said
    assert '{"messages": [{"role": "user", "content": "text"}' in said


def test_files_that_are_no_text_or_empty(tmp_path):
    file = tmp_path / "c.jsonl"
    file.write_bytes(b"\xff\xfe\x00")
    assert "is no text in UTF-8" in refused("cgvst", "demo", file)
    assert "is no text in UTF-8" in refused("scan", "demo", file, "-o", tmp_path / "r")
    file.write_text("\n \n")
    assert "has no lines" in refused("cgvst", "demo", file)
    file.write_text('{"prompt": "x"}')
    assert "line 1 names no condition" in refused("scan", "demo", file, "-o", tmp_path / "r")
