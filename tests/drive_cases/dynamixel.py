"""XL330-M288 motors; also with velocity and current in every cycle."""

from __future__ import annotations

import dataclasses

from wall_edge_bridge.kinds.dynamixel import DynamixelJoint, DynamixelSettings
from wall_edge_bridge.kinds.dynamixel.registers import RADIANS_PER_TICK

from tests.drive_cases import Case

NAMES = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
JOINTS = tuple(
    DynamixelJoint(
        name,
        id=i + 1,
        lower=-1.5,
        upper=1.0,
        max_velocity=6.0,
        zero_ticks=2048 + 10 * i,
        direction=-1 if i % 2 else 1,
    )
    for i, name in enumerate(NAMES)
)

CASE = Case(
    settings=DynamixelSettings(kind="dynamixel"),
    joints=JOINTS,
    tolerance=RADIANS_PER_TICK / 2 + 1e-9,
    settles_within=RADIANS_PER_TICK,
    a_fault="overload",
    notices_within_s=0.04,  # the status is read on a 24th of the line's time
    watchdog_s=0.1,
    memory=lambda twin: [motor.memory for motor in twin.motors],
)

VARIANTS = {
    "full": dataclasses.replace(CASE, settings=DynamixelSettings(kind="dynamixel", full_feedback=True)),
}
