"""The shell's side of every command: one line on bad input, exit statuses, JSON, pipes and interrupts."""

from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import tl_fbn as fbn
from tests.helpers.cli import ENVIRONMENT, planted, refused, run
from tl_fbn.cli import console as shell
from tl_fbn.cli import result_files

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
        shell.ended(lambda: result_files.file_for({}["x"], "y"))  # ours by place, nobody's by intention
    with pytest.raises(TypeError):
        shell.ended(lambda: result_files.file_for(3, "y"))  # int / str, inside the package, but no raise statement
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
    assert raising(shell.InputError("one\n  two")) == 2
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
    assert raising(shell.InputError("no room")) == 2
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
    model, stopped = err.splitlines()
    assert model.startswith("tl_fbn-demo: GPTNeoXForCausalLM, 3 layers x 384 neurons")
    assert stopped == f"tl-fbn: stopped; finished items are kept in {parts}, and the same command goes on from there"
    assert parts.exists()
    assert "n_controls: 20 there, 39 here" in refused(*study[:-4], "--controls", "39", "--items", "60")
    assert run(*study).returncode == 0
    assert not parts.exists()  # the study is saved
    assert fbn.studies.LesionStudy.load(tmp_path / "lesions-sort-demo.safetensors").controls.shape[1] == 20


def test_tables_line_up_and_are_short():
    frame = pd.DataFrame({"name": ["a", "bcd"], "n": [1, 200], "share": [0.123456, np.nan], "ok": [True, False]})
    shown = shell.table(frame, decimals={"share": ".1%"})
    assert shown == "name    n  share   ok\na       1  12.3%  yes\nbcd   200      -   no"


def test_columns_that_leave_the_line_come_below_with_the_first_repeated() -> None:
    frame = pd.DataFrame({"layer": [0, 1], "t": ["x", "y"], **{f"{'long' * 7} {n}": [n, 10 * n] for n in range(3)}})
    lines = shell.table(frame, keys=2).splitlines()
    assert max(map(len, lines)) <= shell.WIDTH
    heads = [line for line in lines if line.startswith("layer")]
    assert [head.split() for head in heads] == [
        ["layer", "t", "long" * 7, "0", "long" * 7, "1"],
        ["layer", "t", "long" * 7, "2"],
    ]
    assert lines[-1].split() == ["1", "y", "20"]
    wide = shell.table(pd.DataFrame({"a": [1], "path": ["x" * 100]}))
    assert wide.splitlines()[1].endswith("x" * 100)  # one column is never cut


def test_anything_becomes_json() -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": [0.5, np.nan]})
    given = {1: frame, "two": {"x": np.arange(3), "y": (np.float64(np.inf), None, True)}, "z": [Path("p"), {"q"}]}
    assert shell.plain(given) == {
        "1": [{"a": 1, "b": 0.5}, {"a": 2, "b": None}],
        "two": {"x": [0, 1, 2], "y": [None, None, True]},
        "z": ["p", ["q"]],
    }


@pytest.mark.parametrize(
    ("error", "mended"),
    [
        (shell.InputError("x"), True),
        (FileNotFoundError("x"), True),
        (UnicodeDecodeError("utf-8", b"", 0, 1, "x"), True),
        (csv.Error("x"), True),
        (ValueError("x"), False),
        (KeyError("x"), False),
        (AssertionError("x"), False),
    ],
    ids=lambda one: type(one).__name__,
)
def test_what_a_user_can_mend(error: Exception, mended: bool) -> None:
    assert shell.mendable(error) is mended


@pytest.mark.parametrize(
    ("asked", "terminal", "shown"),
    [(None, True, True), (None, False, False), (True, False, True), (False, True, False)],
)
def test_bars_are_shown_on_a_terminal_or_where_asked_for_and_by_the_first_process(
    asked: bool | None, terminal: bool, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    assert shell.Console(progress=asked).bars is shown
    monkeypatch.setenv("RANK", "1")
    assert not shell.Console(progress=asked).bars


def test_a_bar_without_a_terminal_is_a_line_now_and_then(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(shell.time, "monotonic", lambda: clock[0])
    log = io.StringIO()
    stream = shell._VisibleStream(log)
    for second in range(0, 50, 5):
        clock[0] = second
        stream.write(f"\rlesions: {second} of 50")
        stream.write("")
    stream.write("\n")
    stream.write("\rquick: 1 of 1")
    stream.write("\n")
    stream.write("a note\n")
    said = ["lesions: 25 of 50", "lesions: 45 of 50", "quick: 1 of 1", "a note"]
    assert log.getvalue().splitlines() == said
