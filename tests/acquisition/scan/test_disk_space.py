"""Room on the disk: what is free is counted, and an error of a full disk says which run it was and how to go on."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest

from tl_fbn.acquisition.scan.disk_space import disk_errors_named, free_bytes, require_room


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders whose disk is asked for; 10 bytes are free on it."""
    folders: list[Path] = []
    usage = shutil.disk_usage(Path.cwd())
    monkeypatch.setattr(shutil, "disk_usage", lambda path: folders.append(path) or usage._replace(free=10))
    return folders


def test_a_folder_yet_to_be_made_has_the_disk_of_its_nearest_parent(tmp_path: Path, asked: list[Path]) -> None:
    assert free_bytes(tmp_path / "not" / "yet") == 10
    assert free_bytes(tmp_path) == 10
    assert asked == [tmp_path, tmp_path]
    assert list(tmp_path.iterdir()) == []


def test_as_much_as_is_free_fits_and_one_byte_more_does_not(tmp_path: Path, asked: list[Path]) -> None:
    require_room(tmp_path, 10)
    with pytest.raises(OSError, match=r"the scan needs 0\.00 GB at .*; make room or give another folder") as caught:
        require_room(tmp_path, 11)
    assert caught.value.errno == errno.ENOSPC
    assert len(asked) == 2


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EDQUOT])
def test_a_full_disk_names_the_run_and_says_how_to_go_on(number: int, tmp_path: Path) -> None:
    original = OSError(number, "the system's words")
    with (
        pytest.raises(OSError, match="ran out of room while run 3 was written; runs that were committed") as caught,
        disk_errors_named(tmp_path, 3),
    ):
        raise original
    assert caught.value.errno == number
    assert caught.value.__cause__ is original


def test_other_errors_pass_unchanged(tmp_path: Path) -> None:
    for error in (PermissionError(errno.EACCES, "not yours"), ValueError("no matter of the disk")):
        with pytest.raises(type(error)) as caught, disk_errors_named(tmp_path, 0):
            raise error
        assert caught.value is error
