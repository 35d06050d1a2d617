"""Register frames of a moteus: subframes that write, read, answer and refuse. Pure: bytes ↔ values.

The identifier is ``source << 8 | destination``; a motor answers only if bit 7 of the source is set, to the
other seven. All numbers are little-endian. The minimum of an integer type stands for NaN. Frames are filled
up with NOPs to a length that CAN FD has. Source: docs/protocol/can.md of github.com/mjbots/moteus.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import NamedTuple

from wall_edge_bridge.kinds.moteus.registers import Scale

INT8, INT16, INT32, FLOAT = range(4)
TYPES = (struct.Struct("<b"), struct.Struct("<h"), struct.Struct("<i"), struct.Struct("<f"))
_MAXIMA = (127, 32767, 2147483647)
NOP = 0x50
REPLY_BIT = 0x80
_LENGTHS: tuple[int, ...] = (*range(9), 12, 16, 20, 24, 32, 48, 64)
MAX_LENGTH = 64
_MAX_VARUINT = 5
"""bytes"""
_MAX_REGISTERS = 64


class Action(Enum):
    """What a subframe does, by the upper half of its first byte."""

    WRITE = 0x00
    READ = 0x10
    REPLY = 0x20
    WRITE_ERROR = 0x30
    READ_ERROR = 0x31


class Part(NamedTuple):
    """One subframe. ``values`` are raw, one a register from ``register`` on; an error's code alone."""

    action: Action
    type: int
    register: int
    registers: int
    values: tuple[float, ...] = ()


def identifier(destination: int, source: int = 0, *, reply: bool = True) -> int:
    """Of a frame to a motor: 0x8001 asks motor 1 to answer."""
    return (source | (REPLY_BIT if reply else 0)) << 8 | destination


def pad(data: bytes) -> bytes:
    """To the next length that CAN FD has. ValueError beyond 64 bytes."""
    for length in _LENGTHS:
        if length >= len(data):
            return data + bytes([NOP]) * (length - len(data))
    raise ValueError(f"{len(data)} bytes in a CAN FD frame")


def to_raw(value: float, type_: int, scale: Scale | None) -> float:
    """As a motor stores it: truncated, within ±maximum; NaN is the minimum of integers."""
    if type_ == FLOAT:
        return value
    most = _MAXIMA[type_]
    if not math.isfinite(value):
        return -most - 1
    scaled = value if scale is None else value / scale[type_]
    return int(min(max(scaled, -most), most))


def from_raw(raw: float, type_: int, scale: Scale | None) -> float:
    """The reverse."""
    if type_ == FLOAT or scale is None:
        return raw
    return math.nan if raw == -_MAXIMA[type_] - 1 else raw * scale[type_]


def _varuint(value: int) -> bytes:
    data = b""
    while value > 0x7F:
        data += bytes([value & 0x7F | 0x80])
        value >>= 7
    return data + bytes([value])


def header(action: Action, type_: int, register: int, count: int) -> bytes:
    """The first bytes of a subframe; up to three registers are counted in the first."""
    first = action.value | type_ << 2
    return (bytes([first | count]) if count <= 3 else bytes([first]) + _varuint(count)) + _varuint(register)


def write(type_: int, register: int, raw: Sequence[float], action: Action = Action.WRITE) -> bytes:
    """Of ``raw`` values to ``register`` and those after it; or a motor's answer of them."""
    pack = TYPES[type_].pack
    values = raw if type_ == FLOAT else [int(value) for value in raw]
    return header(action, type_, register, len(raw)) + b"".join(map(pack, values))


def read(type_: int, register: int, count: int = 1) -> bytes:
    """A question for ``count`` registers."""
    return header(Action.READ, type_, register, count)


def refusal(action: Action, register: int, code: int) -> bytes:
    """A motor's answer to what it does not take."""
    return bytes([action.value]) + _varuint(register) + _varuint(code)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def varuint(self) -> int:
        value = 0
        for shift in range(_MAX_VARUINT):
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << 7 * shift
            if byte < 0x80:
                return value
        raise IndexError

    def values(self, type_: int, count: int) -> tuple[float, ...]:
        form = TYPES[type_]
        begin, self.at = self.at, self.at + count * form.size
        if self.at > len(self.data):
            raise IndexError
        return tuple(form.unpack_from(self.data, begin + i * form.size)[0] for i in range(count))


def parse(data: bytes) -> Iterator[Part]:
    """The subframes of a frame, as far as they are whole and known: a motor reads no further either."""
    reader = _Reader(data)
    while reader.at < len(data):
        first = data[reader.at]
        reader.at += 1
        if first == NOP:
            continue
        try:
            part = _part(reader, first)
        except IndexError:
            return
        if part is None:
            return
        yield part


def _part(reader: _Reader, first: int) -> Part | None:
    if first in (Action.WRITE_ERROR.value, Action.READ_ERROR.value):
        register, code = reader.varuint(), reader.varuint()
        return Part(Action(first), 0, register, 1, (code,))
    if first >= Action.WRITE_ERROR.value:
        return None
    action, type_, count = Action(first & 0xF0), first >> 2 & 3, first & 3
    count = count or reader.varuint()
    if not 0 < count <= _MAX_REGISTERS:
        return None
    register = reader.varuint()
    values = () if action is Action.READ else reader.values(type_, count)
    return Part(action, type_, register, count, values)
