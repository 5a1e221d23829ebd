"""The tensors of a run's data file, mapped when they are asked for and let go of with the last array that shows them.

Opening a recording reads headers only. A file is mapped when a layer is read, and a map holds the file open; so a
recording of 20,000 runs costs no handle when it is opened, and a few while an analysis goes through its runs: of a
recording the files that were read last stay mapped.

What a file was when the recording was opened (its size, and when it was written) is kept, and compared whenever it is
mapped: a run that was deleted and recorded anew at the same path must not pass for the one that was opened.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tl_fbn.acquisition.recording.half_precision import NUMPY_TYPE, HalfArray
from tl_fbn.acquisition.recording.memory_maps import mapped
from tl_fbn.errors import InputError

Layer = np.memmap | HalfArray
N_RECENT = 32  # files of a recording that stay mapped after they were read; a process may hold 256 or 1,024


@dataclass(frozen=True)
class StoredTensor:
    """Where one (row, unit) tensor lies in a file.

    Args:
        path: Path of the file.
        offset: Byte of the file at which the tensor begins, from 0.
        kind: How numbers are stored, a key of :data:`tl_fbn.acquisition.recording.half_precision.NUMPY_TYPE`.
        shape: Number of rows and of units.
        size: Number of bytes of the whole file when it was opened.
        written: When the file was last written to, in nanoseconds; None on another machine, whose clock may round it.
    """

    path: str
    offset: int
    kind: str
    shape: tuple[int, int]
    size: int
    written: int | None

    def open(self) -> Layer:
        """The tensor as a read-only memory map; of 16-bit numbers as an array that is decoded where it is read.

        Raises:
            FileNotFoundError: The file is gone.
            InputError: The file is another than when the recording was opened.
        """
        try:
            found = Path(self.path).stat()
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{self.path} is gone since the recording was opened, or this machine does not see it; scan again, or "
                "record into a folder that every machine of the cluster sees"
            ) from error
        if found.st_size != self.size or (self.written is not None and found.st_mtime_ns != self.written):
            raise InputError(f"{self.path} has changed since the recording was opened; open the recording again")
        array = mapped(self.path, self.offset, NUMPY_TYPE[self.kind], self.shape, found)
        return HalfArray(array, self.kind) if self.kind in ("bfloat16", "float16") else array

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "written": None}


class RecentTensors:
    """The tensors of the files of a recording that were read last, each mapped once while it is among them.

    Mapping a file takes longer than reading a few of its rows, so that a reader of many pieces is to find it mapped.
    """

    def __init__(self) -> None:
        self._of_file: OrderedDict[str, dict[int, Layer]] = OrderedDict()  # the file that was read last is the last
        self._lock = threading.Lock()

    def tensor(self, place: StoredTensor) -> Layer:
        """The tensor at a place, mapped now or before.

        Args:
            place: Where the tensor lies.
        """
        with self._lock:
            tensors = self._of_file.setdefault(place.path, {})
            self._of_file.move_to_end(place.path)
            tensor = tensors.get(place.offset)
            if tensor is None:
                tensor = tensors[place.offset] = place.open()
            if len(self._of_file) > N_RECENT:
                self._of_file.popitem(last=False)
            return tensor


class StoredTensors(Mapping[Any, Layer]):
    """Names (or numbers of layers) to the tensors of a file; each is mapped when it is asked for.

    Args:
        places: Name to the place of a tensor; all have as many rows.
        recent: The tensors that were read last, which all runs of a recording share; None begins with none.
    """

    def __init__(self, places: Mapping[Any, StoredTensor], recent: RecentTensors | None = None) -> None:
        self.places = dict(places)
        self._recent = RecentTensors() if recent is None else recent

    def __reduce__(self) -> Any:
        return StoredTensors, (self.places,)  # in another process other tensors are recent

    @property
    def n_rows(self) -> int:
        """Number of rows of every tensor; the file is not opened for it."""
        return next(iter(self.places.values())).shape[0]

    def renamed(self, names: Mapping[Any, Any], recent: RecentTensors | None = None) -> StoredTensors:
        """Some of the tensors under other names.

        Args:
            names: New name to the name that the tensor has here.
            recent: The tensors of the recording that were read last.
        """
        return StoredTensors({new: self.places[old] for new, old in names.items()}, recent)

    def __getitem__(self, name: Any) -> Layer:
        return self._recent.tensor(self.places[name])

    def __contains__(self, name: object) -> bool:
        return name in self.places  # that of Mapping would map the file

    def __iter__(self) -> Iterator[Any]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)


def place_of_layer(layers: Mapping[int, Any], layer: int) -> Any:
    """A layer of a run as something that holds no file open: its place if it is on disk, else its array.

    Args:
        layers: The layers of a run.
        layer: Number of the layer.
    """
    return layers.places[layer] if isinstance(layers, StoredTensors) else layers[layer]


def opened(array: Any) -> Any:
    """The array at a place, or the array itself.

    Args:
        array: What :func:`place_of_layer` returned.
    """
    return array.open() if isinstance(array, StoredTensor) else array
