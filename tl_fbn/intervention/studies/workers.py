"""Lesions on other processes: each process has a model of its own, because hooks sit on the model.

``with joblib.parallel_config(backend="loky", n_jobs=4): fbn.lesion_study(...)`` (or ``backend="dask"``) spreads the
lesions of a study over the processes or machines that joblib knows. Model, battery and lesions are sent once, as one
array of bytes that joblib shares (loky maps it into memory, dask scatters it); each thread of a worker unpacks it
once. Without a backend of several processes everything runs here, in order, on the model that was given. Threads are
no such backend: they would all set their hooks on that one model.

The results are those of one process, to the last bit where PyTorch uses as many threads; with another number of
threads its matrix products round otherwise. A model that is too large to send is not for this: give each machine its
own networks and one ``path`` a machine.

Cost: the weights are sent once for each source network and worker.
"""

from __future__ import annotations

import io
import sys
import threading
import warnings
from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar, cast

import cloudpickle
import joblib
import numpy as np
from jaxtyping import UInt8

from tl_fbn.analysis.parallel import requested_workers

Result = TypeVar("Result")
_last_unpacked = threading.local()  # of each thread of a worker: the last bundle it unpacked, and the bundle's hash


def in_order(
    function: Callable[[Any, int], Result], bundle: Any, numbers: Sequence[int]
) -> Generator[Result, None, None]:
    """``function(bundle, number)`` for every number, in order, on the workers that joblib is configured with, or here.

    Args:
        function: A function at the top level of a module, so that workers can import it. It may set hooks on the
            model of the bundle and must take them off again.
        bundle: Everything that the function needs, the model among it; it is pickled, with cloudpickle, for other
            processes.
        numbers: The second argument of each call, in the order of the results.

    Returns:
        A generator that yields each result as soon as it and all before it are done. Closing it drops what workers
        have begun.
    """
    backend = requested_workers()
    # shared memory means threads, whose hooks would meet on one model
    if backend is None or backend.shared or backend.n_jobs == 1 or len(numbers) < 2:
        yield from (function(bundle, number) for number in numbers)
        return
    packed = np.frombuffer(_to_bytes((function, bundle)), np.uint8)  # an array, which joblib knows how to share
    jobs = (joblib.delayed(_result_on_worker)(packed, number) for number in numbers)
    # a generator, so that results are kept and the progress bar moves while others are still computed
    parallel = joblib.Parallel(n_jobs=backend.n_jobs, return_as="generator")
    results = cast("Generator[Result, None, None]", parallel(jobs))
    try:
        for result in results:  # noqa: UP028  ("yield from" would hand a close on at once, before the warning is muted)
            yield result
    finally:
        with warnings.catch_warnings():
            # joblib says what is meant by closing
            warnings.filterwarnings("ignore", message=r"\d+ tasks (have been successfully|which were still)")
            results.close()


class _PicklerByName(cloudpickle.Pickler):
    """Pickles globals of transformers' modules by name: its hooks share one of them, which a copy would not be."""

    def reducer_override(self, obj: Any) -> Any:
        # an object whose class is of transformers and that is a global of that module is looked up again in the worker
        home = getattr(type(obj), "__module__", "") or ""
        if home.startswith("transformers."):
            names = vars(sys.modules[home]).items() if home in sys.modules else ()
            name = next((name for name, value in names if value is obj), None)
            if name is not None:
                return getattr, (sys.modules[home], name)
        return super().reducer_override(obj)


def _to_bytes(thing: Any) -> bytes:
    with io.BytesIO() as file:
        _PicklerByName(file).dump(thing)
        return file.getvalue()


def _result_on_worker(packed: UInt8[np.ndarray, " byte"], number: int) -> Any:
    """One result on a worker; the bundle is unpacked only if it is not the one this thread unpacked last."""
    key = joblib.hash(packed)
    if getattr(_last_unpacked, "key", None) != key:
        _last_unpacked.bundle = cloudpickle.loads(packed.tobytes())
        _last_unpacked.key = key
    function, bundle = _last_unpacked.bundle
    return function(bundle, number)
