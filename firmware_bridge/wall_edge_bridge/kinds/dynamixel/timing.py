"""How long a cycle occupies the line: the ceiling of the rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from wall_edge_bridge.kinds.dynamixel.codec import FAST_BLOCK, FAST_OVERHEAD, OVERHEAD, STATUS_OVERHEAD
from wall_edge_bridge.kinds.dynamixel.registers import TABLE
from wall_edge_bridge.kinds.dynamixel.replies import Block

if TYPE_CHECKING:
    from wall_edge_bridge.kinds.dynamixel import DynamixelJoint, DynamixelSettings

POSITION = Block.of("present_position")
MOTION = Block.of("present_current", "present_position")
_BITS_A_BYTE = 10
_HEAD = 4
"""Address and count of a sync instruction."""


def read_bytes(width: int, motors: int, fast: bool) -> int:
    """Of a sync read of ``width`` bytes and its replies, without stuffing."""
    request = OVERHEAD + _HEAD + motors
    if fast:
        return request + FAST_OVERHEAD + motors * (FAST_BLOCK + width)
    return request + motors * (STATUS_OVERHEAD + width)


def cycle_ns(settings: DynamixelSettings, joints: Sequence[DynamixelJoint]) -> int:
    """One sync write of goals, one sync read of what every cycle reads, and the motors' return delays [ns].

    Stuffing is left out: a header in a packet of this size is one byte more, once in millions.
    """
    motors = len(joints)
    block = MOTION if settings.full_feedback else POSITION
    goals = OVERHEAD + _HEAD + motors * (1 + TABLE["goal_position"].length)
    count = goals + read_bytes(block.width, motors, settings.fast)
    return line_ns(settings, count, motors)


def line_ns(settings: DynamixelSettings, count: int, motors: int) -> int:
    """ns of ``count`` bytes on the line and the return delays of ``motors``."""
    delays = 1 if settings.fast else motors
    return round(count * _BITS_A_BYTE * 1e9 / settings.baudrate) + delays * settings.return_delay_us * 1000
