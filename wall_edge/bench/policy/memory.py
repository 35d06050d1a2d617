"""What a policy takes of the machine's memory and of a GPU's."""

from __future__ import annotations

import resource
from dataclasses import dataclass

from wall_edge_engines.cuda.device import Device
from wall_edge_engines.cuda.driver import device_ordinal

from wall_edge.board import Tree, memory_sizes


@dataclass(frozen=True)
class Memory:
    """Bytes. What is None cannot be told here."""

    peak_rss: int
    """The most that this process had resident, since it began; a GPU's memory of its own is not in it."""
    available_drop: int | None
    """By how much MemAvailable fell from before the engine was loaded: on a Jetson with the GPU's share."""
    device_drop: int | None
    """By how much a GPU's free memory fell (``cuMemGetInfo``), behind an open CUDA context."""
    device_total: int | None


class MemoryWatch:
    """Begins before an engine is loaded; :meth:`look` notes the least that is left."""

    def __init__(self, device: str, tree: Tree) -> None:
        self._tree = tree
        self._device = None if device == "cpu" else Device(device_ordinal(device))
        self._before = (self._available(), self._free())
        self._least = self._before

    def look(self) -> None:
        """Note what is left now."""
        present = (self._available(), self._free())
        self._least = (_less(self._least[0], present[0]), _less(self._least[1], present[1]))

    def memory(self) -> Memory:
        """What was taken at the most of all looks."""
        host, device = (
            None if before is None or least is None else before - least
            for before, least in zip(self._before, self._least, strict=True)
        )
        total = None if self._device is None else self._device.memory()[1]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return Memory(peak, host, device, total)

    def close(self) -> None:
        """Give the GPU's context back."""
        if self._device is not None:
            self._device.close()

    def _available(self) -> int | None:
        return memory_sizes(self._tree).get("MemAvailable")

    def _free(self) -> int | None:
        return None if self._device is None else self._device.memory()[0]


def _less(one: int | None, other: int | None) -> int | None:
    values = [value for value in (one, other) if value is not None]
    return min(values, default=None)
