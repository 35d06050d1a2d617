"""How far joints may be sent: the check that every drive makes before anything goes out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from wall_edge.errors import DriveError
from wall_edge_bridge.drives.joints import Joint
from wall_edge_bridge.drives.values import Floats


class JointLimits:
    """Of ``joints``; arrays are [dof] rad."""

    def __init__(self, joints: Sequence[Joint]) -> None:
        self._joints = tuple(joints)
        self._lower = np.array([joint.lower for joint in joints])
        self._upper = np.array([joint.upper for joint in joints])
        self._slack, self._least, self._most = 0.0, self._lower, self._upper

    def clip(self, position: Floats) -> Floats:
        """The nearest that is allowed."""
        clipped: Floats = np.minimum(np.maximum(position, self._lower), self._upper)
        return clipped

    def require_setpoint(self, position: npt.ArrayLike, slack: float) -> Floats:
        """``position`` as an array; up to ``slack`` beyond a limit is rounding, and moved onto it.

        Raises DriveError naming the first joint whose setpoint is not allowed, or the shape.
        """
        there = self.require_shape(position)
        self.require_inside(there, slack, "setpoint", "mend what sends it; nothing was sent")
        return self.clip(there)

    def require_shape(self, position: npt.ArrayLike) -> Floats:
        """``position`` as an array of one number a joint. Raises DriveError."""
        try:
            there = np.asarray(position, np.float64)
        except (TypeError, ValueError) as error:
            raise DriveError(
                f"setpoints {position!r}", expected=f"{len(self._joints)} numbers [rad]"
            ) from error
        if there.shape != self._lower.shape:
            expected = f"{self._lower.shape}, one a joint"
            raise DriveError(f"setpoints of shape {there.shape}", expected=expected)
        return there

    def require_inside(self, position: Floats, slack: float, what: str, fix: str) -> None:
        """Raises DriveError naming the first joint more than ``slack`` [rad] beyond a limit, and both."""
        if slack != self._slack:
            self._slack, self._least, self._most = slack, self._lower - slack, self._upper + slack
        # NaN compares False, so it is refused too.
        inside = (position >= self._least) & (position <= self._most)
        if inside.all():
            return
        index = int(np.argmin(inside))
        joint = self._joints[index]
        raise DriveError(
            f"joint {joint.name}: {what} {position[index]:.6g} rad",
            expected=f"{joint.lower:.6g} to {joint.upper:.6g} rad",
            fix=fix,
        )
