"""The JSON files of a recording: what was written is read, and whatever else stands there is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import xxhash

from tl_fbn.acquisition.recording import descriptions as d
from tl_fbn.errors import InputError

ABOUT: dict[str, Any] = {
    "key": "größe",
    "model": "m",
    "fields": {"n": [1, None], "tuple": (1, 2)},
    "n_runs": 2,
    "spaces": [{"site": "mlp.out", "widths": [3, 0, 5]}],
    "prompts": ["aa", "bb"],
}
RUN: dict[str, Any] = {
    "key": "k",
    "n_rows": 6,
    "bytes": dict.fromkeys(d.RUN_FILES, 9),
    d.XXH3: dict.fromkeys(d.RUN_FILES, "0f"),
    d.HEADER: "0f",
}


def written(path: Path, about: dict[str, Any]) -> Path:
    path.write_bytes(d.description_bytes(about))
    return path


def test_what_was_written_is_read_and_its_checksum_is_of_all_entries(tmp_path: Path) -> None:
    path = written(tmp_path / d.ABOUT, ABOUT)
    plain = {**ABOUT, "fields": {"n": [1, None], "tuple": [1, 2]}, "format": d.FORMAT_VERSION}
    assert d.read_description(path) == plain
    # by hand: XXH3 of JSON with sorted keys
    assert (
        json.loads(path.read_text("utf-8"))["checksum"]
        == xxhash.xxh3_128(json.dumps(plain, sort_keys=True).encode()).hexdigest()
    )
    # spaces and the order of entries do not count
    path.write_text(json.dumps(dict(reversed(json.loads(path.read_text("utf-8")).items()))))
    assert d.read_description(path) == plain and d.has_checksum(plain)


@pytest.mark.parametrize(
    "changed",
    [{"n_runs": 3}, {"prompts": []}, {"spaces": [{"site": "mlp.out", "widths": [3, 0, 3]}]}, {"checksum": None}],
)
def test_every_changed_entry_is_an_error(changed: dict[str, Any], tmp_path: Path) -> None:
    path = written(tmp_path / d.ABOUT, ABOUT)
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changed))
    with pytest.raises(InputError, match=r"recording\.json is damaged \(it is not what was written: its checksum"):
        d.read_description(path)


def test_every_flipped_bit_is_an_error_or_the_same(tmp_path: Path) -> None:
    path = written(tmp_path / d.ABOUT_RUN, RUN)
    whole = path.read_bytes()
    plain = d.read_description(path)
    for at in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[at // 8] ^= 1 << at % 8
        path.write_bytes(damaged)
        try:
            assert d.read_description(path) == plain
        except InputError as error:
            assert "run.json" in str(error)


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff\xfe{}", b"[" * 100_000, b'{"format": 0}', b'{"format": "3"}'])
def test_no_json_object_says_what_to_do(content: bytes, tmp_path: Path) -> None:
    for name, remedy in ((d.ABOUT, f"delete {tmp_path / d.ABOUT} and"), (d.ABOUT_RUN, f"delete {tmp_path} and")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=rf"{name} is damaged \(.*\); {remedy} scan again"):
            d.read_description(tmp_path / name)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"n_runs": 3e8}, "its n_runs is 300000000.0, not a number of runs"),
        ({"n_runs": True}, "its n_runs is True"),
        ({"n_runs": 0}, "its n_runs is 0"),
        ({"key": None}, "its key is None, not a text"),
        ({"fields": []}, "its fields is"),
        ({"spaces": []}, "its spaces are"),
        ({"spaces": [{"site": "a", "widths": [-1]}]}, "its spaces are"),
        ({"spaces": [{"site": "a", "widths": [0]}]}, "its spaces are"),
        ({"spaces": [{"site": "a", "widths": [1.0]}]}, "its spaces are"),
        ({"spaces": [{"site": "a", "widths": [1]}] * 2}, "it lists a site twice"),
        ({"prompts": "abc"}, "its prompts are 'abc', no list of digests"),
    ],
)
def test_entries_of_a_recording_are_of_their_kind(changed: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{d.ABOUT} is damaged .{message}"):
        d.checked_recording({**ABOUT, **changed}, tmp_path / d.ABOUT)
    assert d.checked_recording(dict(ABOUT), tmp_path / d.ABOUT) == ABOUT
    older = {name: value for name, value in ABOUT.items() if name not in ("spaces", "prompts")}
    older["space"] = ABOUT["spaces"][0]
    assert d.checked_recording(older, tmp_path / d.ABOUT) == older


@pytest.mark.parametrize(
    "changed",
    [
        {"n_rows": -1},
        {"n_rows": 3e9},
        {"bytes": {}},
        {d.XXH3: {}},
        {d.XXH3: None},
        {"bytes": {**RUN["bytes"], "../../secret": 9}},
        {d.XXH3: {"/dev/zero": "0f", "events.tsv": "0f", "rows.tsv": "0f"}},
        {"bytes": dict.fromkeys(d.RUN_FILES, -9)},
        {d.HEADER: None},
    ],
)
def test_entries_of_a_run_are_of_their_kind_and_never_paths(changed: dict[str, Any], tmp_path: Path) -> None:
    about = {**RUN, "format": d.FORMAT_VERSION}
    assert d.checked_run(dict(about), tmp_path / d.ABOUT_RUN) == about
    with pytest.raises(InputError, match=rf"run\.json is damaged \(its .*\); delete {tmp_path} and scan again"):
        d.checked_run({**about, **changed}, tmp_path / d.ABOUT_RUN)


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"model_dtype": "bfloat16", "fields": {"dtype": "float32"}}, " in bfloat16, stored as float32"),
        ({"model_dtype": "float32", "fields": {"dtype": "float32"}}, " in float32"),
        ({"model_dtype": "bfloat16", "fields": {"dtype": "float32"}, "pool": "mean"}, " in bfloat16"),
        ({"model_dtype": "bfloat16", "fields": {}}, " in bfloat16"),
        ({"fields": {"dtype": "float32"}}, ""),  # of an earlier version
        ({"model_dtype": None}, ""),
    ],
)
def test_what_the_model_computed_in_is_said_where_it_is_known(about: dict[str, Any], said: str) -> None:
    assert d.computed_in(about) == said
    assert d.model_dtype_of(about) == ({"model_dtype": about["model_dtype"]} if said else {})
