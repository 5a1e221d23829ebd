"""What a study will cost, counted and timed before it starts.

A study is so many evaluations of a battery, or of parts of it (:mod:`.engine`). The largest is made twice, and the
second is timed; the time of the others follows from their tokens. Whether several processes of one thread would be
faster than one process of several threads is told from a few items that are scored with one thread and with all: with n
processors, n processes take 1 / n of the time that one thread takes, at best; memory that they share may slow them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from tl_fbn.acquisition.model.host import HookedModel, model_device
from tl_fbn.intervention.behaviour.battery import Battery
from tl_fbn.intervention.studies.item_statistics import METRICS, item_counts
from tl_fbn.units import html_table
from tl_fbn.units.prose import duration_in_words

_SAMPLE = 2  # items of each task that are scored with one thread and with all


@dataclass(frozen=True)
class StudyPlan:
    """What a study will cost.

    >>> fbn.studies.plan_dose_response(model, network, battery, n_controls=20)  # doctest: +ELLIPSIS
    Plan of a dose-response study: 127 runs of up to 20 items; 127 forward passes, 43,180 tokens, about ...

    Args:
        study: What kind of study it is, in words.
        runs: Number of times that items are scored, that without an intervention included.
        items: Number of items of the largest run.
        passes: Number of forward passes (one a batch) of all runs together.
        tokens: Number of tokens that these passes read.
        seconds: Expected time in this process, in seconds.
        bytes: Size of what ``path=`` keeps.
        processes: Number of processes of one thread that were compared with this one; 1 where there is nothing to
            compare.
        seconds_in_processes: Expected time in so many processes, in seconds, at best.
        at_most: True where a study may need fewer runs, and all numbers are the most that can be.
    """

    study: str
    runs: int
    items: int
    passes: int
    tokens: int
    seconds: float
    bytes: int
    processes: int
    seconds_in_processes: float
    at_most: bool = False

    @property
    def advice(self) -> str:
        """How to run it on joblib's workers, where that would be faster; else empty."""
        if self.seconds_in_processes > 0.95 * self.seconds:
            return ""
        return (
            f"in {self.processes} processes of one thread at best {duration_in_words(self.seconds_in_processes)}: "
            f'with joblib.parallel_config(backend="loky", n_jobs={self.processes}, inner_max_num_threads=1)'
        )

    def _counts(self) -> str:
        most = "at most " if self.at_most else ""
        return f"Plan of a {self.study}: {most}{self.runs:,} runs of up to {self.items:,} items"

    def __repr__(self) -> str:
        text = (
            f"{self._counts()}; {self.passes:,} forward passes, {self.tokens:,} tokens, about "
            f"{duration_in_words(self.seconds)}"
        )
        return f"{text}; {self.advice}" if self.advice else text

    def _repr_html_(self) -> str:
        numbers = {name: one for name, one in asdict(self).items() if name not in ("study", "at_most")}
        return html_table(repr(self), ("", ""), [(name, f"{value:,.6g}") for name, value in numbers.items()])


def cost_of(model: HookedModel, runs: Sequence[tuple[Battery, int]], batch_tokens: int) -> dict[str, Any]:
    """The numbers of a plan.

    Args:
        model: A TransformerLens model in eval mode.
        runs: Pairs of a battery and how often it is scored; at least one.
        batch_tokens: Largest number of tokens in a forward pass, padding counted.

    Returns:
        Fields of :class:`StudyPlan`.
    """
    sizes = [battery.sizes(model, batch_tokens=batch_tokens) for battery, _ in runs]
    tokens = [sum(each) for each in sizes]
    times = [n for _, n in runs]
    items = [int(item_counts(battery).sum()) for battery, _ in runs]
    largest, largest_tokens = max(zip((battery for battery, _ in runs), tokens, strict=True), key=lambda one: one[1])
    n_tokens = sum(n * one for n, one in zip(times, tokens, strict=True))
    _seconds(model, largest, batch_tokens)  # not used: the first evaluation also prepares the items
    seconds = _seconds(model, largest, batch_tokens) * n_tokens / largest_tokens
    processes = _processes(model)
    return {
        "runs": sum(times),
        "items": max(items),
        "passes": sum(n * len(each) for n, each in zip(times, sizes, strict=True)),
        "tokens": n_tokens,
        "seconds": seconds,
        "bytes": sum(n * each for n, each in zip(times, items, strict=True)) * len(METRICS) * 8,
        "processes": processes,
        "seconds_in_processes": seconds * _one_thread(model, largest, batch_tokens) / processes
        if processes > 1
        else seconds,
    }


def _seconds(model: HookedModel, battery: Battery, batch_tokens: int) -> float:
    started = time.perf_counter()
    battery.score(model, batch_tokens=batch_tokens)
    return time.perf_counter() - started


def _processes(model: HookedModel) -> int:
    """Number of processes of one thread that could share the processors that this one uses."""
    if model_device(model).type != "cpu":
        return 1
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(available, torch.get_num_threads())


def _one_thread(model: HookedModel, battery: Battery, batch_tokens: int) -> float:
    """Time of some items with one thread, as a multiple of their time with all."""
    some = battery.limit(_SAMPLE)
    threads = torch.get_num_threads()
    _seconds(model, some, batch_tokens)
    with_all = _seconds(model, some, batch_tokens)
    torch.set_num_threads(1)
    try:
        _seconds(model, some, batch_tokens)
        return _seconds(model, some, batch_tokens) / max(with_all, 1e-9)
    finally:
        torch.set_num_threads(threads)
