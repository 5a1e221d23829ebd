"""Independent pieces of work, such as layers or restarts, side by side.

``each(function, items)`` is ``[function(item) for item in items]`` on as many threads as numpy's matrix products would use,
with those products held to one thread each meanwhile: most of what an analysis does between its products runs on one core
otherwise. The result does not depend on the number of threads.

``joblib.parallel_config`` overrides it: ``with joblib.parallel_config(backend="dask"): fbn.fit_glm(recording)`` spreads the
pieces over a cluster, ``parallel_config(n_jobs=1)`` turns it off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple, TypeVar, cast

import joblib
import numpy as np
from joblib.parallel import LokyBackend, get_active_backend
from threadpoolctl import ThreadpoolController
from tqdm.auto import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")
BAR_AFTER = 2.0  # seconds after which an analysis shows its bar; what is quicker shows none
_MIN_NUMBERS_FOR_THREADS = 4_000_000  # numbers to be looked at, below which starting a thread costs more than it saves


class Asked(NamedTuple):
    """What ``joblib.parallel_config`` says: how many workers (-1: as many as there are), and whether they share our memory."""

    n_jobs: int
    shared: bool


def asked_for() -> Asked | None:
    """What somebody chose with ``joblib.parallel_config``; None where nobody did."""
    backend, config = get_active_backend()
    n_jobs = cast("int | None", config)
    if n_jobs is None and isinstance(backend, LokyBackend):  # joblib's default
        return None
    return Asked(-1 if n_jobs is None else n_jobs, bool(getattr(backend, "supports_sharedmem", False)))


def each(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    size: int,
    products: bool = False,
    bar: tqdm | None = None,
) -> list[Result]:
    """A function of every item, in order.

    Args:
        function: Leaves its arguments alone, and depends on nothing else that changes.
        items: What it is called with.
        size: How many numbers are looked at in all; small work is done here and now.
        products: The work is matrix products and little else, which numpy spreads over threads better than we do.
        bar: Moves on by one with every result.
    """
    items = list(items)
    asked = asked_for()
    if size < _MIN_NUMBERS_FOR_THREADS or len(items) < 2:
        return _counted(map(function, items), bar)
    if asked is not None:
        return _counted(_elsewhere(function, items, asked), bar)
    if products:
        return _counted(map(function, items), bar)
    pools = ThreadpoolController().select(user_api="blas")
    threads = max([pool["num_threads"] for pool in pools.info()], default=1)
    workers = min(threads, len(items))
    with pools.limit(limits=max(1, threads // workers)), ThreadPoolExecutor(workers) as executor:
        return _counted(executor.map(function, items), bar)


def _counted(results: Iterable[Result], bar: tqdm | None) -> list[Result]:
    """The results, each of which moves the bar."""
    found = []
    for result in results:
        found.append(result)
        if bar is not None:
            bar.update()
    return found


def summed(
    function: Callable[[Item], tuple[np.ndarray, ...]], items: Iterable[Item], *, size: int
) -> tuple[np.ndarray, ...]:
    """The sums of what a function of every item returns, in order, without holding more than one of them.

    Args:
        function: Matrix products and little else; a tuple of float64 arrays that are its own.
        items: What it is called with, at least one.
        size: As for :func:`each`.
    """
    items = list(items)
    asked = asked_for() if size >= _MIN_NUMBERS_FOR_THREADS and len(items) > 1 else None
    found = iter(map(function, items) if asked is None else _elsewhere(function, items, asked))
    total = tuple(np.array(part) for part in next(found))
    for parts in found:
        for so_far, part in zip(total, parts, strict=True):
            so_far += part
    return total


def _elsewhere(function: Callable[[Item], Result], items: Iterable[Item], asked: Asked) -> Iterator[Result]:
    """Results of joblib's workers, in order, as they come."""
    # arrays that a partial holds become arguments of every call, which joblib sends to a worker once
    held = function if isinstance(function, partial) else partial(function)
    calls = (joblib.delayed(_called)(held.func, _Sent.of(item), *held.args, **held.keywords) for item in items)
    return cast(
        "Iterator[Result]", joblib.Parallel(n_jobs=asked.n_jobs, prefer="threads", return_as="generator")(calls)
    )


class _Sent:
    """A mapped array on its way to a worker, as the address that it pickles to: joblib's dask backend sends the bytes of any large array it sees."""

    __slots__ = ("item",)

    def __init__(self, item: Any) -> None:
        self.item = item

    @classmethod
    def of(cls, item: Any) -> Any:
        parts = item if isinstance(item, tuple) else (item,)
        return cls(item) if any(isinstance(part, np.memmap) for part in parts) else item


def _called(function: Callable[..., Result], item: Any, *args: Any, **options: Any) -> Result:
    return function(*map(_aligned, args), item.item if isinstance(item, _Sent) else _aligned(item), **options)


def _aligned(argument: Any) -> Any:
    """An array as products want it: dask's arrive at any byte, and every product would copy its part."""
    return np.require(argument, requirements="A") if type(argument) is np.ndarray else argument
