"""The memory of a ring: numbered slots, each with a checksum."""

from __future__ import annotations

import ctypes
import multiprocessing
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from wall_edge.errors import RuntimeFault

_HEADER = struct.Struct("=QII")
_ALIGNMENT = 64  # a cache line: two slots never share one
_HEADER_BYTES, _FIRST, _SEED = _HEADER.size, _ALIGNMENT + _HEADER.size, 0xFFFFFFFF
_seal, _crc32 = _HEADER.pack_into, zlib.crc32

Memory = ctypes.Array[ctypes.c_uint8]
Bytes = npt.NDArray[np.uint8]


class RingSlots:
    """``capacity`` slots of ``dtype`` behind one line of ``label`` bytes, in anonymous shared memory.

    Record ``n``, counted from 1, lies in slot ``n % capacity``. Raises RuntimeFault for fewer than two slots
    and for types that are not plain data.
    """

    def __init__(self, dtype: npt.DTypeLike, capacity: int) -> None:
        dtype = np.dtype(dtype)
        if capacity < 2 or dtype.itemsize == 0 or dtype.hasobject:
            raise RuntimeFault(
                f"a ring of {capacity} slots of {dtype}", expected="2 or more slots of plain data"
            )
        stride = -(-(_HEADER_BYTES + dtype.itemsize) // _ALIGNMENT) * _ALIGNMENT
        context = multiprocessing.get_context("spawn")
        self._attach(dtype, capacity, context.RawArray(ctypes.c_uint8, _ALIGNMENT + stride * capacity))

    def _attach(self, dtype: np.dtype[Any], capacity: int, memory: Memory) -> None:
        self.dtype, self.capacity, self._memory = dtype, capacity, memory
        every = np.frombuffer(memoryview(memory), np.uint8)
        self.label: Bytes = every[:_ALIGNMENT]
        """[64] for the ring's own use."""
        self.bytes: Bytes = every[_ALIGNMENT:].reshape(capacity, -1)
        """[capacity, stride] sequence number (8), CRC (4), length of the payload (4), payload."""
        self.sequences: npt.NDArray[np.uint64] = self.bytes[:, :8].view(np.uint64)[:, 0]
        """[capacity] number of each slot's record, 0 for none; its predecessor's while one is written."""
        self.memory = every.data
        """All of it, for the writer."""
        self._stride, self._size = self.bytes.shape[1], dtype.itemsize

    def __getstate__(self) -> tuple[np.dtype[Any], int, Memory]:
        return self.dtype, self.capacity, self._memory

    def __setstate__(self, state: tuple[np.dtype[Any], int, Memory]) -> None:
        self._attach(*state)

    def put(self, sequence: int, payload: bytes) -> None:
        """Makes ``payload`` record ``sequence``: until its header is there it does not add up.

        Raises RuntimeFault for one that is longer than a record; what is missing of a shorter one is read as
        zeros.
        """
        length, memory = len(payload), self.memory
        if length > self._size:
            raise RuntimeFault(f"a record of {length} bytes", expected=f"at most {self._size}")
        place = _FIRST + sequence % self.capacity * self._stride
        memory[place : place + length] = payload
        # The sum starts from the number: an old payload under a new number does not add up.
        _seal(memory, place - _HEADER_BYTES, sequence, _crc32(payload, sequence & _SEED), length)

    def copy(self, first: int, count: int) -> tuple[npt.NDArray[Any], int]:
        """[count] copies of the payloads from record ``first`` on, and how many at the front are whole."""
        start = first % self.capacity
        raw = self.bytes[start : start + count].copy()
        if start + count > self.capacity:
            raw = np.concatenate([raw, self.bytes[: start + count - self.capacity]])
        payloads = np.ascontiguousarray(raw[:, _HEADER_BYTES : _HEADER_BYTES + self._size])
        headers = _HEADER.iter_unpack(raw[:, :_HEADER_BYTES].tobytes())
        return payloads.reshape(-1).view(self.dtype), self._whole(payloads, headers, first)

    def _whole(self, payloads: Bytes, headers: Iterator[tuple[int, ...]], first: int) -> int:
        """How many at the front are what their headers say, and fills those that are short."""
        view, size, count = payloads.reshape(-1).data, self._size, 0
        for sequence, crc, length in headers:
            payload = view[count * size : count * size + length]
            if sequence != first + count or length > size or crc != _crc32(payload, sequence & _SEED):
                break
            payloads[count, length:] = 0
            count += 1
        return count

    def newest(self) -> int:
        """Number of the newest whole record; 0 for none."""
        for sequence in np.sort(self.sequences)[::-1].tolist():
            if sequence == 0 or self.copy(sequence, 1)[1]:
                return int(sequence)
        return 0
