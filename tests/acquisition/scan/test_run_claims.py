"""Claims of runs: what another process works on is waited for, and a claim ends however the commit ends."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.stores import N_ROWS, WIDTHS, events, rows, write_run
from tl_fbn.acquisition.recording import store
from tl_fbn.acquisition.scan.run_claims import claimed_groups, commit_and_release, commit_or_discard, release


def claimed(path: Path, run: int) -> store.Claim:
    claim = store.claim(path, run)
    assert claim is not None
    return claim


def test_runs_come_in_the_order_given_and_committed_ones_are_let_go(tmp_path: Path) -> None:
    write_run(tmp_path, 1)
    found = []
    for claims in claimed_groups(tmp_path, [[2], [1], [0]]):
        for number, claim in claims.items():
            assert store.claim(tmp_path, number) is None  # held
            found.append(number)
            claim.release()
    assert found == [2, 0]
    claimed(tmp_path, 1).release()


def test_a_run_of_another_process_is_tried_again_at_the_end(tmp_path: Path) -> None:
    died = claimed(tmp_path, 0)
    committed = claimed(tmp_path, 1)
    found = []
    for claims in claimed_groups(tmp_path, [[0], [1], [2]]):
        found += claims
        if 2 in claims:  # the others of this round are behind us; now their owners end
            write_run(tmp_path, 1)
            died.release()
            committed.release()
        release(claims)
    assert found == [2, 0]


def test_a_group_is_claimed_whole_or_not_at_all(tmp_path: Path) -> None:
    elsewhere = claimed(tmp_path, 2)
    write_run(tmp_path, 0)
    found = []
    for claims in claimed_groups(tmp_path, [[0, 1, 2], [3, 4]]):
        found.append(list(claims))
        if 3 in claims:  # nobody was kept from the rest of the group meanwhile
            claimed(tmp_path, 1).release()
            elsewhere.release()
        release(claims)
    assert found == [[3, 4], [1, 2]]
    assert not list(tmp_path.glob(".*.lock"))


def test_what_could_not_be_committed_is_removed(tmp_path: Path) -> None:
    laid_out = store.lay_out(tmp_path, 0, N_ROWS, WIDTHS)
    in_the_way = store.run_folder(tmp_path, 0)
    in_the_way.mkdir()
    (in_the_way / "notes.txt").touch()
    with pytest.raises(FileExistsError, match="is in the way"):
        commit_or_discard(laid_out, in_the_way, {"key": "k"}, events(), rows())
    assert laid_out.file.closed
    assert list(tmp_path.iterdir()) == [in_the_way]


def test_a_filled_run_is_committed(tmp_path: Path) -> None:
    laid_out = store.lay_out(tmp_path, 0, N_ROWS, WIDTHS)
    commit_or_discard(laid_out, store.run_folder(tmp_path, 0), {"key": "k"}, events(), rows())
    assert store.committed_runs(tmp_path) == [0]


def fails(*_: Any) -> None:
    raise OSError(errno.ENOSPC, "no space")


def test_the_claim_ends_with_the_commit_and_with_its_error(tmp_path: Path) -> None:
    committed: list[int] = []
    commit_and_release(lambda: committed.append(1), claimed(tmp_path, 0), tmp_path, 0)
    assert committed == [1]
    with pytest.raises(OSError, match="ran out of room while run 0 was written"):
        commit_and_release(fails, claimed(tmp_path, 0), tmp_path, 0)
    claimed(tmp_path, 0).release()
