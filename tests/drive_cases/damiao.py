"""DM4310 motors in MIT mode: on classic CAN, on CAN FD, and behind Damiao's USB bridge."""

from __future__ import annotations

from dataclasses import replace

from wall_edge_bridge.kinds.damiao import DamiaoJoint, DamiaoSettings

from tests.drive_cases import Case

NAMES = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
JOINTS = tuple(
    DamiaoJoint(
        name,
        id=i + 1,
        lower=-1.5,
        upper=1.0,
        max_velocity=6.0,
        direction=-1 if i % 2 else 1,
        zero_rad=0.3 * i - 0.7,
    )
    for i, name in enumerate(NAMES)
)

CASE = Case(
    settings=DamiaoSettings(),
    joints=JOINTS,
    tolerance=25 / 65535 + 1e-9,
    settles_within=0.008,  # a goal that stops at once is overrun by that much
    a_fault="over-current",
    watchdog_s=0.1,
    memory=lambda twin: [motor.writable() for motor in getattr(twin, "bus", twin).motors],
    tells_late=False,
)
VARIANTS = {
    "fd": replace(CASE, settings=DamiaoSettings(data_bitrate=5_000_000)),
    "bridge": replace(CASE, settings=DamiaoSettings(interface="damiao-usb"), detects_damage=False),
}
