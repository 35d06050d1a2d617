"""The object dictionary of a simulated drive, and the SDO server before it.

Source: CiA 301: expedited transfers both ways, segmented uploads; abort codes as there.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_SDO = struct.Struct("<BHB4s")
_ABORT = 0x80
TOGGLE, UNKNOWN_COMMAND = 0x05030000, 0x05040001
READ_ONLY, NOT_THERE, NO_SUBINDEX = 0x06010002, 0x06020000, 0x06090011
TOO_LONG, TOO_SHORT, NOT_A_VALUE = 0x06070012, 0x06070013, 0x06090030
NOT_MAPPABLE, TOO_MUCH, WRONG_STATE = 0x06040041, 0x06040042, 0x08000022


class Refused(Exception):
    """With an SDO abort code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"{code:#010x}")
        self.code = code


@dataclass
class Entry:
    """One object's subindex: a number of ``struct`` form ``form``, or bytes (form empty)."""

    form: str
    value: Any = 0
    writable: bool = False
    mappable: bool = False
    read: Callable[[], Any] | None = None
    """Instead of ``value``."""
    check: Callable[[int], int] | None = None
    """``(new value)`` → an abort code, or 0."""
    wrote: Callable[[int], None] | None = None

    @property
    def size(self) -> int:
        """bytes"""
        return struct.calcsize("<" + self.form)

    def pack(self) -> bytes:
        """As it goes over the bus."""
        value = self.read() if self.read else self.value
        return bytes(value) if not self.form else struct.pack("<" + self.form, value)


class Dictionary(dict[tuple[int, int], Entry]):
    """By index and subindex."""

    def __init__(self) -> None:
        super().__init__()
        self.missing: set[int] = set()
        """Indices that this drive does not have: a test takes them away."""

    def entry(self, index: int, sub: int) -> Entry:
        """Raises Refused."""
        if index in self.missing or not any(each == index for each, _ in self):
            raise Refused(NOT_THERE)
        if (index, sub) not in self:
            raise Refused(NO_SUBINDEX)
        return self[index, sub]

    def write(self, index: int, sub: int, data: bytes) -> None:
        """By SDO. Raises Refused."""
        entry = self.entry(index, sub)
        if not entry.writable:
            raise Refused(READ_ONLY)
        if len(data) != entry.size:
            raise Refused(TOO_LONG if len(data) > entry.size else TOO_SHORT)
        self.put(entry, struct.unpack("<" + entry.form, data)[0])

    @staticmethod
    def put(entry: Entry, value: int) -> None:
        """By SDO or PDO. Raises Refused."""
        if entry.check and (code := entry.check(value)):
            raise Refused(code)
        entry.value = value
        if entry.wrote:
            entry.wrote(value)

    def state(self) -> dict[tuple[int, int], Any]:
        """All that can be written, as it is."""
        return {place: entry.value for place, entry in self.items() if entry.writable}


class SdoServer:
    """One transfer at a time; what comes out of turn aborts it."""

    def __init__(self, dictionary: Dictionary) -> None:
        self._dictionary = dictionary
        self._rest: bytes | None = None
        self._toggle = 0

    def answer(self, data: bytes) -> bytes | None:
        """To a request of 8 bytes; None to an abort, and to what is no request."""
        if len(data) != _SDO.size or data[0] == _ABORT:
            self._rest = None
            return None
        first, index, sub, value = _SDO.unpack(data)
        try:
            return self._serve(first, index, sub, value)
        except Refused as refusal:
            self._rest = None
            return _SDO.pack(_ABORT, index, sub, struct.pack("<I", refusal.code))

    def _serve(self, first: int, index: int, sub: int, value: bytes) -> bytes:
        command = first >> 5
        if command == 2:
            return self._upload(index, sub)
        if command == 3:
            return self._segment(first)
        if command == 1 and first & 2:
            size = 4 - (first >> 2 & 3) if first & 1 else self._dictionary.entry(index, sub).size
            self._dictionary.write(index, sub, value[:size])
            return _SDO.pack(0x60, index, sub, bytes(4))
        if command == 1:
            self._dictionary.entry(index, sub)
            raise Refused(TOO_LONG)  # nothing that may be written has more than four bytes
        raise Refused(UNKNOWN_COMMAND)

    def _upload(self, index: int, sub: int) -> bytes:
        data = self._dictionary.entry(index, sub).pack()
        if 0 < len(data) <= 4:
            return _SDO.pack(0x43 | (4 - len(data)) << 2, index, sub, data.ljust(4, b"\0"))
        self._rest, self._toggle = data, 0
        return _SDO.pack(0x41, index, sub, struct.pack("<I", len(data)))

    def _segment(self, first: int) -> bytes:
        if self._rest is None:
            raise Refused(UNKNOWN_COMMAND)
        if first & 0x10 != self._toggle:
            raise Refused(TOGGLE)
        part, rest = self._rest[:7], self._rest[7:]
        head = self._toggle | (7 - len(part)) << 1 | (not rest)
        self._rest, self._toggle = rest or None, self._toggle ^ 0x10
        return bytes([head]) + part.ljust(7, b"\0")
