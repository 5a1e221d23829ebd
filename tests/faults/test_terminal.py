"""No escape sequence reaches a terminal: names of conditions, prompts, files and arguments are the user's, or somebody
else's whose data the user analyses, and a terminal obeys what is in them.

The commands run as if on a terminal (click takes colours out of what goes elsewhere).
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import tl_fbn as fbn
from tests.helpers.recordings import blocks
from tl_fbn import cli
from tl_fbn.cli import console
from tl_fbn.errors import InputError, InputKeyError, visible

# sets the window's title, turns text red, rings; a C1 code that does as "\x1b[" does; text from right to left
EVIL = "\x1b]0;title\x07\x1b[31mred\x9b5m\u202eabc"
STEERING = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
VERBS = ("demo", "scan", "glm", "networks", "cgvst", "lesion", "prune", "report")


def output(*arguments: str | Path, status: int | None = None) -> str:
    """All that a command prints, which steers no terminal.

    Args:
        arguments: Words of the command line.
        status: The exit status that is expected; None for 0 or 2.
    """
    result = CliRunner().invoke(cli.app, list(map(str, arguments)), color=True)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code in ((0, 2) if status is None else (status,)), result.output
    assert STEERING.search(result.stdout + result.stderr) is None, repr(result.stdout + result.stderr)
    return result.stdout + result.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of hostile files: a recording, prompts, chats, items and a network of the embedded model."""
    at = tmp_path_factory.mktemp("hostile")
    rng = np.random.default_rng(0)
    runs = []
    for _ in range(2):
        values = rng.normal(size=(120, 20))
        values[:, :4] += 3 * np.repeat([1.0, 0.0] * 6, 10)[:, None]
        runs.append([values])
    events = [blocks([EVIL, "b"] * 6, 10)] * 2
    fbn.Recording.from_arrays(runs, events=events, path=at / "recording", model=EVIL)
    told = {EVIL: "sort", "b": "reverse"}
    lines = [{"condition": name, "prompt": f"{told[name]} {x} {y}"} for name in told for x in "bcde" for y in "fghi"]
    (at / "prompts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    table = "".join(f"{line['condition']}\t{line['prompt']}\n" for line in lines)
    (at / "prompts.tsv").write_text(f"condition\tprompt\n{table}", encoding="utf-8")
    chat = [{"role": "user", "content": "sort b a"}, {"role": "assistant", "content": "a b"}]
    (at / "chats.jsonl").write_text((json.dumps({"messages": chat}) + "\n") * 8, encoding="utf-8")
    item = {"prompt": "sort c a :", "answer": "a c"}
    (at / f"{EVIL}.jsonl").write_text((json.dumps(item) + "\n") * 4, encoding="utf-8")
    (at / "bad.jsonl").write_text(json.dumps({"condition": EVIL, "answer": EVIL}) + "\n", encoding="utf-8")
    space = fbn.UnitSpace("mlp.neurons", (384,) * 3, "tl_fbn-demo")
    fbn.Network.from_indices(space, range(0, 1152, 40), name=EVIL).save(at / "network.safetensors")
    return at


def test_a_fit_of_hostile_conditions(folder: Path) -> None:
    said = output("glm", folder / "recording", f"`{EVIL}` - b", "--top", "3", "--name", EVIL, status=0)
    assert r"\x1b[31mred" in said
    output("glm", folder / "recording", f"`{EVIL}` - nothing", "--top", "3", status=2)
    output("glm", folder / "recording", EVIL, "--top", "3", status=0)  # the name alone has one reading
    output("networks", folder / "recording", "-k", "2", status=0)
    output("report", folder / "recording", "--title", EVIL, status=0)


@pytest.mark.parametrize("name", ["prompts.jsonl", "prompts.tsv"])
def test_a_scan_of_hostile_prompts(folder: Path, name: str, tmp_path: Path) -> None:
    shape = ("--runs", "1", "--cycles", "2", "--tokens-per-block", "8")
    said = output("scan", "demo", folder / name, "-o", tmp_path / EVIL, *shape, "--progress", status=0)
    assert r"\x1b[31mred" in said


@pytest.mark.slow
def test_scores_and_lesions_of_hostile_files(folder: Path, tmp_path: Path) -> None:
    output("cgvst", "demo", folder / "chats.jsonl", "-o", tmp_path, "--name", EVIL, "--progress")
    battery = folder / f"{EVIL}.jsonl"
    lesion = ("lesion", "demo", folder / "network.safetensors", "--battery", battery, "-o", tmp_path)
    said = output(*lesion, "--controls", "2", "--progress")
    assert r"\x1b[31mred" in said
    output("prune", "demo", folder / "network.safetensors", "-o", tmp_path / EVIL)


@pytest.mark.parametrize("verb", ["scan", "cgvst", "lesion"])
def test_lines_that_are_refused(folder: Path, verb: str, tmp_path: Path) -> None:
    bad = folder / "bad.jsonl"
    words = {
        "scan": ("demo", bad, "-o", tmp_path),
        "cgvst": ("demo", bad),
        "lesion": ("demo", folder / "network.safetensors", "--battery", bad, "-o", tmp_path),
    }
    output(verb, *words[verb], status=2)


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_and_argument_of_every_command(verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command: Any = typer.main.get_command(cli.app)
    options = [one for one in command.commands[verb].params if one.param_type_name == "option"]
    arguments = [EVIL] * sum(one.param_type_name == "argument" for one in command.commands[verb].params)
    output(verb, *(arguments or ["--device", EVIL]), status=2)
    output(verb, f"--{EVIL}", status=2)
    for option in options:
        if option.is_flag:
            output(verb, *arguments, f"{option.opts[0]}={EVIL}", status=2)
        elif arguments or option.name in ("model", "device"):  # of the demo, the rest would run it
            output(verb, *arguments, option.opts[0], EVIL, status=2)


def test_an_unknown_command() -> None:
    output(EVIL, status=2)


@pytest.mark.parametrize(
    "raised",
    [
        lambda: InputError(EVIL),
        lambda: InputKeyError(EVIL),
        lambda: FileNotFoundError(2, "No such file", EVIL),
        lambda: OSError(EVIL),
        lambda: UnicodeDecodeError("utf-8", b"\x1b", 0, 1, EVIL),
        lambda: typer.BadParameter(EVIL),
    ],
)
def test_errors_of_every_kind(raised: Callable[[], Exception], capfd: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        raise raised()

    assert console.ended(work) == 2
    assert STEERING.search(capfd.readouterr().err) is None


def test_warnings_and_what_libraries_write(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        import sys

        from tqdm import tqdm

        warnings.simplefilter("always")  # here warnings are errors, elsewhere they are shown
        warnings.warn(EVIL, stacklevel=1)
        with console.Console(progress=True).working():
            print(EVIL)
        for _ in tqdm(range(3), desc=EVIL, file=sys.stderr, mininterval=0):
            sys.stderr.write(EVIL)

    assert console.ended(work) == 0
    printed = capsys.readouterr()
    assert STEERING.search((printed.out + printed.err).replace("\r", "")) is None
    assert r"\x1b[31mred" in printed.err and "3/3" in printed.err


def test_the_traceback_of_a_bug(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def broken() -> None:
        raise RuntimeError(EVIL)

    monkeypatch.setattr(cli, "app", broken)
    with pytest.raises(SystemExit) as ending:
        cli.main()
    assert ending.value.code == 1
    said = capfd.readouterr().err
    assert said.startswith("Traceback") and STEERING.search(said) is None and r"\x1b[31mred" in said


def test_what_a_notebook_or_a_prompt_shows() -> None:
    space = fbn.UnitSpace("mlp.neurons", (3, 4), EVIL)
    network = fbn.Network.from_indices(space, [1, 5], name=EVIL)
    shown = [
        *(network, fbn.UnitMap(space, np.arange(7.0), "t"), fbn.Atlas.from_networks({EVIL: network})),
        *(fbn.Report(EVIL, network), fbn.Battery.from_texts({EVIL: ["one two"]})),
        fbn.Recording.from_arrays([[np.ones((20, 3))]], events=[blocks([EVIL, "b"], 10)], model=EVIL),
    ]
    for one in shown:
        assert STEERING.search(repr(one)) is None, type(one)
    with pytest.raises(InputError) as refused:
        network.space.require_same(fbn.UnitSpace("mlp.neurons", (3, 5), EVIL))
    assert STEERING.search(str(refused.value)) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain, µ, 漢字, 🙂\tand\nmore", "plain, µ, 漢字, 🙂\tand\nmore"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\r\x07\x7f\x9b", r"\r\x07\x7f\x9b"),
        ("\u202eabc\u2066", r"\u202eabc\u2066"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_is_written_out_and_what_stays(text: str, expected: str) -> None:
    assert visible(text) == expected
