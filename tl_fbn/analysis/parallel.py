"""Independent pieces of work, such as layers or restarts, side by side.

``each(function, items)`` is ``[function(item) for item in items]`` on as many threads as numpy's matrix products would use,
with those products held to one thread each meanwhile: most of what an analysis does between its products runs on one core
otherwise. The result does not depend on the number of threads.

``joblib.parallel_config`` overrides it: ``with joblib.parallel_config(backend="dask"): fbn.fit_glm(recording)`` spreads the
pieces over a cluster, ``parallel_config(n_jobs=1)`` turns it off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, cast

import joblib
from joblib.parallel import LokyBackend, get_active_backend
from threadpoolctl import ThreadpoolController

Item, Result = TypeVar("Item"), TypeVar("Result")
_WORTH = 4_000_000  # numbers to be looked at, below which starting a thread costs more than it saves


def each(
    function: Callable[[Item], Result], items: Iterable[Item], *, size: int, products: bool = False
) -> list[Result]:
    """A function of every item, in order.

    Args:
        function: Leaves its arguments alone, and depends on nothing else that changes.
        items: What it is called with.
        size: How many numbers are looked at in all; small work is done here and now.
        products: The work is matrix products and little else, which numpy spreads over threads better than we do.
    """
    items = list(items)
    if size < _WORTH or len(items) < 2:
        return [function(item) for item in items]
    backend, config = get_active_backend()
    asked = cast("int | None", config)
    if asked is not None or not isinstance(backend, LokyBackend):  # somebody chose: that backend knows its workers
        found = joblib.Parallel(n_jobs=-1 if asked is None else asked, prefer="threads")(
            joblib.delayed(function)(item) for item in items
        )
        return list(found)
    if products:
        return [function(item) for item in items]
    pools = ThreadpoolController().select(user_api="blas")
    threads = max([pool["num_threads"] for pool in pools.info()], default=1)
    workers = min(threads, len(items))
    with pools.limit(limits=max(1, threads // workers)), ThreadPoolExecutor(workers) as executor:
        return list(executor.map(function, items))
