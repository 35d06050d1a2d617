"""What a drive knows of each of its motors."""

from __future__ import annotations

from dataclasses import dataclass

from wall_edge_bridge.kinds.damiao.codec import ECHO_STEPS, MitCodec
from wall_edge_bridge.kinds.damiao.registers import Ranges
from wall_edge_bridge.kinds.damiao.settings import DamiaoJoint


@dataclass
class Facts:
    """Read from a motor's registers; None where its firmware does not answer."""

    ranges: Ranges
    reply_id: int
    software: float | None = None
    serial: float | None = None
    under_voltage: float | None = None
    """V, where it gives up"""
    over_voltage: float | None = None
    over_temperature: float | None = None
    """°C, where it gives up"""
    voltage: float | None = None
    """V of its supply, at that time"""


class Motor:
    """Between a joint's angle and its motor's numbers: motor = direction · joint + zero."""

    def __init__(self, joint: DamiaoJoint, ranges: Ranges) -> None:
        self.joint = joint
        self.id = joint.id
        self.direction, self.zero = joint.direction, joint.zero_rad
        self.codec = MitCodec(ranges)
        self._gains = self.codec.gains(joint.kp, joint.kd)
        self._max_effort = ranges.effort if joint.max_effort is None else joint.max_effort

    def command(self, position: float, velocity: float, effort: float) -> bytes:
        """8 bytes for the joint's rad, rad/s, Nm. ValueError for NaN."""
        direction, most = self.direction, self._max_effort
        return self.codec.command(
            direction * position + self.zero,
            direction * velocity,
            direction * (most if effort > most else -most if effort < -most else effort),
            self._gains,
        )

    @property
    def resolution(self) -> float:
        """rad"""
        return 2 * self.codec.ranges.position / 65535

    @property
    def reach(self) -> tuple[float, float]:
        """Joint angles that its numbers can say, and that no echo of a register is mistaken for [rad]."""
        span = self.codec.ranges.position - ECHO_STEPS * self.resolution
        ends = (self.direction * (each - self.zero) for each in (-span, span))
        lower, upper = sorted(ends)
        return lower, upper
