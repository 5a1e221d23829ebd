"""A committed run is held against what was committed, before anything is mapped, and no file outside it is read."""

from __future__ import annotations

import gc
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.stores import N_ROWS, WIDTHS
from tl_fbn.acquisition.recording import committed_run, descriptions
from tl_fbn.acquisition.recording.descriptions import ABOUT_RUN, DATA, EVENTS, ROWS
from tl_fbn.errors import InputError


def forge(folder: Path, *, checksum: bool = True, **changes: Any) -> None:
    """Change entries of run.json, with the checksum that belongs to them or as earlier versions wrote it."""
    about = json.loads((folder / ABOUT_RUN).read_text(encoding="utf-8"))
    about = {**about, "bytes": {name: (folder / name).stat().st_size for name in descriptions.RUN_FILES}, **changes}
    older = {name: value for name, value in about.items() if name not in ("checksum", "header")} | {"format": 2}
    content = descriptions.description_bytes(about) if checksum else json.dumps(older).encode()
    (folder / ABOUT_RUN).write_bytes(content)


def rewrite_header(data: Path, **changes: Any) -> None:
    """Replace entries of tensors in the header of a data file, whose numbers stay."""
    content = data.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    for name, change in changes.items():
        header[name.replace("_", ".")].update(change)
    encoded = json.dumps(header).encode()
    data.write_bytes(len(encoded).to_bytes(8, "little") + encoded + content[8 + length :])


@pytest.mark.usefixtures("unchecked")  # a checker of types reads the first tensor
def test_a_run_knows_its_tensors_without_an_open_file(folder: Path) -> None:
    gc.collect()
    before = len(list(Path("/proc/self/fd").iterdir()))
    about, tensors = committed_run.open_run(folder, WIDTHS)
    assert tensors.n_rows == about["n_rows"] == N_ROWS
    assert {name: place.shape for name, place in tensors.places.items()} == {
        name: (N_ROWS, width) for name, width in WIDTHS.items()
    }
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
    committed_run.verify_run(folder, WIDTHS, about)


@pytest.mark.parametrize(
    ("widths", "message"),
    [
        ({**WIDTHS, "layer.02": 3}, "it holds 5 units of layer.02, recording.json says 3 units"),
        ({**WIDTHS, "layer.05": 3}, "it holds nothing of layer.05, recording.json says 3 units"),
        ({"layer.00": 3, "layer.02": 5}, "it holds 1 units of layer.11, recording.json says nothing"),
        ({**WIDTHS, "layer.00": 3_000_000_000}, "recording.json says 3000000000 units"),
    ],
)
def test_widths_are_those_of_the_recording(widths: dict[str, int], message: str, folder: Path) -> None:
    for run in (folder, folder):
        with pytest.raises(InputError, match=message):
            committed_run.open_run(run, widths)
        forge(folder, checksum=False)


@pytest.mark.parametrize("checksum", [True, False])
@pytest.mark.parametrize(
    "change",
    [
        {"shape": [10**12, 3]},
        {"shape": [N_ROWS, 10**12]},
        {"shape": [N_ROWS, -3]},
        {"shape": [N_ROWS - 1, 3]},
        {"shape": [N_ROWS, 2]},
        {"shape": [N_ROWS, 3.0]},
        {"shape": [18]},
        {"shape": None},
        {"data_offsets": [72, 144]},
        {"data_offsets": [-72, 0]},
        {"data_offsets": [0, 10**15]},
        {"dtype": "I32"},
        {"dtype": "F16"},
        {"dtype": []},
    ],
)
def test_a_header_has_to_describe_the_file_to_its_last_byte(
    change: dict[str, Any], checksum: bool, folder: Path
) -> None:
    rewrite_header(folder / DATA, layer_00=change)
    forge(folder, checksum=checksum)
    with pytest.raises(
        InputError, match=rf"activations\.safetensors has a damaged header .*delete {folder} and scan again"
    ):
        committed_run.open_run(folder)


def test_rows_of_the_description_and_of_the_file_are_the_same(folder: Path) -> None:
    for rows in (N_ROWS - 1, 300_000_000):
        forge(folder, checksum=False, n_rows=rows)
        with pytest.raises(InputError, match=rf"has the shape \[6, 3\], the run {rows} rows"):
            committed_run.open_run(folder)


def test_names_in_a_description_are_never_paths(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"12345")
    for name in ("../secret", str(tmp_path / "secret"), "/dev/zero"):
        for entry in ("bytes", descriptions.XXH3):
            about = json.loads((folder / ABOUT_RUN).read_text(encoding="utf-8"))
            forge(folder, **{entry: {**about[entry], name: about[entry][EVENTS]}})
            with pytest.raises(
                InputError, match=r"run\.json is damaged \(its .*they are the .* of activations"
            ) as refused:
                committed_run.open_run(folder)
            assert "5 bytes" not in str(refused.value)
            forge(folder, **{entry: about[entry]})


@pytest.mark.parametrize("name", [DATA, EVENTS, ROWS])
def test_only_regular_files_are_read(name: str, folder: Path) -> None:
    size = (folder / name).stat().st_size
    (folder / name).unlink()
    os.mkfifo(folder / name)  # which would wait for a writer for ever
    with pytest.raises(InputError, match=rf"{name} is missing, it was committed with {size:,}"):
        committed_run.verify_run(folder)
    (folder / name).unlink()
    (folder / name).symlink_to("/dev/zero")  # which has no end
    with pytest.raises(InputError, match=f"{name} is missing"):
        committed_run.verify_run(folder)


def test_a_run_recorded_anew_does_not_pass_for_the_one_opened(folder: Path, tmp_path: Path) -> None:
    about, _ = committed_run.open_run(folder)
    forge(folder, seconds=3.5)
    committed_run.verify_run(folder)
    with pytest.raises(InputError, match="holds another run than when it was opened"):
        committed_run.verify_run(folder, opened=about)


def test_a_table_that_was_forged_with_its_checksum_is_still_a_table(folder: Path) -> None:
    table = (folder / ROWS).read_text(encoding="utf-8")
    for content in ("", "row\n1\t2\n", "\n", "row\n{\n", table.removesuffix("\n").rpartition("\n")[0] + "\n"):
        (folder / ROWS).write_text(content, encoding="utf-8")
        about = json.loads((folder / ABOUT_RUN).read_text(encoding="utf-8"))
        sums = {**about[descriptions.XXH3], ROWS: committed_run.files.checksum_of_file(folder / ROWS)}
        forge(folder, **{descriptions.XXH3: sums})
        with pytest.raises(InputError, match=r"rows\.tsv (is no table|has [05] lines, the run 6 rows)"):
            committed_run.verify_run(folder)
