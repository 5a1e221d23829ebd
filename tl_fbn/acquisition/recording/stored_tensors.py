"""The tensors of a run's data file, mapped when they are asked for and let go of with the last array that shows them.

Opening a recording reads headers only. A file is mapped when a layer is read, and a map holds the file open; so a
recording of 20,000 runs costs no handle when it is opened, and while an analysis goes through its runs, one.

What a file was when the recording was opened (its size, and when it was written) is kept, and compared whenever it is
mapped: a run that was deleted and recorded anew at the same path must not pass for the one that was opened.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tl_fbn.acquisition.recording.half_precision import NUMPY_TYPE, HalfArray
from tl_fbn.acquisition.recording.memory_maps import mapped
from tl_fbn.errors import InputError

Layer = np.memmap | HalfArray


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
        array = mapped(self.path, self.offset, NUMPY_TYPE[self.kind], self.shape)
        return HalfArray(array, self.kind) if self.kind in ("bfloat16", "float16") else array

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "written": None}


class StoredTensors(Mapping[Any, Layer]):
    """Names (or numbers of layers) to the tensors of a file; each is mapped anew when it is asked for.

    Args:
        places: Name to the place of a tensor; all have as many rows.
    """

    def __init__(self, places: Mapping[Any, StoredTensor]) -> None:
        self.places = dict(places)

    @property
    def n_rows(self) -> int:
        """Number of rows of every tensor; the file is not opened for it."""
        return next(iter(self.places.values())).shape[0]

    def renamed(self, names: Mapping[Any, Any]) -> StoredTensors:
        """Some of the tensors under other names.

        Args:
            names: New name to the name that the tensor has here.
        """
        return StoredTensors({new: self.places[old] for new, old in names.items()})

    def __getitem__(self, name: Any) -> Layer:
        return self.places[name].open()

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
