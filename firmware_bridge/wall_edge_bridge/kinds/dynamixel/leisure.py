"""What is read beside the positions, and when: so that it is told in time and costs the cycles little."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wall_edge_bridge.kinds.dynamixel.registers import WATCHDOG_UNIT_S
from wall_edge_bridge.kinds.dynamixel.replies import Block
from wall_edge_bridge.kinds.dynamixel.timing import line_ns, read_bytes

if TYPE_CHECKING:
    from wall_edge_bridge.kinds.dynamixel import DynamixelSettings

STATUS = Block.of("torque_enable", "hardware_error")
WATCHDOG_BLOCK = Block.of("bus_watchdog")
HEALTH = Block.of("present_voltage", "present_temperature")

STATUS_PERIOD_NS = 20_000_000
"""How often torque and hardware errors are read."""
MOTION_PERIOD_NS = 30_000_000
_STATUS_SHARE = 12
"""On a slow line the periods grow: that read has a twelfth of it at most."""
_HEALTH_PERIOD_NS = 1_000_000_000
_WATCHDOG_PERIOD_NS = 1_000_000_000
_ADAPTER_NS = 2_000_000


class Leisure:
    """When each block is due. Times are CLOCK_MONOTONIC ns."""

    def __init__(self, settings: DynamixelSettings, motors: int) -> None:
        self._duration_ns = {
            block: line_ns(settings, read_bytes(block.width, motors, settings.fast), motors)
            for block in (STATUS, WATCHDOG_BLOCK, HEALTH)
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
        self._due_ns[block] = 0

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
