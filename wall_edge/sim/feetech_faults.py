"""What only Feetech servos can do wrong, as they have limits of their own and obey whoever writes to them."""

from __future__ import annotations

from collections.abc import Iterator

from wall_edge_bridge.kinds.feetech.codec import build_write
from wall_edge_bridge.kinds.feetech.registers import STS3215
from wall_edge_bridge.kinds.feetech.twin import FeetechTwin

from wall_edge.sim.virtual import VirtualRobot

KINDS = ("feetech",)


def _twins(robot: VirtualRobot) -> Iterator[FeetechTwin]:
    for twin in robot.twins.by_drive.values():
        if isinstance(twin, FeetechTwin):
            yield twin


def another_program(robot: VirtualRobot) -> None:
    """It takes torque and lock off, as LeRobot's bus does when it connects and disconnects."""
    for twin in _twins(robot):
        for name in ("torque_enable", "lock"):
            for servo_id in twin.servos:
                twin.intrude(build_write(servo_id, STS3215[name].address, b"\0"), robot.now)


def narrow_limits(robot: VirtualRobot) -> None:
    """The servos' own: each stays within a degree of where it is."""
    for twin in _twins(robot):
        for servo in twin.servos.values():
            servo.set("min_angle", round(servo.ticks) - 11)
            servo.set("max_angle", round(servo.ticks) + 11)


def lose_force(robot: VirtualRobot) -> None:
    """Of all servos: some task hardly moves the joint that one of them belongs to."""
    for twin in _twins(robot):
        for servo in twin.servos.values():
            servo.set("torque_limit", 0)
