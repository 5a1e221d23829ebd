"""What killed processes leave beside files is removed, and nothing that may be alive."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from tests.helpers.paths import ROOT
from tl_fbn import files, leftovers

CODE = """
import os, signal, sys
from pathlib import Path
from tl_fbn import files, leftovers
with leftovers.hidden_beside(Path(sys.argv[1])) as hidden:
    hidden.write_bytes(b"half")
    print("writing", flush=True)
    if len(sys.argv) > 2:
        sys.stdin.read()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@contextlib.contextmanager
def writer(path: Path, *wait: str) -> Iterator[subprocess.Popen[str]]:
    """A process that writes beside a path, and is killed: at once, or when its input ends."""
    pipe = subprocess.PIPE
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", CODE, str(path), *wait]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as process:
        assert process.stdout is not None and process.stdout.readline() == "writing\n"
        yield process


def hidden_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if entry.name.startswith("."))


def aged(path: Path, hours: float) -> Path:
    past = time.time() - 3600 * hours
    os.utime(path, (past, past))
    return path


def no_locks(*_: object, **__: object) -> None:
    raise OSError(38, "Function not implemented")


def test_what_a_killed_save_left_goes_with_the_next_save(tmp_path: Path) -> None:
    with writer(tmp_path / "a.map") as process:
        assert process.wait(60) == -signal.SIGKILL
    left = hidden_in(tmp_path)
    assert len(left) == 2 and left[0].startswith(".a.map.") and left[0].endswith(".part")
    files.write_atomically(tmp_path / "b.map", b"b")
    assert hidden_in(tmp_path) == []
    assert (tmp_path / "b.map").read_bytes() == b"b"


def test_what_a_living_process_writes_stays_and_is_kept_even_when_old(tmp_path: Path) -> None:
    with writer(tmp_path / "a.map", "wait"):
        (name,) = [name for name in hidden_in(tmp_path) if name.endswith(".part")]
        aged(tmp_path / name, 1000)
        files.write_atomically(tmp_path / "b.map", b"b")
        assert (tmp_path / name).read_bytes() == b"half"
    leftovers.sweep(tmp_path)
    assert hidden_in(tmp_path) == []


def test_without_locks_only_age_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FileLock, "acquire", no_locks)
    young = tmp_path / leftovers.hidden_name("young")
    old = tmp_path / leftovers.hidden_name("old")
    for path in (young, old):
        path.write_bytes(b"half")
    aged(old, leftovers.STALE_HOURS + 1)
    files.write_atomically(tmp_path / "b.map", b"b")
    assert hidden_in(tmp_path) == [young.name]


def test_of_another_machine_only_age_tells_however_free_its_lock_is(tmp_path: Path) -> None:
    young, old = (tmp_path / f".a.map.aaaaaaaaaaaa-0000000{i}.part" for i in (1, 2))
    for path in (young, old):
        path.write_bytes(b"half")
        assert leftovers.is_of_another_machine(path.name)
    aged(old, leftovers.STALE_HOURS + 1)
    leftovers.sweep(tmp_path)
    assert hidden_in(tmp_path) == [young.name]
    assert not leftovers.is_of_another_machine(leftovers.hidden_name("a.map"))


def test_names_of_earlier_versions_go_by_age_and_other_files_stay(tmp_path: Path) -> None:
    young, old = tmp_path / ".a.map.0123abcd.part", tmp_path / ".b.map.0123abcd.part"
    others = [tmp_path / name for name in (".hidden", "a.0123abcd.part", ".download.part", ".a.zzzzzzzz.part")]
    for path in (young, old, *others):
        aged_enough = leftovers.STALE_HOURS + 1 if path != young else 0
        path.write_bytes(b"1")
        aged(path, aged_enough)
    (tmp_path / ".folder.0123abcd.part").mkdir()
    aged(tmp_path / ".folder.0123abcd.part", leftovers.STALE_HOURS + 1)
    leftovers.sweep(tmp_path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted(
        [young.name, *(path.name for path in others), ".folder.0123abcd.part"]
    )
    leftovers.sweep(tmp_path / "nowhere")


def test_a_link_is_never_followed_nor_removed(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_bytes(b"1")
    link = tmp_path / ".a.map.0123abcd.part"
    link.symlink_to(target)
    leftovers.sweep(tmp_path)
    assert link.is_symlink() and target.exists()


def test_threads_save_beside_each_other(tmp_path: Path) -> None:
    def save(number: int) -> None:
        for i in range(20):
            files.write_atomically(tmp_path / f"{number}", f"{number} {i}".encode())

    threads = [threading.Thread(target=save, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {str(n): f"{n} 19" for n in range(4)}


@pytest.mark.parametrize("name", ["x" * 250, "脳" * 80])
def test_long_names_are_cut(name: str, tmp_path: Path) -> None:
    files.write_atomically(tmp_path / name, b"1")
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_only_some_errors_say_that_there_are_no_locks() -> None:
    assert leftovers.means_no_locks(OSError(37, "No locks available"))
    assert leftovers.means_no_locks(NotImplementedError("no flock"))
    assert not leftovers.means_no_locks(OSError(28, "No space left on device"))
    assert not leftovers.means_no_locks(PermissionError(13, "not yours"))
