"""How long bytes and frames occupy a line: the same arithmetic for twins, ceilings and prediction.

CAN: ISO 11898-1. A classic frame with n bytes of data has 44 + 8n bits (11-bit id) or 64 + 8n (29-bit), of
which 34 + 8n or 54 + 8n are subject to stuffing: at worst one bit more after the first five and then after
every four. 3 bits of intermission follow.
"""

from __future__ import annotations

from collections.abc import Callable

from wall_edge_bridge.transport import Frame

_INTERMISSION = 3
_BITS_A_BYTE = 10
"""8N1"""


def serial_duration(baudrate: int) -> Callable[[bytes], int]:
    """ns of bytes at ``baudrate`` [bit/s], 8N1."""
    return lambda data: round(len(data) * _BITS_A_BYTE * 1e9 / baudrate)


def can_frame_bits(frame: Frame, *, worst: bool = True) -> int:
    """Bits of a classic frame with its intermission, with the most stuffing that can be, or with none."""
    data_bits = 0 if frame.remote else 8 * len(frame.data)
    fixed, stuffed = (64, 54) if frame.extended else (44, 34)
    stuffing = (stuffed + data_bits - 1) // 4 if worst else 0
    return fixed + data_bits + stuffing + _INTERMISSION
