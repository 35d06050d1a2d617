"""A latest-value mailbox between processes: one writer that never waits, readers that never block.

Why sequence numbers *and* a checksum: the textbook sequence lock needs memory barriers. Python has none, and
the ARM cores of a Jetson reorder stores, so a reader may see a slot's new sequence number before its new
payload. Each slot therefore carries a CRC-32 over its sequence number and payload; a reader copies the slot,
checks its private copy, and falls back to the next older slot. Half-written, half-read and corrupted slots
all look the same: they do not add up, and are not returned (but for the 2⁻³² of a CRC).

The memory is an anonymous array of ``multiprocessing``: an unlinked file, handed to children by descriptor.
It has no name, no resource tracker watches it, and nothing of it outlives the processes, even after
``kill -9``.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from wall_edge.errors import RuntimeFault

_HEADER = np.dtype([("sequence", np.uint64), ("crc", np.uint64)])
_PACKED = struct.Struct("=QQ")
"""The header again, for whoever writes one."""
_ALIGNMENT = 64  # a cache line: two slots never share one


class Mailbox:
    """The newest record of ``dtype`` in shared memory; give it to a spawned Process as an argument.

    At most one process writes at a time; a writer that takes over (after a crash) goes on counting where the
    last one stopped. A slot is overwritten only ``slots`` writes later: the time a reader has for its copy.
    """

    def __init__(self, dtype: npt.DTypeLike, slots: int = 4) -> None:
        dtype = np.dtype(dtype)
        if slots < 2 or dtype.itemsize == 0 or dtype.hasobject:
            raise RuntimeFault(
                f"a mailbox of {slots} slots of {dtype}", expected="2 or more slots of plain data"
            )
        stride = -(-(_HEADER.itemsize + dtype.itemsize) // _ALIGNMENT) * _ALIGNMENT
        memory = multiprocessing.get_context("spawn").RawArray(ctypes.c_uint8, stride * slots)
        self._attach(dtype, slots, memory)

    def _attach(self, dtype: np.dtype[Any], slots: int, memory: ctypes.Array[ctypes.c_uint8]) -> None:
        self.dtype, self.slots, self._memory = dtype, slots, memory
        self._bytes = np.frombuffer(memoryview(memory), np.uint8).reshape(slots, -1)
        self._headers = self._bytes[:, : _HEADER.itemsize].view(_HEADER)[:, 0]
        self._sequences = self._headers["sequence"]
        self._payloads = self._bytes[:, _HEADER.itemsize : _HEADER.itemsize + dtype.itemsize]
        self._view = memoryview(memory).cast("B")
        self._stride = self._bytes.shape[1]
        self._written: int | None = None
        self._reader: MailboxReader | None = None

    def __getstate__(self) -> tuple[np.dtype[Any], int, ctypes.Array[ctypes.c_uint8]]:
        return self.dtype, self.slots, self._memory

    def __setstate__(self, state: tuple[np.dtype[Any], int, ctypes.Array[ctypes.c_uint8]]) -> None:
        self._attach(*state)

    def write(self, record: np.void | npt.NDArray[np.void]) -> int:
        """Publishes a record (of this dtype, scalar or shape ()); returns its sequence number, from 1 on."""
        if record.dtype != self.dtype:
            raise RuntimeFault(f"a record of {record.dtype}", expected=str(self.dtype))
        return self.write_bytes(record.tobytes())

    def write_bytes(self, payload: bytes) -> int:
        """As :meth:`write`, of a record as its ``dtype.itemsize`` bytes: for who counts microseconds."""
        if self._written is None:
            self._written = self.reader().latest_sequence()
        sequence, view = self._written + 1, self._view
        place = sequence % self.slots * self._stride
        begin = place + _PACKED.size
        _PACKED.pack_into(view, place, 0, 0)  # a reader need not even try this slot
        view[begin : begin + self.dtype.itemsize] = payload
        _PACKED.pack_into(view, place, sequence, _crc(payload, sequence))
        self._written = sequence
        return sequence

    def read(self) -> np.void | None:
        """A copy of the newest record; None when none was written or no slot is whole just now."""
        newest = self.read_newer(0)
        return None if newest is None else newest[1]

    def read_newer(self, than_sequence: int) -> tuple[int, np.void] | None:
        """``(sequence, copy)`` of the newest record when it is newer than ``than_sequence``, else None."""
        if self._reader is None:
            self._reader = self.reader()
        record = self._reader.latest(than_sequence)
        return None if record is None else (self._reader.sequence, record.copy())

    def reader(self) -> MailboxReader:
        """A reader with a buffer of its own, for loops that must not allocate."""
        return MailboxReader(self)


class MailboxReader:
    """Reads one mailbox into a buffer that it owns: what it returns is valid until its next call."""

    def __init__(self, shared: Mailbox) -> None:
        self._shared = shared
        self._buffer = np.zeros(1, shared.dtype)
        self._bytes = self._buffer.view(np.uint8)
        self._record: np.void = self._buffer[0]  # a view, not a copy: fields follow the buffer
        self.sequence = 0
        """Of the last record returned; 0 before the first."""

    def newer(self) -> np.void | None:
        """The newest record if it was not returned yet, else None."""
        return self.latest(self.sequence)

    def latest(self, than_sequence: int = 0) -> np.void | None:
        """The newest whole record with a sequence above ``than_sequence``, else None.

        Tries each slot at most once, newest first. A slot that changes under the copy fails its checksum.
        """
        sequences = self._shared._sequences.tolist()
        for slot in sorted(range(len(sequences)), key=sequences.__getitem__, reverse=True):
            if sequences[slot] <= than_sequence:
                return None
            sequence = self._copy(slot)
            if sequence > than_sequence:
                self.sequence = sequence
                return self._record
        return None

    def latest_sequence(self) -> int:
        """Sequence of the newest whole record, 0 for none. Does not count as having returned it."""
        whole = [self._copy(slot) for slot in range(self._shared.slots)]
        return max(whole)

    def _copy(self, slot: int) -> int:
        """Copies one slot; its sequence number, or 0 when the copy does not add up."""
        sequence, crc = self._shared._headers[slot].tolist()
        self._bytes[:] = self._shared._payloads[slot]
        return sequence if sequence and crc == _crc(self._bytes.data, sequence) else 0


def _crc(payload: bytes | memoryview, sequence: int) -> int:
    # The sequence is part of the sum: an old payload under a new number does not add up.
    return zlib.crc32(payload, zlib.crc32(sequence.to_bytes(8, "little")))
