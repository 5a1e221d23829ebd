"""Result files: every array comes back, nothing in them is executable, and what cannot be read is refused in words."""

from __future__ import annotations

import errno
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors import safe_open
from safetensors.numpy import save_file

from tl_fbn import files

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
