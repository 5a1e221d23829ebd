"""Lesions on other processes: each has a model of its own, because hooks sit on the model.

``with joblib.parallel_config(backend="dask"): fbn.lesion_study(...)`` (or ``backend="loky", n_jobs=4``) spreads the lesions of a study over whatever
joblib knows. Model, battery and lesions travel once, as one block of bytes that joblib shares (loky maps it into memory, dask scatters it); a worker unpacks
it once a thread. Without a backend of several processes everything runs here, in order, on the model that was given: threads
would set their hooks on one model.

The results are those of one process, to the last bit where PyTorch uses as many threads; with another number of threads its matrix products round
otherwise. A model that is too large to send is not for this: give each machine its own networks and one ``path`` a machine.

Cost: the weights, once for each source network and worker.
"""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, cast

import cloudpickle
import joblib
import numpy as np
from jaxtyping import UInt8

from tl_fbn.analysis.parallel import asked_for

Result = TypeVar("Result")
_here = threading.local()  # a worker's own: the last bundle it unpacked


def in_order(function: Callable[[Any, int], Result], bundle: Any, numbers: Sequence[int]) -> Iterator[Result]:
    """``function(bundle, number)`` for every number, in order, on the workers joblib has been told of, or here.

    Args:
        function: A function of a module, which may set hooks on the bundle's model and takes them off again.
        bundle: Everything it needs, the model among it.
        numbers: What it is called with.
    """
    asked = asked_for()
    if asked is None or asked.shared or asked.n_jobs == 1 or len(numbers) < 2:
        yield from (function(bundle, number) for number in numbers)
        return
    packed = np.frombuffer(_packed((function, bundle)), np.uint8)  # an array, which joblib knows how to share
    jobs = (joblib.delayed(_unpacked)(packed, number) for number in numbers)
    parallel = joblib.Parallel(n_jobs=asked.n_jobs, return_as="generator")
    yield from cast("Iterator[Result]", parallel(jobs))


class _Packer(cloudpickle.Pickler):
    """Leaves the globals of the host's modules where they are: transformers' hooks share one, which no copy could stand in for."""

    def reducer_override(self, obj: Any) -> Any:
        home = getattr(type(obj), "__module__", "") or ""
        if home.startswith("transformers."):
            names = vars(sys.modules[home]).items() if home in sys.modules else ()
            name = next((name for name, value in names if value is obj), None)
            if name is not None:
                return getattr, (sys.modules[home], name)
        return super().reducer_override(obj)


def _packed(thing: Any) -> bytes:
    with io.BytesIO() as file:
        _Packer(file).dump(thing)
        return file.getvalue()


def _unpacked(packed: UInt8[np.ndarray, " byte"], number: int) -> Any:
    """One result, from the bundle that this thread has unpacked, or now unpacks."""
    key = joblib.hash(packed)
    if getattr(_here, "key", None) != key:
        _here.bundle = cloudpickle.loads(packed.tobytes())
        _here.key = key
    function, bundle = _here.bundle
    return function(bundle, number)
