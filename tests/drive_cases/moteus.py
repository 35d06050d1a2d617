"""moteus controllers in the contract suite."""

from __future__ import annotations

import math
from typing import Any

from wall_edge_bridge.kinds.moteus import MoteusJoint, MoteusSettings

from tests.drive_cases import Case

JOINTS = tuple(
    MoteusJoint(
        name=f"joint_{index}",
        id=index,
        lower=-1.5,
        upper=1.0,
        max_velocity=2.0,
        direction=1 if index % 2 else -1,
        zero_rad=0.3 * (index - 3),
    )
    for index in range(1, 7)
)


def memory(twin: Any) -> object:
    """As text: NaN is not equal to itself."""
    return repr([(motor.mode, motor.fault, motor.command) for motor in twin.motors])


def unwatch(twin: Any) -> None:
    for motor in twin.motors:
        motor.default_timeout_s = math.nan


CASE = Case(
    settings=MoteusSettings(),
    joints=JOINTS,
    tolerance=1e-5,
    settles_within=0.01,
    a_fault="motor_driver_fault",
    watchdog_s=0.1,
    memory=memory,
    unwatch=unwatch,
)
