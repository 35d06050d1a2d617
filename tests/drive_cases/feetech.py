"""STS3215 servos."""

from __future__ import annotations

from wall_edge_bridge.kinds.feetech import FeetechJoint, FeetechSettings
from wall_edge_bridge.kinds.feetech.registers import RADIANS_PER_TICK

from tests.drive_cases import Case

NAMES = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
JOINTS = tuple(
    FeetechJoint(
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
    settings=FeetechSettings(kind="feetech"),
    joints=JOINTS,
    tolerance=RADIANS_PER_TICK / 2 + 1e-9,
    settles_within=RADIANS_PER_TICK,
    a_fault="overload",
    memory=lambda twin: [servo.memory for servo in twin.servos.values()],
)
