"""One reader of a ring: a cursor, and how much was overwritten before it came."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt

from wall_edge.runtime.telemetry.ring.slots import RingSlots

_BATCH = 1024
_PATIENCE_NS = 20_000_000
"""How long a slot may be half-written, or half-seen, while later ones are whole: stores take far less."""
_TRIES = 4


class RingReader:
    """Takes the records of one ring in order. Never writes to the ring, so any number may read it."""

    def __init__(self, slots: RingSlots, after: int = 0) -> None:
        self._slots = slots
        self.sequence = after
        """Of the last record taken, or passed over as lost."""
        self.lost = 0
        """Records overwritten before they were read, and slots that stayed broken."""
        self._broken = self._since_ns = 0

    def take(self, limit: int = _BATCH) -> npt.NDArray[Any]:
        """[n ≤ limit] copies of the next records, in order and without a gap; empty when there is none.

        The last one's number is :attr:`sequence` afterwards. A gap lies before what is returned, never in it.
        """
        for _ in range(_TRIES):
            count = self._ready(min(limit, self._slots.capacity))
            if count:
                batch, whole = self._slots.copy(self.sequence + 1, count)
                if whole:
                    self.sequence += whole
                    return batch[:whole]
            if not self._passed_over():
                break
        return np.empty(0, self._slots.dtype)

    def _ready(self, limit: int) -> int:
        """How many slots from the cursor on carry the number that is due."""
        sequences, capacity, first = self._slots.sequences, self._slots.capacity, self.sequence + 1
        if int(sequences[first % capacity]) != first:
            return 0
        expected = np.arange(first, first + limit, dtype=np.uint64)
        due = sequences[expected % np.uint64(capacity)] == expected
        return limit if due.all() else int(np.argmin(due))

    def _passed_over(self) -> bool:
        """Moves over what is gone, or stays broken; False when there is nothing to do but wait."""
        due = self.sequence + 1
        if int(self._slots.sequences.max()) < due:
            return False
        newest = self._slots.newest()
        oldest = newest - self._slots.capacity + 1
        if oldest > due:
            return self._lose(oldest - due)
        if newest > due:
            return self._stays_broken(due) and self._lose(1)
        return newest == due

    def _stays_broken(self, sequence: int) -> bool:
        now = time.monotonic_ns()
        if self._broken != sequence:
            self._broken, self._since_ns = sequence, now
        return now - self._since_ns >= _PATIENCE_NS

    def _lose(self, count: int) -> bool:
        self.lost += count
        self.sequence += count
        return True
