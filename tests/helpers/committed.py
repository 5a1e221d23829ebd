"""What a recording on disk holds, byte for byte."""

from __future__ import annotations

import json
from pathlib import Path

import tl_fbn as fbn
from tl_fbn.acquisition.recording import store


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of the committed runs."""
    runs = [store.run_folder(folder, number) for number in store.committed_runs(folder)]
    return {f"{run.name}/{file.name}": file.read_bytes() for run in runs for file in sorted(run.iterdir())}


def assert_the_same(found: Path, undisturbed: Path) -> None:
    """Data and tables byte for byte; run.json but for time; nothing else lies about."""
    fbn.Recording.open(found).verify()
    a, b = contents(found), contents(undisturbed)
    assert a.keys() == b.keys()
    for name in a:
        if name.endswith(store.ABOUT_RUN):
            one, other = json.loads(a[name]), json.loads(b[name])
            assert {**one, "seconds": 0, "checksum": 0} == {**other, "seconds": 0, "checksum": 0}, name
        else:
            assert a[name] == b[name], name
    assert (found / store.ABOUT).read_bytes() == (undisturbed / store.ABOUT).read_bytes()
    assert sorted(file.name for file in found.iterdir()) == sorted(file.name for file in undisturbed.iterdir())
