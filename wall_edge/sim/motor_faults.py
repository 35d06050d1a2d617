"""What the motors of every kind can do wrong, by the hooks of their twins."""

from __future__ import annotations

from collections.abc import Callable

from wall_edge.sim.twins import Motor
from wall_edge.sim.virtual import VirtualRobot

UNASKED = ("odrive",)
"""Kinds whose motors send estimates by themselves, without a time: nobody can tell how late they come."""
_LATE_TICKS = 8
"""More than a reply has lengths (``PendingReplies``): every length has come round when a late one arrives."""


def silence_motors(robot: VirtualRobot) -> None:
    for twin, number in robot.twins.motors:
        twin.silence(number)


def loosen_cable(robot: VirtualRobot) -> None:
    twin, number = _motor(robot)
    twin.silence(number)


def _motor(robot: VirtualRobot) -> Motor:
    """The one that fails: of the joint that pans, as every task needs it."""
    return robot.twins.motor(0)


def lose_offset(radians: float) -> Callable[[VirtualRobot], None]:
    """The motor reports another position, and moves to where its goal is then."""

    def inject(robot: VirtualRobot) -> None:
        twin, number = _motor(robot)
        twin.shift_zero(number, radians)

    return inject


def lose_torque(robot: VirtualRobot) -> None:
    twin, number = _motor(robot)
    twin.lose_torque(number)


def reboot_motor(robot: VirtualRobot) -> None:
    twin, number = _motor(robot)
    twin.reboot(number, robot.now)


def delay_replies(robot: VirtualRobot) -> None:
    for twin in robot.twins.by_drive.values():
        twin.replies.latency_ns = _LATE_TICKS * robot.loop.ticker.period_ns
