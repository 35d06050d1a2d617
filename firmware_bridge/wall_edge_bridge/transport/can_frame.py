"""CAN frames as Linux's raw sockets carry them: ``struct can_frame`` (16 bytes), ``canfd_frame`` (72 bytes).

Source: the kernel's ``include/uapi/linux/can.h`` and ``Documentation/networking/can.rst``. Numbers are in the
machine's own byte order. Pure: bytes to values and back.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from wall_edge.errors import BusError
from wall_edge_bridge.transport.base import Frame

CLASSIC_SIZE = 16
FD_SIZE = 72
MAX_STANDARD_ID = 0x7FF
MAX_EXTENDED_ID = 0x1FFFFFFF
FD_LENGTHS = (*range(9), 12, 16, 20, 24, 32, 48, 64)
"""Bytes of data that a CAN FD frame may have, by its length code."""

_EXTENDED, _REMOTE, _ERROR = 0x80000000, 0x40000000, 0x20000000
_BRS, _FDF = 0x01, 0x04
_CLASSIC = struct.Struct("=IB3x8s")
"""Identifier and flags, length, padding, data."""
_FD = struct.Struct("=IBB2x64s")
"""Identifier and flags, length, FD flags, padding, data."""
_MAX_CLASSIC = 8


class ErrorFrame(NamedTuple):
    """What the controller says of itself or of its bus (``transport.can_errors`` reads it)."""

    classes: int
    """Bits ``CAN_ERR_…`` of ``linux/can/error.h``."""
    data: bytes = bytes(8)
    """8 bytes."""


def pack_frame(frame: Frame) -> bytes:
    """16 bytes, or 72 of a frame with ``fd``. Raises BusError for one that no bus can carry.

    The data of a remote frame are not sent: their length is.
    """
    identifier, data, extended, fd, brs, _, remote = frame
    length = len(data)
    if not 0 <= identifier <= (MAX_EXTENDED_ID if extended else MAX_STANDARD_ID):
        bits = 29 if extended else 11
        raise BusError(f"CAN identifier {identifier:#x}", expected=f"one of {bits} bits")
    if extended:
        identifier |= _EXTENDED
    if fd:
        if remote or length not in FD_LENGTHS:
            raise BusError(
                f"CAN FD frame {frame.id:#x} with {length} bytes{', remote' if remote else ''}",
                expected=f"no remote frame, of {', '.join(map(str, FD_LENGTHS))} bytes",
            )
        return _FD.pack(identifier, length, _FDF | _BRS if brs else _FDF, data)
    if brs or length > _MAX_CLASSIC:
        raise BusError(
            f"classic CAN frame {frame.id:#x} with {length} bytes{', bit rate switched' if brs else ''}",
            expected="at most 8 bytes at one bit rate",
            fix="send it with fd",
        )
    if remote:
        return _CLASSIC.pack(identifier | _REMOTE, length, b"")
    return _CLASSIC.pack(identifier, length, data)


def pack_error(error: ErrorFrame) -> bytes:
    """16 bytes."""
    return _CLASSIC.pack(error.classes & MAX_EXTENDED_ID | _ERROR, _MAX_CLASSIC, error.data)


def unpack_frame(packet: bytes, received_ns: int = 0) -> Frame | ErrorFrame | None:
    """What a raw socket gave in one piece; None for what is no frame (a length that there is none of).

    A remote frame has as many zeros for data as it asks for.
    """
    size = len(packet)
    if size == CLASSIC_SIZE:
        word, length, data = _CLASSIC.unpack(packet)
        if length > _MAX_CLASSIC:
            return None
        if word & (_ERROR | _REMOTE):
            return _special(word, length, data, received_ns)
        if word & _EXTENDED:
            return Frame(word & MAX_EXTENDED_ID, data[:length], True, False, False, received_ns)
        return None if word > MAX_STANDARD_ID else Frame(word, data[:length], received_ns=received_ns)
    if size != FD_SIZE:
        return None
    word, length, flags, data = _FD.unpack(packet)
    extended = bool(word & _EXTENDED)
    identifier = word & ~_EXTENDED
    if identifier > (MAX_EXTENDED_ID if extended else MAX_STANDARD_ID) or length not in FD_LENGTHS:
        return None
    return Frame(identifier, data[:length], extended, True, bool(flags & _BRS), received_ns)


def _special(word: int, length: int, data: bytes, received_ns: int) -> Frame | ErrorFrame | None:
    """An error frame or a remote one."""
    if word & _ERROR:
        return ErrorFrame(word & MAX_EXTENDED_ID, data)
    extended = bool(word & _EXTENDED)
    identifier = word & MAX_EXTENDED_ID
    if not extended and identifier > MAX_STANDARD_ID:
        return None
    return Frame(identifier, bytes(length), extended, received_ns=received_ns, remote=True)
