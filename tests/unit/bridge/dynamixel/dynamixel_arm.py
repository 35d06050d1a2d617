"""A Dynamixel arm for tests: the contract suite's rig with this kind's own types."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from wall_edge_bridge.kinds.dynamixel import KIND, DynamixelJoint
from wall_edge_bridge.kinds.dynamixel.drive import DynamixelDrive
from wall_edge_bridge.kinds.dynamixel.twin import DynamixelTwin
from wall_edge_bridge.kinds.dynamixel.twin.motor import SimulatedMotor

from tests.drive_cases.dynamixel import CASE
from tests.drive_cases.rig import START, Rig


class Arm(Rig):
    """Six joints at START, or others; ``keys`` are those of the settings."""

    twin: DynamixelTwin
    drive: DynamixelDrive

    def __init__(
        self,
        joints: Sequence[DynamixelJoint] | None = None,
        positions: Any = None,
        *,
        timed: bool = False,
        connect: bool = True,
        **keys: Any,
    ) -> None:
        patient = {"timeout_ms": 20.0, **keys}
        case = dataclasses.replace(CASE, settings=dataclasses.replace(CASE.settings, **patient))
        if positions is None:
            positions = START if joints is None or len(joints) == 6 else np.zeros(len(joints))
        super().__init__(KIND, case, joints=joints, positions=positions, timed=timed)
        if connect:
            self.drive.connect()

    @property
    def motors(self) -> list[SimulatedMotor]:
        return cast(DynamixelTwin, self.twin).motors


def seven(**keys: Any) -> list[DynamixelJoint]:
    """As in ``protocols.md``'s ceilings; ``keys`` are those of every joint."""
    return [DynamixelJoint(f"j{i}", i + 1, -1.5, 1.5, 3.0, **keys) for i in range(7)]


def with_(index: int, **keys: Any) -> list[DynamixelJoint]:
    """The case's joints, one of them changed."""
    joints = [cast(DynamixelJoint, joint) for joint in CASE.joints]
    joints[index] = dataclasses.replace(joints[index], **keys)
    return joints
