"""CANopen's frames, as far as the tick and a twin need them. Pure: frames ↔ values.

Source: CiA 301. A process datum is packed without gaps, little-endian. SDO: command, index, subindex and up
to four bytes of data.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from wall_edge_bridge.transport import Frame

EMERGENCY, TPDO1, RPDO1, SDO_REPLY, SDO_REQUEST, HEARTBEAT = 0x080, 0x180, 0x200, 0x580, 0x600, 0x700
SYNC_ID = 0x080
FUNCTION, NODE = 0x780, 0x07F
SYNC = Frame(SYNC_ID, b"")
COMMAND = struct.Struct("<Hi")
"""RPDO1: controlword, target position."""
FEEDBACK = struct.Struct("<Hi")
"""TPDO1: statusword, actual position."""
_SDO = struct.Struct("<BHB4s")
SDO_LENGTH = 8
_UPLOAD = 0x40
_UPLOAD_REPLY = 2
_EXPEDITED, _SIZED = 0x02, 0x01
_EMERGENCY = struct.Struct("<HB5s")


class Upload(NamedTuple):
    """A drive's expedited answer to a read."""

    object: int
    sub: int
    data: bytes


def command(node: int, control: int, target: int) -> Frame:
    """RPDO1."""
    return Frame(RPDO1 + node, COMMAND.pack(control, target))


def read(node: int, index: int, sub: int = 0) -> Frame:
    """An SDO upload request."""
    return Frame(SDO_REQUEST + node, _SDO.pack(_UPLOAD, index, sub, bytes(4)))


def upload_of(data: bytes) -> Upload | None:
    """Of an SDO reply; None of one that carries no value (a confirmation, an abort, a segment)."""
    if len(data) != SDO_LENGTH:
        return None
    first, index, sub, value = _SDO.unpack(data)
    if first >> 5 != _UPLOAD_REPLY or not first & _EXPEDITED:
        return None
    return Upload(index, sub, value[: 4 - (first >> 2 & 3)] if first & _SIZED else value)


def heartbeat(node: int, state: int) -> Frame:
    """That ``node`` lives."""
    return Frame(HEARTBEAT + node, bytes([state]))


def emergency(node: int, code: int, register: int = 0, more: bytes = bytes(5)) -> Frame:
    """That ``node`` has an error; code 0: none any more."""
    return Frame(EMERGENCY + node, _EMERGENCY.pack(code, register, more))


def emergency_code(data: bytes) -> int | None:
    """None of what is no emergency message."""
    if len(data) != _EMERGENCY.size:
        return None
    code: int = _EMERGENCY.unpack(data)[0]
    return code
