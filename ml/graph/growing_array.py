"""Arrays that grow without being copied each time."""

from typing import Any

import numpy as np
import numpy.typing as npt


class GrowingArray:
    """An array whose first axis grows; ``values`` is what is there now, new rows are ``empty``."""

    def __init__(self, values: npt.NDArray[Any], empty: Any = 0) -> None:
        self._buffer = values
        self._size = len(values)
        self.empty = empty

    def __len__(self) -> int:
        return self._size

    @property
    def values(self) -> npt.NDArray[Any]:
        """A view: do not keep it while the array grows."""
        return self._buffer[: self._size]

    def grow(self, size: int) -> None:
        """Up to ``size`` rows."""
        if size > len(self._buffer):
            room = size + size // 8 + 64
            buffer = np.full((room, *self._buffer.shape[1:]), self.empty, self._buffer.dtype)
            buffer[: self._size] = self._buffer[: self._size]
            self._buffer = buffer
        self._size = max(self._size, size)

    def shrink(self, size: int) -> None:
        """Down to ``size`` rows; the memory stays for those to come."""
        self._buffer[size : self._size] = self.empty
        self._size = size
