"""One worker thread beside the model: jobs run in order, memory stays bounded, errors come back to the caller.

Copying activations to main memory and to files releases Python's global lock, so that it overlaps with the model's
next layer. Jobs that wait hold activations; they are counted in bytes, and a caller that submits faster than the
worker works is made to wait at 256 MiB.

It is not a pool: with one thread, jobs never race each other.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

_BACKLOG_BYTES = 256 << 20  # 256 MiB


class WriterThread(AbstractContextManager["WriterThread"]):
    """Runs jobs in order on a thread of its own, which ends with the ``with`` block.

    A job that raises an error stops the work: the error is raised again by the next :meth:`submit` or :meth:`join`, and
    jobs behind it are dropped. Leaving the ``with`` block waits for all jobs; leaving it by an exception drops the jobs
    that have not begun.

    Args:
        backlog: Number of bytes that the jobs which are not done may hold together; a job that is larger runs alone.
    """

    def __init__(self, backlog: int = _BACKLOG_BYTES) -> None:
        self._backlog = backlog
        self._waiting_bytes = 0  # of all jobs submitted and not done, the running one included
        self._state_changed = threading.Condition()  # guards _waiting_bytes; notified when a job ends
        # (job, its bytes); None ends the thread
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], int] | None] = queue.SimpleQueue()
        self._error: BaseException | None = None
        self._drops_jobs = False
        self._thread = threading.Thread(target=self._run_jobs, name="tl_fbn writer", daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], Any], n_bytes: int = 0) -> None:
        """Queue a job; waits while it and those before it hold more bytes than the backlog allows.

        Args:
            job: Called without arguments on the worker's thread.
            n_bytes: Number of bytes that the job holds until it is done.

        Raises:
            BaseException: The error of an earlier job.
        """
        with self._state_changed:
            # with nothing before it any job may go, or one larger than the backlog would wait for ever
            self._state_changed.wait_for(
                lambda: self._error or not self._waiting_bytes or self._waiting_bytes + n_bytes <= self._backlog
            )
            self._raise_job_error()
            self._waiting_bytes += n_bytes
        self._jobs.put((job, n_bytes))

    def join(self) -> None:
        """Wait until every job is done.

        Raises:
            BaseException: The error of a job.
        """
        # jobs run in order: when this one has run, so have all before it
        done = threading.Event()
        self.submit(done.set)
        with self._state_changed:
            self._state_changed.wait_for(lambda: self._error or done.is_set())
            self._raise_job_error()

    def close(self) -> None:
        """Drop the jobs that have not begun, wait for the running one, and end the thread."""
        self._drops_jobs = True
        self._jobs.put(None)
        self._thread.join()

    def __exit__(self, *exception: Any) -> None:
        try:
            if exception[0] is None:
                self.join()
        finally:
            self.close()

    def _raise_job_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _run_jobs(self) -> None:
        """The worker's thread: take jobs until None comes; after an error, take them without running them."""
        while (entry := self._jobs.get()) is not None:
            job, n_bytes = entry
            try:
                if not self._drops_jobs and self._error is None:
                    job()
            except BaseException as error:  # of any kind: it is raised again in the thread that submits
                self._error = error
            del job, entry  # a job holds activations, and must not outlive its turn
            with self._state_changed:
                self._waiting_bytes -= n_bytes
                self._state_changed.notify_all()
