"""What ROBOT.yaml makes of a LeRobot calibration, as numbers: ticks to the policy's values and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from wall_edge_bridge.kinds import kind_named

from wall_edge.config.embodiment import JointEntry
from wall_edge.config_loader import from_mapping
from wall_edge.motors.lerobot.calibration import MotorCalibration
from wall_edge.motors.lerobot.joints import plan_joint
from wall_edge.motors.lerobot.units import Units

Floats = np.ndarray[Any, np.dtype[np.float64]]
TICK = 2 * np.pi / 4096


class Line:
    """One imported joint; both ways pass through rad, as on the robot."""

    def __init__(self, kind: str, name: str, motor: MotorCalibration, units: Units) -> None:
        plan = plan_joint(kind, name, motor, units, "file")
        keys: dict[str, Any] = {k: v for k, v in plan.keys.items() if v is not None}
        self.joint: Any = from_mapping(kind_named(kind).joint, {"max_velocity": 1.0, **keys}, "file")
        entry = from_mapping(JointEntry, plan.entry, "file")
        assert entry.ends is not None
        (self._low, self._high), (self._from, self._to) = entry.ends

    def values(self, ticks: Floats) -> Floats:
        """The policy's, of what a motor reports."""
        radians = (ticks - self.joint.zero_ticks) * self.joint.direction * TICK
        share = (radians - self._from) / (self._to - self._from)
        there: Floats = self._low + share * (self._high - self._low)
        return there

    def ticks(self, values: Floats) -> Floats:
        """The goal that a motor gets, rounded as the drive does."""
        share = (values - self._low) / (self._high - self._low)
        radians = self._from + share * (self._to - self._from)
        there: Floats = np.rint(radians * self.joint.direction / TICK + self.joint.zero_ticks)
        return there
