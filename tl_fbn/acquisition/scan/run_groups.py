"""Which contexts share a batch, and which runs are decoded together.

Prompts whose own tokens are the rows are read in batches of one run. Where the model writes, every step of decoding
costs nearly the same for one context as for a batch, and a run of a few prompts would leave most of the batch empty:
contexts of several consecutive runs share batches there. Such a *group* of runs is read as a whole.

What the numbers of a row are, to the last bit, depends on the batch that it shares. So groups are decided by the design
(with the batch size and what is recorded), and by nothing else: not by which runs are there already, and not by how
many processes scan. A run that is missing is recorded again from the passes of its whole group, and gets the same
bytes.

A group begins where the one before ends, and takes as many runs as make the fewest steps of decoding for a row, of
those that have at most :data:`MOST_BATCHES` full batches of contexts and :data:`GROUP_BYTES` of activations; of sizes
within a tenth of the best, the smallest. One run is always a group, and so is each run of a carried context, which is
one growing text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tl_fbn.acquisition.model.contexts import Context
from tl_fbn.acquisition.model.sampling import DecodingMode

GROUP_BYTES = 1 << 30  # of the activations of a group of several runs, in float32: 1 GiB
MOST_BATCHES = 4  # full batches of contexts in a group of several runs
_NEAR_BEST = 1.1  # steps a row of the group that is taken, as a multiple of the fewest


def batches(contexts: Sequence[Context], batch_size: int, mode: DecodingMode | None = None) -> Iterator[list[int]]:
    """Numbers of the contexts that share a pass: of similar length, and writing equally many tokens if any.

    Args:
        contexts: The contexts that are read together.
        batch_size: Largest number of contexts in a batch.
        mode: How written tokens are decoded; None where nothing is written.
    """

    def shared_by_batch(i: int) -> tuple[int, int]:
        """What contexts of one decoding loop have in common: steps, and the prompt's length without a mask."""
        return contexts[i].new, len(contexts[i].ids) if mode == "equal" else 0

    # neighbours in this order need the least padding
    order = sorted(range(len(contexts)), key=lambda i: (contexts[i].new, len(contexts[i].ids), i))
    start = 0
    while start < len(order):
        batch = order[start : start + batch_size]
        if mode is not None:
            # sorted, so that those left out are the last ones, and begin the next batch
            batch = [i for i in batch if shared_by_batch(i) == shared_by_batch(batch[0])]
        yield batch
        start += len(batch)


def groups_of_runs(
    runs: Sequence[Sequence[Context]],
    *,
    batch_size: int,
    mode: DecodingMode | None,
    carry: bool,
    n_units: int,
) -> list[range]:
    """Numbers of the runs that are read together, group by group.

    Args:
        runs: For every run of the design its contexts.
        batch_size: Largest number of contexts in a batch.
        mode: How written tokens are decoded; None where nothing is written.
        carry: True where a run is one growing context.
        n_units: Number of units that are recorded, of all sites.
    """
    groups = []
    start = 0
    while start < len(runs):
        stop = start + 1 if mode is None or carry else _end_of_group(runs, start, batch_size, mode, n_units)
        groups.append(range(start, stop))
        start = stop
    return groups


def _end_of_group(
    runs: Sequence[Sequence[Context]], start: int, batch_size: int, mode: DecodingMode, n_units: int
) -> int:
    """The run behind the last of the group that begins at a run."""
    contexts: list[Context] = []
    n_rows = 0
    steps_a_row: dict[int, float] = {}  # end of a group to its steps of decoding, for each row
    for stop in range(start + 1, len(runs) + 1):
        contexts += runs[stop - 1]
        n_rows += sum(context.n_rows for context in runs[stop - 1])
        is_large = len(contexts) > MOST_BATCHES * batch_size or 4 * n_rows * n_units > GROUP_BYTES
        if is_large and steps_a_row:
            break
        n_steps = sum(contexts[batch[0]].new for batch in batches(contexts, batch_size, mode))
        steps_a_row[stop] = n_steps / n_rows
        if is_large:
            break
    fewest = min(steps_a_row.values())
    return next(stop for stop, steps in steps_a_row.items() if steps <= _NEAR_BEST * fewest)
