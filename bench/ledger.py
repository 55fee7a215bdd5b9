"""Arrival times of requests, shared between the process that takes them and the one that measures.

One file per version, mapped into both: a count, then one monotonic time each. The monotonic clock of Linux is the same in
all processes. One writer; readers see a time only after it was written whole.
"""

from __future__ import annotations

import mmap
import struct
from array import array
from pathlib import Path

_COUNT = struct.Struct("<q")
_TIME = struct.Struct("<d")


class Ledger:
    def __init__(self, path: Path, *, capacity: int = 4_000_000) -> None:
        size = _COUNT.size + capacity * _TIME.size  # sparse: costs only what is written
        with path.open("r+b" if path.exists() else "w+b") as file:
            file.truncate(size)
            self._map = mmap.mmap(file.fileno(), size)
        self._capacity = capacity

    def __len__(self) -> int:
        return int(_COUNT.unpack_from(self._map, 0)[0])

    def add(self, at: float) -> None:
        count = len(self)
        if count < self._capacity:
            _TIME.pack_into(self._map, _COUNT.size + count * _TIME.size, at)
            _COUNT.pack_into(self._map, 0, count + 1)

    def times(self) -> array[float]:
        """All so far, ascending."""
        found = array("d")
        found.frombytes(self._map[_COUNT.size : _COUNT.size + len(self) * _TIME.size])
        return found
