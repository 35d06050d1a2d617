"""RobStride motors."""

from __future__ import annotations

from wall_edge_bridge.kinds.robstride import RobStrideJoint, RobStrideSettings

from tests.drive_cases import Case

NAMES = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
# No two differ in bit 2: the suite flips it in identifiers, as no controller with its CRC lets pass.
IDS = (1, 2, 3, 4, 8, 16)
JOINTS = tuple(
    RobStrideJoint(
        name,
        id=motor,
        lower=-1.5,
        upper=1.0,
        max_velocity=6.0,
        zero_rad=0.3 * i - 0.5,
        direction=-1 if i % 2 else 1,
    )
    for i, (name, motor) in enumerate(zip(NAMES, IDS, strict=True))
)
LSB = 2 * 12.57 / 65535

CASE = Case(
    settings=RobStrideSettings(kind="robstride"),
    joints=JOINTS,
    tolerance=LSB * 1.01,
    settles_within=4 * LSB,
    a_fault="stall",
    watchdog_s=0.1,
    memory=lambda twin: [motor.memory for motor in twin.motors],
    tells_late=False,
)
