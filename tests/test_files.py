"""Result files: every array comes back, nothing in them is executable, and what cannot be read is refused in words."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from tl_fbn import files
from tl_fbn.errors import InputError

ANY_DTYPE = st.sampled_from(["float64", "float32", "float16", "int64", "int32", "int8", "uint8", "bool"]).map(np.dtype)


def rewrite_header(path: Path, **changes: Any) -> None:
    """Change fields of tl_fbn's description in a saved file."""
    with safe_open(path, framework="numpy") as file:
        header = json.loads(file.metadata()["tl_fbn"])
        arrays = {name: file.get_tensor(name) for name in list(file.keys())}
    save_file(arrays, path, metadata={"tl_fbn": json.dumps({**header, **changes})})


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "some.map"
    files.write_result(path, "Thing", {"values": np.arange(5.0)}, {"kind": "t"})
    return path


@settings(max_examples=60, deadline=None)
@given(array=ANY_DTYPE.flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0, max_side=4))))
def test_any_array_comes_back(array: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "any.map"
    files.write_result(path, "Thing", {"it": array}, {})
    loaded = files.read_result(path, "Thing")[0]["it"]
    assert loaded.dtype == array.dtype
    assert loaded.shape == array.shape
    np.testing.assert_array_equal(loaded, array)


def test_views_are_written_in_their_own_order(tmp_path: Path) -> None:
    square = np.arange(12.0).reshape(3, 4)
    views = {"turned": square.T, "backwards": square[::-1], "strided": square[:, ::2]}
    files.write_result(tmp_path / "views", "Thing", views, {})
    loaded, _ = files.read_result(tmp_path / "views", "Thing")
    for name, view in views.items():
        np.testing.assert_array_equal(loaded[name], view)


def test_description_comes_back_and_numpy_numbers_become_plain(tmp_path: Path) -> None:
    about = {"größe": "\u2028\t\"'", "deep": [{"a": None, "b": [True, 1.5]}], "n": np.int64(3), "x": np.float32(0.5)}
    files.write_result(tmp_path / "a", "Thing", {}, {**about, "list": np.arange(3)})
    arrays, loaded = files.read_result(tmp_path / "a", "Thing")
    assert arrays == {}
    assert loaded == {**about, "n": 3, "x": 0.5, "list": [0, 1, 2]}


def test_file_is_a_header_and_raw_numbers_and_nothing_else(tmp_path: Path) -> None:
    arrays = {"a": np.arange(6, dtype=np.int8).reshape(2, 3), "b": np.linspace(0, 1, 5)}
    files.write_result(tmp_path / "a", "Thing", arrays, {"kind": "t"})
    raw = (tmp_path / "a").read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    spans = sorted(entry["data_offsets"] for name, entry in header.items() if name != "__metadata__")
    assert [start for start, _ in spans] == [0, *(end for _, end in spans[:-1])]  # no gap where anything could hide
    assert len(raw) == 8 + length + spans[-1][1]
    for name, array in arrays.items():
        start, end = header[name]["data_offsets"]
        assert raw[8 + length + start : 8 + length + end] == array.tobytes()


def test_parent_folders_are_made_and_files_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.map"
    files.write_result(path, "Thing", {"x": np.zeros(3)}, {"n": 1})
    files.write_result(str(path), "Thing", {"x": np.ones(2)}, {"n": 2})
    arrays, about = files.read_result(str(path), "Thing")
    assert about == {"n": 2}
    np.testing.assert_array_equal(arrays["x"], [1, 1])


def test_a_failed_save_leaves_the_old_file_and_no_rest(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()
    with pytest.raises(TypeError, match="a description holds <object"):
        files.write_result(saved, "Thing", {}, {"bad": object()})

    def full(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        files.write_result(saved, "Thing", {"values": np.zeros(9)}, {})
    with pytest.raises(OSError, match="disk full"):
        files.write_atomically(saved, b"something else")
    assert saved.read_bytes() == before
    assert [entry.name for entry in saved.parent.iterdir()] == [saved.name]


def test_write_atomically_replaces_whole_files(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "about.json"
    files.write_atomically(path, b"first, longer")
    files.write_atomically(path, b"second")
    assert path.read_bytes() == b"second"
    assert list(path.parent.iterdir()) == [path]


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file at .*nowhere; give the path that \.save"):
        files.read_result(tmp_path / "nowhere", "Thing")
    with pytest.raises(FileNotFoundError, match="no file at"):
        files.read_result(tmp_path, "Thing")


@pytest.mark.parametrize("cut", [0, 4, 8, 40, -1])
def test_truncated_file(saved: Path, cut: int) -> None:
    saved.write_bytes(saved.read_bytes()[:cut])
    with pytest.raises(ValueError, match=r"some\.map is damaged or no result file .*load a file saved by tl_fbn"):
        files.read_result(saved, "Thing")


def test_file_of_something_else(tmp_path: Path) -> None:
    pickled = tmp_path / "old.pkl"
    pickled.write_bytes(b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00cposix\nsystem\n" + b"x" * 64)
    with pytest.raises(ValueError, match="damaged or no result file"):
        files.read_result(pickled, "Thing")
    foreign = tmp_path / "model.safetensors"
    save_file({"weight": np.zeros(3)}, foreign)
    with pytest.raises(ValueError, match="is a safetensors file, but none that tl_fbn saved"):
        files.read_result(foreign, "Thing")


def test_another_noun_says_which(saved: Path) -> None:
    with pytest.raises(ValueError, match=r"holds a Thing, not a Network; load it with Thing\.load\(path\)"):
        files.read_result(saved, "Network")


def test_newer_format_is_refused_before_anything_is_made_of_it(saved: Path) -> None:
    rewrite_header(saved, format=files.FORMAT_VERSION + 1, noun="Hologram")
    newer = f"format version {files.FORMAT_VERSION + 1}, this tl_fbn reads up to {files.FORMAT_VERSION}; update tl_fbn"
    with pytest.raises(ValueError, match=newer):
        files.read_result(saved, "Thing")


@pytest.mark.parametrize("description", ["{", "[]", "{}", '{"format": "one", "noun": 3, "about": {}}'])
def test_damaged_description(tmp_path: Path, description: str) -> None:
    save_file({"values": np.zeros(2)}, tmp_path / "bad.map", metadata={"tl_fbn": description})
    with pytest.raises(ValueError, match=r"bad\.map is damaged \(its description"):
        files.read_result(tmp_path / "bad.map", "Thing")


# Checksums


def test_the_checksum_is_of_everything_in_the_file(saved: Path) -> None:
    """By hand: XXH3 of the description without it, then of each array's name, type, shape and bytes."""
    with safe_open(saved, framework="numpy") as file:
        header = json.loads(file.metadata()["tl_fbn"])
    stored = header.pop("checksum")
    said = json.dumps(header, sort_keys=True) + '["values", "<f8", [5]]'
    assert stored == xxhash.xxh3_128(said.encode() + np.arange(5.0).tobytes()).hexdigest()


def test_every_flipped_bit_is_an_error(saved: Path) -> None:
    whole = saved.read_bytes()
    for at in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[at // 8] ^= 1 << at % 8
        saved.write_bytes(damaged)
        with pytest.raises(InputError, match=r"some\.map"):
            files.read_result(saved, "Thing")


def test_numbers_and_descriptions_cannot_be_exchanged_between_files(saved: Path, tmp_path: Path) -> None:
    with safe_open(saved, framework="numpy") as file:
        metadata = file.metadata()
    for arrays in ({"values": np.arange(5.0) + 1}, {"value": np.arange(5.0)}, {"values": np.arange(5)}, {}):
        save_file(arrays, saved, metadata=metadata)
        with pytest.raises(InputError, match=r"is not what was saved \(its checksum changed\); load another copy"):
            files.read_result(saved, "Thing")


def test_only_files_of_format_1_may_lack_a_checksum_and_it_is_said(saved: Path) -> None:
    rewrite_header(saved, format=1, checksum=None)
    with pytest.warns(UserWarning, match="saved by an earlier version, without a checksum"):
        arrays, about = files.read_result(saved, "Thing")
    assert arrays["values"].tolist() == [0, 1, 2, 3, 4] and about == {"kind": "t"}
    rewrite_header(saved, format=2, checksum=None)
    with pytest.raises(InputError, match="it has no checksum"):
        files.read_result(saved, "Thing")


# The disk


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EDQUOT])
def test_a_full_disk_names_the_file_and_keeps_the_old_one(
    number: int, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()

    def full(*_: object) -> None:
        raise OSError(number, "the system's words")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        OSError, match=r"some\.map could not be saved, as the disk is full or a quota is used up; what"
    ) as it:
        files.write_result(saved, "Thing", {"values": np.zeros(9)}, {})
    assert it.value.errno == number and saved.read_bytes() == before
    assert [entry.name for entry in saved.parent.iterdir()] == [saved.name]


def test_a_full_disk_in_the_words_of_safetensors_is_one_too() -> None:
    with pytest.raises(OSError, match="no room; make some") as caught, files.full_disk_named("no room", "make some"):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(SafetensorError), files.full_disk_named("no room", "make some"):
        raise SafetensorError("something else (os error 13)")


def test_a_system_that_lets_files_grow_no_further_says_the_same(tmp_path: Path) -> None:
    """The system's own refusal, of a file larger than its limit."""
    code = (
        "import resource, signal, sys, numpy as np; from tl_fbn import files\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "try: files.write_result(sys.argv[1], 'Thing', {'x': np.zeros(9_000)}, {})\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a")]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert said.startswith("OSError") and "could not be saved, as the disk is full" in said
    assert list(tmp_path.iterdir()) == []


def test_file_and_folders_are_on_the_disk_before_a_save_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    sync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        events.append(Path(f"/proc/self/fd/{descriptor}").resolve().name)
        sync(descriptor)

    def replaced(one: Path, other: Path) -> None:
        events.append(f"renamed to {Path(other).name}")
        replace(one, other)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    files.write_atomically(tmp_path / "new" / "file", b"1")
    # the new folder's name, the file's content, its final name
    hidden = events[1]
    assert hidden.startswith(".file.") and hidden.endswith(".part")
    assert events == [tmp_path.name, hidden, "renamed to file", "new"]


# A file that must be new


def test_of_several_writers_of_a_new_file_one_makes_it_and_no_other_replaces_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.json"
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: files.create_atomically(path, b"%d" % n * 10_000), range(8)))
    assert made.count(True) == 1
    assert path.read_bytes() == b"%d" % made.index(True) * 10_000
    assert [one.name for one in path.parent.iterdir()] == ["file.json"]


def test_a_new_file_where_the_disk_has_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: Any) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuses)
    assert files.create_atomically(tmp_path / "a", b"first")
    assert not files.create_atomically(tmp_path / "a", b"second")
    assert (tmp_path / "a").read_bytes() == b"first"
    assert [one.name for one in tmp_path.iterdir()] == ["a"]
