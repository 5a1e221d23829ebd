"""Memory maps that travel as an address: a recording on its way to another process is a path, not its bytes.

numpy pickles a memory map by copying what it shows, so that every task sent to a cluster (``joblib.parallel_config(backend="dask")``) would carry its layer. A
:class:`Mapped` is sent as file, offset and shape, and mapped again where it arrives: the workers read the file themselves, which takes a folder that
all of them see. Views of whole rows travel likewise; what is no stretch of the file (some columns, results of arithmetic) is copied as ever.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


class Mapped(np.memmap):
    """A read-only memory map of a (row, unit) array in a file."""

    def __reduce__(self) -> Any:
        root = self
        while isinstance(root.base, np.ndarray):
            root = root.base
        if not isinstance(root, np.memmap) or root.filename is None or not self.flags.c_contiguous or not self.size:
            return np.asarray(self).__reduce__()
        within = self.__array_interface__["data"][0] - root.__array_interface__["data"][0]
        return reopened, (str(Path(root.filename).resolve()), self.dtype.str, int(root.offset + within), self.shape)


def reopened(path: str, dtype: str, offset: int, shape: tuple[int, ...]) -> np.memmap:
    """The map that :class:`Mapped` sent.

    Raises:
        FileNotFoundError: This process does not see the file.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"this worker sees no file at {path}; record into a folder that every machine of the cluster sees"
        )
    return Mapped(path, np.dtype(dtype), "r", offset, shape)
