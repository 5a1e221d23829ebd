"""One worker beside the model: jobs in order, memory bounded, errors come back, nothing runs after a failure."""

from __future__ import annotations

import threading
import time
from functools import partial

import pytest

from tl_fbn.acquisition.scan.writer_thread import WriterThread


def test_jobs_run_in_order_on_another_thread() -> None:
    seen: list[int] = []
    threads: set[int] = set()

    def job(i: int) -> None:
        seen.append(i)
        threads.add(threading.get_ident())

    with WriterThread() as worker:
        for i in range(50):
            worker.submit(partial(job, i))
        worker.join()
        assert seen == list(range(50))
    assert len(threads) == 1
    assert threads != {threading.get_ident()}


def test_an_error_comes_back_and_later_jobs_are_dropped() -> None:
    seen: list[int] = []

    def fail() -> None:
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"), WriterThread() as worker:
        worker.submit(fail)
        worker.submit(partial(seen.append, 1))
    assert seen == []


def test_leaving_by_an_exception_drops_what_has_not_begun() -> None:
    seen: list[int] = []
    begun = threading.Event()

    def slow() -> None:
        begun.set()
        time.sleep(0.1)
        seen.append(0)

    with pytest.raises(KeyboardInterrupt), WriterThread() as worker:
        worker.submit(slow)
        worker.submit(partial(seen.append, 1))
        begun.wait()
        raise KeyboardInterrupt
    assert seen == [0]
    assert not any(thread.name == "tl_fbn writer" for thread in threading.enumerate())


def test_who_submits_faster_than_the_worker_works_waits() -> None:
    may_go, most = threading.Event(), 0
    waiting = []

    def job() -> None:
        may_go.wait()
        waiting.pop()

    def submit_all(worker: WriterThread) -> None:
        nonlocal most
        for i in range(6):
            worker.submit(job, 100)
            waiting.append(i)
            most = max(most, len(waiting))

    with WriterThread(backlog=250) as worker:
        thread = threading.Thread(target=submit_all, args=(worker,))
        thread.start()
        time.sleep(0.2)
        assert len(waiting) == 2  # 300 bytes would be more than the backlog
        may_go.set()
        thread.join()
    assert most <= 3


def test_a_job_larger_than_the_backlog_still_runs() -> None:
    seen: list[int] = []
    with WriterThread(backlog=10) as worker:
        worker.submit(partial(seen.append, 1), 1000)
    assert seen == [1]
