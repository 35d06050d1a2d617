"""How long bytes and frames occupy a line: the same arithmetic for twins, ceilings and prediction.

CAN: ISO 11898-1:2015. A classic frame with n bytes of data has 44 + 8n bits (11-bit id) or 64 + 8n (29-bit),
of which 34 + 8n or 54 + 8n are subject to stuffing: at worst one bit more after the first five and then after
every four. 3 bits of intermission follow.

CAN FD: 17 bits up to BRS (36 with a 29-bit id), then ESI, length code and data, then stuff count (4), CRC (17
bits, 21 above 16 bytes) with a fixed stuff bit before it and after every four bits, then delimiter,
acknowledgement, end of frame and intermission (13). With BRS, what lies between BRS and the CRC delimiter
goes at the data bit rate. Stuffing is counted at the worst of each of both phases.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from wall_edge_bridge.transport import Frame
from wall_edge_bridge.transport.can_frame import FD_LENGTHS

_INTERMISSION = 3
_BITS_A_BYTE = 10
"""8N1"""
_FD_TAIL = 13
"""CRC delimiter, acknowledgement and its delimiter, 7 bits of end, intermission."""
_FD_CONTROL = 5
"""ESI and the length code."""
_STUFF_COUNT = 4
_LONG_CRC = 16
"""Bytes of data above which the CRC has 21 bits."""


class FrameBits(NamedTuple):
    """Bits of a frame, by the bit rate at which they go."""

    nominal: int
    data: int = 0


def serial_duration(baudrate: int) -> Callable[[bytes], int]:
    """ns of bytes at ``baudrate`` [bit/s], 8N1."""
    return lambda data: round(len(data) * _BITS_A_BYTE * 1e9 / baudrate)


def can_duration(
    bitrate: int, data_bitrate: int | None = None, *, worst: bool = True
) -> Callable[[Frame], int]:
    """ns of a frame with its intermission, at these bit rates [bit/s]; all at one without a data bit rate."""
    nominal_ns, data_ns = 1e9 / bitrate, 1e9 / (data_bitrate or bitrate)

    def duration(frame: Frame) -> int:
        bits = can_bits(frame, worst=worst)
        return round(bits.nominal * nominal_ns + bits.data * data_ns)

    return duration


def can_bits(frame: Frame, *, worst: bool = True) -> FrameBits:
    """Bits of any frame with its intermission, with the most stuffing that can be, or with none."""
    if not frame.fd:
        return FrameBits(can_frame_bits(frame, worst=worst))
    head = 36 if frame.extended else 17
    body = _FD_CONTROL + 8 * next(length for length in FD_LENGTHS if length >= len(frame.data))
    crc = _STUFF_COUNT + (21 if len(frame.data) > _LONG_CRC else 17)
    fixed_stuffing = 1 + crc // 4
    nominal = head + (head - 1) // 4 * worst + _FD_TAIL
    # A run of equal bits may begin before BRS, so that the first bit after it is followed by a stuff bit.
    data = body + (body + 3) // 4 * worst + crc + fixed_stuffing
    return FrameBits(nominal, data) if frame.brs else FrameBits(nominal + data)


def can_frame_bits(frame: Frame, *, worst: bool = True) -> int:
    """Bits of a classic frame with its intermission, with the most stuffing that can be, or with none."""
    data_bits = 0 if frame.remote else 8 * len(frame.data)
    fixed, stuffed = (64, 54) if frame.extended else (44, 34)
    stuffing = (stuffed + data_bits - 1) // 4 if worst else 0
    return fixed + data_bits + stuffing + _INTERMISSION
