"""A run: read only where asked, never written to, and pooled with its tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.external_arrays import arrays, record
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.acquisition.recording.run import Run, pooled_run, read_only_view
from tl_fbn.errors import InputError
from tl_fbn.units import Network, UnitSpace

FLAT = np.concatenate([np.concatenate(run, axis=1) for run in arrays()[:1]])


@pytest.fixture(params=["memory", "disk"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    return record(path=tmp_path / "rec" if request.param == "disk" else None)[0]


def test_on_disk_layers_are_memory_maps(tmp_path: Path) -> None:
    run = record(path=tmp_path)[0]
    assert isinstance(run.layer(2), np.memmap)
    assert not run.layer(2).flags.writeable
    assert not isinstance(run.read(), np.memmap)


@settings(max_examples=60, deadline=None)
@given(
    units=st.one_of(st.none(), st.sets(st.integers(0, 6))),
    rows=st.one_of(
        st.none(),
        st.slices(12),
        st.lists(st.integers(-12, 11), max_size=6),
    ),
    kind=st.sampled_from(["network", "indices", "array"]),
)
def test_read_equals_numpy_indexing(
    units: set[int] | None, rows: Any, kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "read"
    run = Recording.open(path)[0] if path.exists() else record(path=path)[0]
    chosen = list(range(7)) if units is None else sorted(units)
    wanted: Any = None
    if units is not None:
        wanted = {
            "network": Network.from_indices(run.space, chosen),
            "indices": chosen,
            "array": np.array(chosen, int),
        }[kind]
    where = np.array(rows, dtype=int) if isinstance(rows, list) else rows
    found = run.read(units=wanted, rows=where)
    expected = FLAT[slice(None) if rows is None else where][:, chosen]
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)


def test_layers_are_read_only_and_reads_are_copies(run: Run) -> None:
    with pytest.raises(ValueError, match="read-only"):
        run.layer(0)[0, 0] = 1
    part = run.read(units=[0, 1, 2, 3], rows=slice(0, 2))
    part[:] = 0
    assert run.layer(0)[:2].all()


def test_read_of_units_that_are_not_there(run: Run) -> None:
    elsewhere = Network.from_indices(UnitSpace("mlp.out", (4, 0, 3), model="gpt2"), [0])
    with pytest.raises(ValueError, match=r"cannot read units of external mlp\.neurons .* and gpt2 mlp\.out"):
        run.read(units=elsewhere)
    with pytest.raises(IndexError, match=r"unit 7 is not in external mlp\.neurons .*0 to 6"):
        run.read(units=[7])
    for layer in (1, 3):
        with pytest.raises(
            IndexError, match=rf"layer {layer} was not recorded at external mlp\.neurons .*; layers: 0, 2"
        ):
            run.layer(layer)


def test_a_view_is_read_only_and_its_array_is_not() -> None:
    array = np.zeros((2, 3))
    view = read_only_view(array)
    with pytest.raises(ValueError, match="read-only"):
        view[0, 0] = 1
    array[0, 0] = 1
    assert view[0, 0] == 1


def test_a_pooled_run_is_in_memory_with_one_row_a_prompt(run: Run) -> None:
    pooled = pooled_run(run, "last")  # prompts of three rows
    assert (pooled.n_rows, pooled.folder) == (4, None)
    assert pooled.rows["n_tokens"].tolist() == [3, 3, 3, 3]
    assert pooled.segment_starts.all()
    np.testing.assert_array_equal(pooled.read(), run.read(rows=[2, 5, 8, 11]))


@pytest.mark.usefixtures("unchecked")
def test_units_are_read_by_ascending_integers_only(run: Run) -> None:
    mask = np.arange(7) > 4
    for asked in (mask, mask.tolist(), mask.astype(int)):
        with pytest.raises(InputError, match=r"Network\(space, mask\)"):
            run.read(units=asked)
    for asked in ([5, 0], [0, 5, 5], np.array([5, 0])):
        with pytest.raises(InputError, match="columns would come in another order than asked for"):
            run.read(units=asked)
    with pytest.raises(InputError, match="neither the flat index"):
        run.read(units=[0, 2.7])
    np.testing.assert_array_equal(run.read(units=Network(run.space, mask)), FLAT[:, mask])


@pytest.mark.usefixtures("unchecked")
def test_rows_are_numbers_that_exist_or_a_mask_of_all(run: Run) -> None:
    mask = np.arange(12) % 3 == 1
    for asked in (mask, mask.tolist(), np.flatnonzero(mask)):
        for units in (None, [0], [4, 5, 6]):
            expected = FLAT[mask] if units is None else FLAT[np.ix_(mask, units)]
            np.testing.assert_array_equal(run.read(rows=asked, units=units), expected)
    assert run.read(rows=[]).shape == (0, 7)
    for bad, message in (
        (mask[:5], "a mask of 5 rows, the run has 12"),
        ([0.0, 2.7], "are no row numbers"),
        (3, "are no row numbers"),
        (["1"], "rows= has the type"),
        ([0, 12], "row 12 is not in the run; rows: 0 to 11"),
        ([-13], "row -13 is not in the run"),
        (slice(0.5, 2), "is no slice of whole numbers"),
    ):
        with pytest.raises(InputError, match=message):
            run.read(rows=bad)
