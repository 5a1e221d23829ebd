"""What happens to a recording on its disk: it is seen, it is named, and what the message says to do mends it byte for
byte.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import tl_fbn as fbn
from tests.helpers.committed import assert_the_same
from tests.helpers.designs import small_design
from tests.helpers.models import tiny_model
from tl_fbn import files
from tl_fbn.acquisition.recording import descriptions, store


def scan(folder: Path) -> fbn.Recording:
    return fbn.Scanner(tiny_model(), batch_size=4).scan(small_design(n_runs=3), folder, progress=False)


def flip(file: Path, at: float = 0.7) -> None:
    content = bytearray(file.read_bytes())
    content[int(at * len(content))] ^= 4
    file.write_bytes(content)


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


DAMAGES: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "a flipped bit in the data": (store.DATA, flip, "is not what was committed"),
    "a flipped bit in a table": (store.ROWS, flip, "is not what was committed"),
    "a truncated file": (store.DATA, truncate, "bytes, it was committed with"),
    "a deleted events table": (store.EVENTS, Path.unlink, "is missing"),
    "a deleted row table": (store.ROWS, Path.unlink, "is missing"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named_and_mended_by_what_the_message_says(damage: str, tmp_path: Path) -> None:
    name, inflict, message = DAMAGES[damage]
    scan(tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "r")
    run = store.run_folder(tmp_path / "r", 1)
    inflict(run / name)
    with pytest.raises(ValueError, match=message) as refused:
        fbn.Recording.open(tmp_path / "r").verify()
    assert f"delete {run} and scan again" in str(refused.value)
    shutil.rmtree(run)
    scan(tmp_path / "r").verify()
    assert_the_same(tmp_path / "r", tmp_path / "whole")


def test_a_newer_format_is_refused_with_its_version_and_left_alone(tmp_path: Path) -> None:
    scan(tmp_path / "r")
    about = tmp_path / "r" / store.ABOUT
    content = json.loads(about.read_text())
    about.write_text(json.dumps(content | {"format": 99}))
    before = about.read_bytes()
    for attempt in (scan, fbn.Recording.open):
        with pytest.raises(ValueError, match=r"format version 99, this tl_fbn reads up to \d+; update tl_fbn"):
            attempt(tmp_path / "r")
    assert about.read_bytes() == before


def test_text_in_a_recording_is_never_code(tmp_path: Path) -> None:
    told = tmp_path / "told"
    attack = f"__import__('pathlib').Path({str(told)!r}).touch()"
    scan(tmp_path / "r")
    for run in range(3):
        folder = store.run_folder(tmp_path / "r", run)
        events = (folder / store.EVENTS).read_text()
        (folder / store.EVENTS).write_text(events.replace("\ta\n", f"\t{attack}\n"))
        about = json.loads((folder / store.ABOUT_RUN).read_text())
        about["bytes"][store.EVENTS] = (folder / store.EVENTS).stat().st_size
        about[descriptions.XXH3][store.EVENTS] = files.checksum_of_file(folder / store.EVENTS)
        # a forger knows how checksums are made
        (folder / store.ABOUT_RUN).write_bytes(descriptions.description_bytes(about))
        (folder / "conftest.py").write_text(attack)
    recording = fbn.Recording.open(tmp_path / "r")
    assert attack in set(recording[0].events["trial_type"])
    assert not told.exists()
