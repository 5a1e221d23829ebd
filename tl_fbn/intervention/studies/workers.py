"""Lesions on other processes: each process has a model of its own, because hooks sit on the model.

``with joblib.parallel_config(backend="loky", n_jobs=4): fbn.lesion_study(...)`` (or ``backend="dask"``) spreads the
lesions of a study over the processes or machines that joblib knows. The model is sent as one array of bytes that joblib
shares (loky maps it into memory, dask scatters it), and what a part of the study runs on it as another; each thread of
a worker unpacks the model once for a whole study. Without a backend of several processes everything runs here, in
order, on the model that was given. Threads are no such backend: they would all set their hooks on that one model.

A worker that ends before its result (most often because memory ran out: each holds a model) ends the study with an
error. What came before it is kept where the study has a folder.

The results are those of one process, to the last bit where PyTorch uses as many threads; with another number of
threads its matrix products round otherwise. A model that is too large to send is not for this: give each machine its
own networks and one ``path`` a machine.

Cost: the weights are written to memory that workers share once for each part of a study, and unpacked once a worker.
"""

from __future__ import annotations

import io
import pickle
import sys
import threading
import warnings
from collections.abc import Callable, Generator, Sequence
from concurrent.futures.process import BrokenProcessPool
from functools import cached_property
from typing import Any, TypeVar, cast
from uuid import uuid4

import cloudpickle
import joblib
import numpy as np
from jaxtyping import UInt8

from tl_fbn.analysis.parallel import requested_workers
from tl_fbn.errors import InputError

Result = TypeVar("Result")
_unpacked = threading.local()  # of each thread of a worker: the model and the bundle it unpacked last, with their keys


class Packed:
    """Something large that workers unpack once, whatever else they are sent; usually the model of a study.

    Args:
        thing: The thing. It must not change until the study is over.
    """

    def __init__(self, thing: Any) -> None:
        self.thing = thing
        self.key = uuid4().hex  # what a worker knows it by

    @cached_property
    def data(self) -> UInt8[np.ndarray, " byte"]:
        """The thing as bytes, in an array, which joblib knows how to share; made once, when workers first need it."""
        return np.frombuffer(_to_bytes(self.thing), np.uint8)


def in_order(
    function: Callable[[Any, int], Result], bundle: Any, numbers: Sequence[int], model: Packed | None = None
) -> Generator[Result, None, None]:
    """``function(bundle, number)`` for every number, in order, on the workers that joblib is configured with, or here.

    Args:
        function: A function at the top level of a module, so that workers can import it. It may set hooks on the
            model of the bundle and must take them off again.
        bundle: Everything that the function needs, the model among it; it is pickled, with cloudpickle, for other
            processes.
        numbers: The second argument of each call, in the order of the results.
        model: The model in the bundle, which workers then keep for the next call. None sends it with the bundle.

    Returns:
        A generator that yields each result as soon as it and all before it are done. Closing it drops what workers
        have begun.

    Raises:
        InputError: A worker ended before its result came.
    """
    backend = requested_workers()
    # shared memory means threads, whose hooks would meet on one model
    if backend is None or backend.shared or backend.n_jobs == 1 or len(numbers) < 2:
        yield from (function(bundle, number) for number in numbers)
        return
    packed = np.frombuffer(_to_bytes((function, bundle), model), np.uint8)
    key = uuid4().hex
    sent = None if model is None else (model.key, model.data)
    jobs = (joblib.delayed(_result_on_worker)(sent, key, packed, number) for number in numbers)
    # a generator, so that results are kept and the progress bar moves while others are still computed
    parallel = joblib.Parallel(n_jobs=backend.n_jobs, return_as="generator")
    results = cast("Generator[Result, None, None]", parallel(jobs))
    try:
        for result in results:  # noqa: UP028  ("yield from" would hand a close on at once, before the warning is muted)
            yield result
    except BrokenProcessPool as error:
        size = packed.nbytes if model is None else model.data.nbytes
        raise InputError(
            f"one of {backend.n_jobs} worker processes ended before its result came, most often because memory ran "
            f"out: each holds a model of {size / 1e9:.2g} GB. Results that had come are kept where path= was given; "
            "make the same call again with fewer workers"
        ) from error
    finally:
        with warnings.catch_warnings():
            # joblib says what is meant by closing
            warnings.filterwarnings("ignore", message=r"\d+ tasks (have been successfully|which were still)")
            results.close()


class _PicklerByName(cloudpickle.Pickler):
    """Pickles globals of transformers' modules by name (its hooks share one of them, which a copy would not be), and in
    the place of a model that is sent by itself a mark."""

    model: Any = None

    def reducer_override(self, obj: Any) -> Any:
        # an object whose class is of transformers and that is a global of that module is looked up again in the worker
        home = getattr(type(obj), "__module__", "") or ""
        if home.startswith("transformers."):
            names = vars(sys.modules[home]).items() if home in sys.modules else ()
            name = next((name for name, value in names if value is obj), None)
            if name is not None:
                return getattr, (sys.modules[home], name)
        return super().reducer_override(obj)

    def persistent_id(self, obj: Any) -> str | None:
        return "model" if self.model is not None and obj is self.model else None


class _Unpickler(pickle.Unpickler):
    """Puts the model that was sent by itself where its mark is."""

    model: Any = None

    def persistent_load(self, pid: Any) -> Any:
        return self.model


def _to_bytes(thing: Any, model: Packed | None = None) -> bytes:
    with io.BytesIO() as file:
        pickler = _PicklerByName(file)
        pickler.model = None if model is None else model.thing
        pickler.dump(thing)
        return file.getvalue()


def _from_bytes(packed: UInt8[np.ndarray, " byte"], model: Any = None) -> Any:
    unpickler = _Unpickler(io.BytesIO(packed.tobytes()))
    unpickler.model = model
    return unpickler.load()


def _result_on_worker(
    sent: tuple[str, UInt8[np.ndarray, " byte"]] | None, key: str, packed: UInt8[np.ndarray, " byte"], number: int
) -> Any:
    """One result on a worker; model and bundle are unpacked only if they are not those this thread unpacked last."""
    if sent is not None and getattr(_unpacked, "model_key", None) != sent[0]:
        _unpacked.model = _unpacked.bundle = None  # two models need not stand in memory
        _unpacked.model = _from_bytes(sent[1])
        _unpacked.model_key = sent[0]
    if getattr(_unpacked, "key", None) != key:
        _unpacked.bundle = None
        _unpacked.bundle = _from_bytes(packed, None if sent is None else _unpacked.model)
        _unpacked.key = key
    function, bundle = cast("tuple[Callable[[Any, int], Any], Any]", _unpacked.bundle)
    return function(bundle, number)
