"""A process data object of a simulated drive: its parameters and its mapping, honoured as they were written.

Source: CiA 301. A mapping is changed only while its PDO is off (bit 31 of its identifier) and its count is 0.
"""

from __future__ import annotations

import struct
from contextlib import suppress

from wall_edge_bridge.kinds.cia402.objects import NO_PDO
from wall_edge_bridge.kinds.cia402.twin.dictionary import (
    NOT_A_VALUE,
    NOT_MAPPABLE,
    NOT_THERE,
    TOO_MUCH,
    WRONG_STATE,
    Dictionary,
    Entry,
    Refused,
)

_MOST = 8
"""Objects, and bytes, of a PDO."""
_LAST_SYNCHRONOUS = 240
_AT_ONCE = (254, 255)


class Pdo:
    """Number 1 of its direction. It is off until a host maps it and switches it on."""

    def __init__(self, objects: Dictionary, parameters: int, mapping: int, cob: int, *, writes: bool) -> None:
        self._objects, self._writes = objects, writes
        self._parameters, self._mapping = parameters, mapping
        self._held: bytes | None = None
        self._syncs = 0
        objects[parameters, 0] = Entry("B", 2)
        objects[parameters, 1] = Entry("I", NO_PDO | cob, writable=True)
        objects[parameters, 2] = Entry("B", 1, writable=True, check=self._check_type)
        objects[mapping, 0] = Entry("B", 0, writable=True, check=self._check_count)
        for sub in range(1, _MOST + 1):
            objects[mapping, sub] = Entry("I", 0, writable=True, check=self._check_entry)

    @property
    def cob(self) -> int:
        """Its identifier."""
        return int(self._objects[self._parameters, 1].value) & 0x7FF

    @property
    def _on(self) -> bool:
        return not self._objects[self._parameters, 1].value & NO_PDO

    @property
    def _type(self) -> int:
        return int(self._objects[self._parameters, 2].value)

    def _check_type(self, value: int) -> int:
        late = value in _AT_ONCE and self._writes
        return 0 if value <= _LAST_SYNCHRONOUS or late else NOT_A_VALUE

    def _check_count(self, value: int) -> int:
        if self._on:
            return WRONG_STATE
        if value > _MOST:
            return TOO_MUCH
        entries = [self._objects[self._mapping, sub].value for sub in range(1, value + 1)]
        if 0 in entries:
            return NOT_THERE
        return TOO_MUCH if sum(entry & 0xFF for entry in entries) > 8 * _MOST else 0

    def _check_entry(self, value: int) -> int:
        if self._on or self._objects[self._mapping, 0].value:
            return WRONG_STATE
        if not value:
            return 0
        try:
            entry = self._objects.entry(value >> 16, value >> 8 & 0xFF)
        except Refused as refusal:
            return refusal.code
        fits = entry.mappable and (entry.writable or not self._writes) and value & 0xFF == 8 * entry.size
        return 0 if fits else NOT_MAPPABLE

    def _entries(self) -> list[Entry]:
        count = self._objects[self._mapping, 0].value
        places = [self._objects[self._mapping, sub].value for sub in range(1, count + 1)]
        return [self._objects[place >> 16, place >> 8 & 0xFF] for place in places]

    def hear(self, data: bytes) -> bool:
        """False when it is too short for what is mapped."""
        if not self._on:
            return True
        if len(data) < sum(entry.size for entry in self._entries()):
            return False
        self._held = data
        if self._type > _LAST_SYNCHRONOUS:
            self.apply()
        return True

    def apply(self) -> None:
        """What was held back until now."""
        if self._held is None or not self._on:
            return
        data, self._held = self._held, None
        at, values = 0, []
        for entry in self._entries():
            values.append((entry, struct.unpack_from("<" + entry.form, data, at)[0]))
            at += entry.size
        for entry, value in reversed(values):  # the controlword comes first, and acts on the target
            with suppress(Refused):
                self._objects.put(entry, value)

    def sample(self) -> bytes | None:
        """At a SYNC: what is mapped, every so many of them; None when it does not answer this one."""
        if not self._on:
            return None
        self._syncs += 1
        if self._syncs < (self._type or 1):
            return None
        self._syncs = 0
        return b"".join(entry.pack() for entry in self._entries())
