"""ODrives whose estimates are asked for: then each cycle has its replies, which the suite loses and delays.

Estimates that come by themselves have tests of their own, with the kind's.
"""

from __future__ import annotations

from wall_edge_bridge.kinds.odrive import ODriveEndpoints, ODriveJoint, ODriveSettings

from tests.drive_cases import Case

NAMES = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
JOINTS = tuple(
    ODriveJoint(
        name,
        id=i + 1,
        lower=-1.5,
        upper=1.0,
        max_velocity=6.0,
        zero_rad=0.3 * i - 0.5,
        direction=-1 if i % 2 else 1,
        gear_ratio=8.0 if i < 3 else 1.0,
    )
    for i, name in enumerate(NAMES)
)
ENDPOINTS = ODriveEndpoints("0.6.10", watchdog_timeout=391, enable_watchdog=392)
CASE = Case(
    settings=ODriveSettings(kind="odrive", estimates_ms=None, endpoints=ENDPOINTS),
    joints=JOINTS,
    tolerance=1e-6,
    settles_within=3e-3,
    a_fault="SPINOUT_DETECTED",
    watchdog_s=0.1,
    memory=lambda twin: [motor.memory for motor in twin.motors],
    tells_late=False,
    notices_within_s=0.11,
)
