"""One worker thread beside the model: jobs run in order, a bounded backlog keeps memory flat, errors come back.

Copying activations to the page cache and hashing them release Python's lock, so they overlap with the model's next
layer. The backlog is counted in bytes: who submits faster than the worker works waits.

Not a pool: one thread, so jobs never race each other.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

_BACKLOG = 256 << 20


class WriterThread(AbstractContextManager["WriterThread"]):
    """Runs jobs in order on a thread of its own.

    A job that raises stops the work: the error is raised again by the next :meth:`submit` or :meth:`join`, and jobs behind
    it are dropped. Leaving the ``with`` block by an exception drops what has not begun.

    Args:
        backlog: Bytes that may wait; a single job may be larger.
    """

    def __init__(self, backlog: int = _BACKLOG) -> None:
        self._backlog = backlog
        self._waiting = 0
        self._changed = threading.Condition()
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], int] | None] = queue.SimpleQueue()
        self._error: BaseException | None = None
        self._dropping = False
        self._thread = threading.Thread(target=self._work, name="tl_fbn writer", daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], Any], n_bytes: int = 0) -> None:
        """Queue a job; waits while more than the backlog is queued before it."""
        with self._changed:
            self._changed.wait_for(lambda: self._error or not self._waiting or self._waiting + n_bytes <= self._backlog)
            self._raise()
            self._waiting += n_bytes
        self._jobs.put((job, n_bytes))

    def join(self) -> None:
        """Wait until every job is done."""
        done = threading.Event()
        self.submit(done.set)
        with self._changed:
            self._changed.wait_for(lambda: self._error or done.is_set())
            self._raise()

    def close(self) -> None:
        """Drop what has not begun, wait for the job at hand, end the thread."""
        self._dropping = True
        self._jobs.put(None)
        self._thread.join()

    def __exit__(self, *exception: Any) -> None:
        try:
            if exception[0] is None:
                self.join()
        finally:
            self.close()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while (entry := self._jobs.get()) is not None:
            job, n_bytes = entry
            try:
                if not self._dropping and self._error is None:
                    job()
            except BaseException as error:
                self._error = error
            del job, entry  # a job holds activations, and must not outlive its turn
            with self._changed:
                self._waiting -= n_bytes
                self._changed.notify_all()
