"""How long reads occupy the line, the ceiling of the rate, and when what is not read every cycle is due."""

from __future__ import annotations

from collections.abc import Sequence

from wall_edge_bridge.kinds.dynamixel.codec import FAST_BLOCK, FAST_OVERHEAD, OVERHEAD, STATUS_OVERHEAD
from wall_edge_bridge.kinds.dynamixel.registers import TABLE, WATCHDOG_UNIT_S
from wall_edge_bridge.kinds.dynamixel.replies import Block
from wall_edge_bridge.kinds.dynamixel.settings import DynamixelJoint, DynamixelSettings

POSITION = Block.of("present_position")
MOTION = Block.of("present_current", "present_position")
STATUS = Block.of("torque_enable", "hardware_error")
WATCHDOG_BLOCK = Block.of("bus_watchdog")
HEALTH = Block.of("present_voltage", "present_temperature")

STATUS_PERIOD_NS = 20_000_000
"""How often torque and hardware errors are read."""
MOTION_PERIOD_NS = 30_000_000
_STATUS_SHARE = 24
"""On a slow line the periods grow: that read has so little of it at most."""
_HEALTH_PERIOD_NS = 1_000_000_000
_WATCHDOG_PERIOD_NS = 1_000_000_000
_ADAPTER_NS = 2_000_000
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


def read_ns(settings: DynamixelSettings, width: int, motors: int) -> int:
    """ns of a sync read of ``width`` bytes of so many motors, with its replies."""
    return line_ns(settings, read_bytes(width, motors, settings.fast), motors)


class Leisure:
    """When each block is due. Times are CLOCK_MONOTONIC ns."""

    def __init__(self, settings: DynamixelSettings, motors: int) -> None:
        self._duration_ns = {
            block: read_ns(settings, block.width, motors) for block in (STATUS, WATCHDOG_BLOCK, HEALTH)
        }
        status_ns = max(STATUS_PERIOD_NS, _STATUS_SHARE * self._duration_ns[STATUS])
        self._periods = {STATUS: status_ns, WATCHDOG_BLOCK: _WATCHDOG_PERIOD_NS, HEALTH: _HEALTH_PERIOD_NS}
        self._motion_period_ns = status_ns * MOTION_PERIOD_NS // STATUS_PERIOD_NS
        self._due_ns = dict.fromkeys((HEALTH, STATUS), 0)
        self._motion_due_ns = 0
        self._timeout_ns = 0
        self._request_ns = 0

    def start(self, now_ns: int, watchdog_units: int) -> None:
        """The motors have torque now, and a watchdog of so many units, or none."""
        self._due_ns[STATUS] = now_ns
        self._timeout_ns = round(watchdog_units * WATCHDOG_UNIT_S * 1e9)
        self._request_ns = now_ns
        if watchdog_units:
            self._due_ns[WATCHDOG_BLOCK] = now_ns + _WATCHDOG_PERIOD_NS

    def note_request(self, now_ns: int) -> None:
        """Motors hear something now; after a gap that a watchdog may have noticed, it is looked at."""
        if self._timeout_ns and now_ns - self._request_ns > self._timeout_ns // 2:
            self._due_ns[WATCHDOG_BLOCK] = now_ns
        self._request_ns = now_ns

    def motion_due(self, now_ns: int) -> bool:
        """Whether this cycle reads velocity and current too."""
        if now_ns < self._motion_due_ns:
            return False
        self._motion_due_ns = now_ns + self._motion_period_ns
        return True

    def within_ns(self, block: Block) -> int:
        """How long a read may take: twice its time on the line, and what an adapter holds back."""
        return 2 * self._duration_ns[block] + _ADAPTER_NS

    def hurry(self, block: Block) -> None:
        """It is due now."""
        self._due_ns[block] = -1  # before all others

    def next_block(self, now_ns: int, missing: bool) -> Block | None:
        """What to read before the next cycle. ``missing``: a motor did not answer in this one."""
        if missing and self._timeout_ns:  # it may have missed commands, too
            due_ns = self._due_ns[WATCHDOG_BLOCK]
            self._due_ns[WATCHDOG_BLOCK] = min(due_ns, now_ns + self._timeout_ns)
        block, due_ns = min(self._due_ns.items(), key=lambda item: item[1])
        if now_ns < due_ns:
            return None
        self._due_ns[block] = now_ns + self._periods[block]
        return block
