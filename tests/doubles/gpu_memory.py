"""Memory that plays a GPU's: at addresses that no host program can read, and page-locked host memory."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tests.doubles.misuse import Misuse

if TYPE_CHECKING:
    from tests.doubles.gpu_streams import Executable, Stream

Bytes = npt.NDArray[np.uint8]
_FIRST = 1 << 56
"""No process has memory there: reading it without asking the driver ends the process."""
_GAP = 4096
NEVER_WRITTEN = 0xCD


@dataclass(frozen=True)
class Use:
    """Operation ``number`` of a stream reads or writes bytes ``start`` to ``stop``."""

    stream: Stream
    number: int
    start: int
    stop: int
    writes: bool


@dataclass(eq=False)
class Allocation:
    """Some bytes; ``uses``: by operations that nobody waited for yet."""

    address: int
    data: Bytes
    on_device: bool
    uses: list[Use] = field(default_factory=list)
    executables: set[Executable] = field(default_factory=set)

    @property
    def stop(self) -> int:
        return self.address + len(self.data)


@dataclass(frozen=True)
class Range:
    """Bytes of one allocation, by offset."""

    allocation: Allocation
    start: int
    stop: int

    @property
    def bytes(self) -> Bytes:
        view: Bytes = self.allocation.data[self.start : self.stop]
        return view


class Memory:
    """All allocations by address. What was freed stays known, so that its use can be named."""

    def __init__(self) -> None:
        self._next = _FIRST
        self._addresses: list[int] = []
        self._live: dict[int, Allocation] = {}

    def allocate(self, size: int) -> Allocation:
        allocation = Allocation(self._next, np.full(size, NEVER_WRITTEN, dtype=np.uint8), on_device=True)
        self._next += -(-size // 256) * 256 + _GAP
        return self._add(allocation)

    def allocate_host(self, size: int) -> Allocation:
        data: Bytes = np.full(size, NEVER_WRITTEN, dtype=np.uint8)
        return self._add(Allocation(data.ctypes.data, data, on_device=False))

    def free(self, address: int, *, on_device: bool) -> None:
        allocation = self._live.get(address)
        if allocation is None or allocation.on_device != on_device:
            raise Misuse(f"freeing {address:#x}, which is no live allocation")
        if allocation.executables:
            raise Misuse(f"freeing {address:#x}, which a graph uses")
        del self._live[address]
        self._addresses.remove(address)

    def range(self, address: int, size: int, *, on_device: bool, what: str) -> Range:
        """The bytes at an address. Raises :class:`Misuse` unless all of them are allocated, and there."""
        place = bisect.bisect_right(self._addresses, address) - 1
        allocation = self._live[self._addresses[place]] if place >= 0 else None
        if allocation is None or address >= allocation.stop:
            kind = (
                "freed or never allocated" if address >= _FIRST else "host memory, not page-locked, or null"
            )
            raise Misuse(f"{what}: {address:#x} is {kind}")
        if allocation.on_device != on_device:
            raise Misuse(f"{what}: {address:#x} is on the {'device' if allocation.on_device else 'host'}")
        if address + size > allocation.stop:
            raise Misuse(f"{what}: {size} bytes at {address:#x} end behind their allocation")
        start = address - allocation.address
        return Range(allocation, start, start + size)

    def live(self, *, on_device: bool) -> list[Allocation]:
        return [allocation for allocation in self._live.values() if allocation.on_device == on_device]

    def _add(self, allocation: Allocation) -> Allocation:
        self._live[allocation.address] = allocation
        bisect.insort(self._addresses, allocation.address)
        return allocation


def overlapping(ranges: Iterable[tuple[Any, Range]]) -> tuple[Any, Any] | None:
    """Names of two ranges that share bytes."""
    ordered = sorted(ranges, key=lambda entry: (entry[1].allocation.address, entry[1].start))
    for (one, first), (other, second) in itertools.pairwise(ordered):
        if first.allocation is second.allocation and second.start < first.stop:
            return one, other
    return None
