"""Bytes on disk: what was written is read, whole or not at all, and damage is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors import safe_open

from tests.helpers.stores import N_ROWS, WIDTHS, events, rows, values, write_run
from tl_fbn.acquisition.recording import store


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


# Layout and commit


def test_data_file_is_plain_safetensors(folder: Path) -> None:
    with safe_open(folder / store.DATA, framework="numpy") as file:
        assert sorted(file.keys()) == ["layer.00", "layer.02", "layer.11"]
        for name, width in WIDTHS.items():
            stored = file.get_tensor(name)
            assert stored.dtype == np.float32
            np.testing.assert_array_equal(stored, values(name, width))


def test_data_starts_at_an_aligned_byte_and_ends_with_the_file(folder: Path) -> None:
    raw = (folder / store.DATA).read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    assert start % 64 == 0
    assert len(raw) == start + 4 * N_ROWS * sum(WIDTHS.values())


def test_rows_written_in_pieces_are_read_back(tmp_path: Path) -> None:
    laid_out = store.lay_out(tmp_path, 0, N_ROWS, WIDTHS)
    for chosen in (slice(4, 6), slice(0, 1), slice(1, 4)):
        for name, width in WIDTHS.items():
            laid_out.write(name, chosen.start, values(name, width)[chosen])
    store.commit(laid_out, store.run_folder(tmp_path, 0), {"key": "k"}, events(), rows())
    _, layers = store.open_run(store.run_folder(tmp_path, 0))
    assert list(layers) == list(WIDTHS)
    for name, width in WIDTHS.items():
        np.testing.assert_array_equal(layers[name], values(name, width))


def test_opened_layers_are_mapped_and_read_only(folder: Path) -> None:
    _, layers = store.open_run(folder)
    assert isinstance(layers["layer.02"], np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        layers["layer.02"][0, 0] = 1


def test_a_run_is_invisible_until_its_rename(tmp_path: Path) -> None:
    laid_out = store.lay_out(tmp_path, 3, N_ROWS, WIDTHS)
    final = store.run_folder(tmp_path, 3)
    assert final.name == "run-04"
    assert laid_out.folder.name.startswith(".run-04.")
    assert laid_out.folder.name.endswith(".part")
    assert (laid_out.folder / store.DATA).stat().st_size > 4 * N_ROWS * sum(WIDTHS.values())  # full size from the start
    assert store.committed_runs(tmp_path) == []
    assert store.commit(laid_out, final, {}, events(), rows())
    assert store.committed_runs(tmp_path) == [3]
    assert [entry.name for entry in tmp_path.iterdir()] == ["run-04"]


def test_the_second_writer_is_discarded(tmp_path: Path) -> None:
    first, second = (store.lay_out(tmp_path, 0, N_ROWS, WIDTHS) for _ in range(2))
    for number, writer in enumerate((first, second)):
        for name, width in WIDTHS.items():
            writer.write(name, 0, np.full((N_ROWS, width), number, np.float32))
    final = store.run_folder(tmp_path, 0)
    assert store.commit(first, final, {"key": "first"}, events(), rows())
    assert not store.commit(second, final, {"key": "second"}, events(), rows())
    about, layers = store.open_run(final)
    assert about["key"] == "first"
    assert not any(layer.any() for layer in layers.values())
    assert [entry.name for entry in tmp_path.iterdir()] == ["run-01"]


def test_something_else_in_the_way_is_named(tmp_path: Path) -> None:
    laid_out = store.lay_out(tmp_path, 0, N_ROWS, WIDTHS)
    (tmp_path / "run-01").mkdir()
    (tmp_path / "run-01" / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(
        FileExistsError, match=r"run-01 is in the way and holds no committed run; delete it and scan again"
    ):
        store.commit(laid_out, store.run_folder(tmp_path, 0), {}, events(), rows())
    laid_out.discard()
    assert (tmp_path / "run-01" / "notes.txt").exists()


def test_description_of_a_run(folder: Path) -> None:
    about = json.loads((folder / store.ABOUT_RUN).read_text(encoding="utf-8"))
    assert about["key"] == "k"
    assert about["n_rows"] == N_ROWS
    assert about["format"] == store.FORMAT_VERSION
    assert set(about[store.CHECKSUM]) == set(about["bytes"]) == {store.DATA, store.EVENTS, store.ROWS}
    assert all(about["bytes"][name] == (folder / name).stat().st_size for name in about["bytes"])


def test_committed_runs_are_numbers_in_order(tmp_path: Path) -> None:
    for run in (10, 0, 120):
        write_run(tmp_path, run)
    (tmp_path / "run-02").mkdir()  # without a description
    (tmp_path / "run-x").mkdir()
    assert store.committed_runs(tmp_path) == [0, 10, 120]


def test_discard_removes_the_folder(tmp_path: Path) -> None:
    laid_out = store.lay_out(tmp_path, 0, N_ROWS, WIDTHS)
    laid_out.discard()
    laid_out.discard()
    assert list(tmp_path.iterdir()) == []


# Damage


@pytest.mark.parametrize("name", [store.DATA, store.EVENTS, store.ROWS])
def test_truncated_and_missing_files_are_named(folder: Path, name: str) -> None:
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[:-1])
    with pytest.raises(
        ValueError, match=rf"{name} has {len(whole) - 1:,} bytes, it was committed with {len(whole):,}; delete .*run-01"
    ):
        store.open_run(folder)
    (folder / name).unlink()
    with pytest.raises(ValueError, match=rf"{name} is missing, it was committed with {len(whole):,}; .* scan again"):
        store.open_run(folder)


@pytest.mark.parametrize(("name", "at"), [(store.DATA, -1), (store.DATA, -70), (store.EVENTS, -2), (store.ROWS, 40)])
def test_verify_catches_one_flipped_bit(folder: Path, name: str, at: int) -> None:
    store.verify_run(folder)
    flip(folder / name, at)
    store.open_run(folder)  # the size is right
    with pytest.raises(
        ValueError, match=rf"{name} is not what was committed \(its checksum changed\); delete .* scan again"
    ):
        store.verify_run(folder)
    flip(folder / name, at)
    store.verify_run(folder)


def test_every_flipped_bit_of_the_header_is_an_error_in_words(folder: Path) -> None:
    data = folder / store.DATA
    length = 8 + int.from_bytes(data.read_bytes()[:8], "little")
    for at in range(0, length, 3):
        flip(data, at)
        with pytest.raises(ValueError, match=r"has a damaged header|is not what was committed"):
            store.verify_run(folder)
        flip(data, at)
    store.verify_run(folder)


def test_damaged_description(folder: Path) -> None:
    for damage in (b"{", b"\xff\xfe{}"):
        (folder / store.ABOUT_RUN).write_bytes(damage)
        with pytest.raises(ValueError, match=rf"run\.json is damaged \(.*\); delete {folder} and scan again"):
            store.open_run(folder)


def test_newer_formats_are_refused(tmp_path: Path, folder: Path) -> None:
    newer = r"has format version 4, this tl_fbn reads up to 3; update tl_fbn"
    about = json.loads((folder / store.ABOUT_RUN).read_text(encoding="utf-8"))
    (folder / store.ABOUT_RUN).write_text(json.dumps({**about, "format": 4}), encoding="utf-8")
    with pytest.raises(ValueError, match=rf"run\.json {newer}"):
        store.open_run(folder)
    (tmp_path / store.ABOUT).write_text(json.dumps({"key": "k", "format": 4}))
    with pytest.raises(ValueError, match=rf"recording\.json {newer}"):
        store.read_about(tmp_path)


def test_description_of_a_recording(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"is no recording \(it has no recording\.json\); give the folder"):
        store.read_about(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere does not exist; give the folder"):
        store.read_about(tmp_path / "nowhere")
    about = {"key": "größe", "model": "m", "fields": {"n": [1, None]}, "n_runs": 1}
    about["spaces"] = [{"site": "mlp.out", "widths": [3, 0]}]
    store.write_about(tmp_path, about)
    assert store.read_about(tmp_path) == about | {"format": store.FORMAT_VERSION}


def test_tables_of_a_run_come_back(folder: Path) -> None:
    pd.testing.assert_frame_equal(store.read_table(folder / store.EVENTS), events())
    back = store.read_table(folder / store.ROWS)
    assert back["row"].tolist() == list(range(N_ROWS))
    pd.testing.assert_frame_equal(back.drop(columns="row"), rows().astype({"surprisal": float}), check_exact=True)
