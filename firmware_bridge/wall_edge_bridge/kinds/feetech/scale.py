"""Joints in radians, Feetech servos in ticks, and how far each may go."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from wall_edge.errors import ConfigError, DriveError
from wall_edge_bridge.drives.base import Floats, JointSpec
from wall_edge_bridge.kinds.feetech.protocol import MAX_SERVO_ID
from wall_edge_bridge.kinds.feetech.registers import MAX_TICK, radians_to_ticks, ticks_to_radians


class JointScale:
    """Limits, zeros and directions of joints; arrays are [dof], in the order of ``joints``.

    Raises ConfigError for joints that these servos cannot be.
    """

    def __init__(self, joints: Sequence[JointSpec]) -> None:
        for joint in joints:
            _require_reach(joint)
        self._joints = tuple(joints)
        self._lower = np.array([joint.lower for joint in joints])
        self._upper = np.array([joint.upper for joint in joints])
        self._zero = np.array([joint.zero_ticks for joint in joints])
        self._direction = np.array([joint.direction for joint in joints])

    def radians(self, ticks: npt.NDArray[Any]) -> Floats:
        """Joint angles of encoder readings; NaN stays NaN."""
        return ticks_to_radians(ticks, self._zero, self._direction)

    def ticks(self, positions: Floats) -> tuple[int | None, ...]:
        """Encoder readings at ``positions`` [rad], to the nearest; None for NaN."""
        ticks = radians_to_ticks(positions, self._zero, self._direction)
        return tuple(None if math.isnan(tick) else round(tick) for tick in ticks.tolist())

    def nearest_ticks(self, positions: Floats) -> list[int]:
        """Goals for ``positions`` [rad], which are clipped to the limits first."""
        inside = np.clip(positions, self._lower, self._upper)
        ticks: list[int] = np.rint(radians_to_ticks(inside, self._zero, self._direction)).astype(int).tolist()
        return ticks

    def require_inside(self, positions: Floats, slack: float, what: str, fix: str) -> None:
        """Raise DriveError naming the first joint more than ``slack`` [rad] beyond a limit, and both."""
        # NaN compares False, so it is refused too.
        inside = (positions >= self._lower - slack) & (positions <= self._upper + slack)
        if np.all(inside):
            return
        index = int(np.argmin(inside))
        joint = self._joints[index]
        raise DriveError(
            f"joint {joint.name}: {what} {positions[index]:.6g} rad",
            expected=f"{joint.lower:.6g} to {joint.upper:.6g} rad",
            fix=fix,
        )


def _require_reach(joint: JointSpec) -> None:
    if not 0 <= joint.id <= MAX_SERVO_ID:
        raise ConfigError(f"joint {joint.name}: servo id {joint.id}", expected=f"0 to {MAX_SERVO_ID}")
    ends = radians_to_ticks([joint.lower, joint.upper], joint.zero_ticks, joint.direction)
    # A servo in position mode silently stops at the ends of its one turn.
    if ends.min() < -0.5 or ends.max() > MAX_TICK + 0.5:
        raise ConfigError(
            f"joint {joint.name}: limits {joint.lower:.6g} to {joint.upper:.6g} rad are ticks "
            f"{math.floor(ends.min())} to {math.ceil(ends.max())}",
            expected=f"0 to {MAX_TICK}",
            fix="narrow the limits or calibrate zero_ticks",
        )
