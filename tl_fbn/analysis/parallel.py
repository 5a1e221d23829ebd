"""Independent pieces of work, such as layers or restarts, on several threads or workers.

``each(function, items)`` is ``[function(item) for item in items]`` on as many threads as numpy's matrix products
would use, while those products are held to one thread each: most of what an analysis does between its products runs
on one core otherwise. Results do not depend on the number of threads.

``joblib.parallel_config`` overrides it: ``with joblib.parallel_config(backend="dask"): fbn.fit_glm(recording)``
spreads the pieces over a cluster, ``parallel_config(n_jobs=1)`` turns it off. Work on few numbers is done at once in
the calling thread.
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
_MIN_NUMBERS_FOR_THREADS = 4_000_000  # work on fewer numbers costs less than starting a thread


class RequestedWorkers(NamedTuple):
    """What a user asked for with ``joblib.parallel_config``.

    Args:
        n_jobs: Number of workers; -1 for as many as there are.
        shared: Whether the workers are threads, which share the memory of this process.
    """

    n_jobs: int
    shared: bool


def requested_workers() -> RequestedWorkers | None:
    """The workers that a user asked for with ``joblib.parallel_config``; None where nobody did."""
    backend, config = get_active_backend()
    n_jobs = cast("int | None", config)
    if n_jobs is None and isinstance(backend, LokyBackend):  # joblib's default
        return None
    return RequestedWorkers(-1 if n_jobs is None else n_jobs, bool(getattr(backend, "supports_sharedmem", False)))


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
        function: What is called with each item. It must not change its arguments, nor depend on anything that changes.
        items: The items, one call each.
        size: How many numbers are looked at in all calls together; small work is done in the calling thread.
        products: Whether the work is matrix products and little else, which numpy itself spreads over threads better;
            it is then done in the calling thread unless ``joblib.parallel_config`` asks for workers.
        bar: Progress bar that is moved on by one with every result.

    Returns:
        The results, in the order of the items.
    """
    items = list(items)
    workers_requested = requested_workers()
    if size < _MIN_NUMBERS_FOR_THREADS or len(items) < 2:
        return _collected(map(function, items), bar)
    if workers_requested is not None:
        return _collected(_on_joblib_workers(function, items, workers_requested), bar)
    if products:
        return _collected(map(function, items), bar)
    # the threads of numpy's products, shared out: some work on items, each with its part of them for its products
    pools = ThreadpoolController().select(user_api="blas")
    threads = max([pool["num_threads"] for pool in pools.info()], default=1)
    workers = min(threads, len(items))
    with pools.limit(limits=max(1, threads // workers)), ThreadPoolExecutor(workers) as executor:
        return _collected(executor.map(function, items), bar)


def _collected(results: Iterable[Result], bar: tqdm | None) -> list[Result]:
    """The results as a list; each moves the bar on when it comes."""
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
        function: What is called with each item: matrix products and little else. It returns a tuple of float64
            arrays, of the same shapes for every item, which nobody else uses.
        items: The items, at least one, one call each.
        size: How many numbers are looked at in all calls together; small work is done in the calling thread.

    Returns:
        For each array of the tuple its sum over items.
    """
    items = list(items)
    requested = requested_workers() if size >= _MIN_NUMBERS_FOR_THREADS and len(items) > 1 else None
    found = iter(map(function, items) if requested is None else _on_joblib_workers(function, items, requested))
    total = tuple(np.array(part) for part in next(found))  # copies, which may be added to; results arrive in order
    for parts in found:
        for so_far, part in zip(total, parts, strict=True):
            so_far += part
    return total


def _on_joblib_workers(
    function: Callable[[Item], Result], items: Iterable[Item], requested: RequestedWorkers
) -> Iterator[Result]:
    """Results of joblib's workers, in the order of the items, as soon as they are there."""
    # arrays that a partial holds become arguments of every call, which joblib sends to a worker once
    held = function if isinstance(function, partial) else partial(function)
    calls = (
        joblib.delayed(_call_aligned)(held.func, _MappedItem.of(item), *held.args, **held.keywords) for item in items
    )
    return cast(
        "Iterator[Result]", joblib.Parallel(n_jobs=requested.n_jobs, prefer="threads", return_as="generator")(calls)
    )


class _MappedItem:
    """Wraps a mapped array on its way to a worker, so that its address in a file is sent, to which it pickles.

    joblib's dask backend sends the bytes of any large array that it sees; inside this object it sees none.
    """

    __slots__ = ("item",)

    def __init__(self, item: Any) -> None:
        self.item = item

    @classmethod
    def of(cls, item: Any) -> Any:
        """The item, wrapped if it is or holds a mapped array."""
        parts = item if isinstance(item, tuple) else (item,)
        return cls(item) if any(isinstance(part, np.memmap) for part in parts) else item


def _call_aligned(function: Callable[..., Result], item: Any, *args: Any, **options: Any) -> Result:
    """Call a function on a worker: mapped items are unwrapped, arrays that were sent are aligned in memory."""
    return function(*map(_aligned, args), item.item if isinstance(item, _MappedItem) else _aligned(item), **options)


def _aligned(argument: Any) -> Any:
    """An array at an aligned address: dask's are at any, and every matrix product would copy its part of them."""
    return np.require(argument, requirements="A") if type(argument) is np.ndarray else argument
