"""A stream of records between processes: one writer that never waits, readers with a cursor each.

A ring is the mailbox's elder sibling (``runtime.ipc.mailbox``): each slot carries a sequence number
and a CRC-32 over it and the payload, because Python has no memory barriers; and the memory is an anonymous
array of ``multiprocessing`` that nothing outlives. Where the mailbox keeps the newest record, a ring keeps
the last ``capacity`` of them: whoever reads in time gets all, whoever is late is told how many it missed.
The writer takes no lock, waits for nobody, and does not know who reads.

The ring's first cache line says who writes: the process, by number and start time as numbers are used again,
how many writers there have been, and whether the last one said goodbye.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wall_edge.errors import RuntimeFault
from wall_edge.runtime.telemetry.ring.reader import RingReader
from wall_edge.runtime.telemetry.ring.slots import RingSlots

_UNKNOWN = -1
_WRITER = np.dtype([("pid", np.int64), ("start", np.int64), ("life", np.int64), ("closed", np.int64)])


class Ring:
    """The last ``capacity`` records of ``dtype``; give it to a spawned Process as an argument.

    At most one process writes at a time. A writer that takes over after a crash goes on counting where the
    last one stopped; what that one left half-written is written anew. Raises RuntimeFault for fewer than two
    slots and for types that are not plain data.
    """

    def __init__(self, dtype: npt.DTypeLike, capacity: int) -> None:
        self.__setstate__(RingSlots(dtype, capacity))

    def __getstate__(self) -> RingSlots:
        return self.slots

    def __setstate__(self, slots: RingSlots) -> None:
        self.slots = slots
        self._writer = slots.label[: _WRITER.itemsize].view(_WRITER)
        self._last = _UNKNOWN

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of a record."""
        return self.slots.dtype

    # --- the writer's side ------------------------------------------------------------------------------

    def assign_writer(self, pid: int) -> None:
        """Says who is going to write: for whoever started the process, before that has got so far."""
        self._writer["start"], self._writer["closed"] = 0, 0
        self._writer["pid"] = pid
        self._writer["start"] = _start_time(pid) or 0

    def attach_writer(self) -> int:
        """This process writes from now on; how many have, this one included. Takes milliseconds."""
        self.assign_writer(os.getpid())
        self._writer["life"] += 1
        self._last = self.slots.newest()
        return self.life

    def write(self, record: np.void | npt.NDArray[np.void]) -> int:
        """Appends a record (of this dtype, scalar or shape ()); its sequence number, from 1 on."""
        if record.dtype != self.dtype:
            raise RuntimeFault(f"a record of {record.dtype}", expected=str(self.dtype))
        return self.append(record.tobytes())

    def append(self, payload: bytes) -> int:
        """As :meth:`write`, of a record's bytes: microseconds, whoever reads or hangs.

        Of a shorter ``payload`` the rest of the record is zeros.
        """
        if self._last < 0:
            self.attach_writer()
        self.slots.put(self._last + 1, payload)
        self._last += 1
        return self._last

    def close(self) -> None:
        """The writer says goodbye: nothing follows."""
        self._writer["closed"] = 1

    # --- the readers' side ------------------------------------------------------------------------------

    def reader(self, after: int = 0) -> RingReader:
        """Reads what follows sequence number ``after``; from the oldest on without it."""
        return RingReader(self.slots, after)

    def newest(self) -> int:
        """Number of the newest whole record; 0 for none. ``ring.reader(ring.newest())`` joins here."""
        return self.slots.newest()

    @property
    def life(self) -> int:
        """How many writers there have been."""
        return int(self._writer["life"][0])

    @property
    def closed(self) -> bool:
        """Whether the writer said goodbye."""
        return bool(self._writer["closed"][0])

    def writer_alive(self) -> bool:
        """Whether the process that writes, or is going to, exists and is no zombie."""
        pid, start = int(self._writer["pid"][0]), int(self._writer["start"][0])
        now = _start_time(pid) if pid else None
        return now is not None and start in (0, now)

    @property
    def idle(self) -> bool:
        """Whether nobody writes: nobody yet, or nobody any more."""
        return self.closed or not self.writer_alive()

    @property
    def over(self) -> bool:
        """Whether there was a writer, and it said goodbye or is dead. Another may take over."""
        return bool(self._writer["pid"][0]) and self.idle


def _start_time(pid: int) -> int | None:
    """When a process started (clock ticks since boot, proc(5) field 22); None for none, or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZXx" else int(fields[19])
