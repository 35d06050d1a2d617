"""What must hold of joints under torque, over time: they follow, and nobody else commands them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from wall_edge_bridge.drives import BusCounters

from wall_edge.array_types import Floats
from wall_edge.config import RobotConfig
from wall_edge.errors import RuntimeFault

_FOREIGN_PACKETS = 3
"""Packets that answer nothing of ours, within ``control.feedback_timeout_ms``: one may be noise."""


class Watch:
    """Both are faults when they last for ``control.feedback_timeout_ms``. Times are ns."""

    def __init__(self, config: RobotConfig) -> None:
        self._names = [joint.name for joint in config.drive.joints]
        self._allowed = config.control.following_error_rad
        self._timeout_ns = round(config.control.feedback_timeout_ms * 1e6)
        self._followed_ns: npt.NDArray[np.int64] = np.zeros(config.dof, np.int64)
        self._foreign, self._since_ns = 0, 0

    def restart(self, counters: BusCounters, now: int) -> None:
        """All is well at ``now``."""
        self._followed_ns[:] = now
        self._foreign, self._since_ns = counters.foreign, now

    def require_following(self, position: Floats, setpoint: Floats, now: int) -> None:
        """``position`` and ``setpoint`` [dof] rad. Raises RuntimeFault naming the joint that trails."""
        error = np.abs(position - setpoint)
        self._followed_ns[error <= self._allowed] = now
        trailing = np.flatnonzero(now - self._followed_ns > self._timeout_ns)
        if len(trailing):
            i = int(trailing[np.argmax(error[trailing])])
            raise RuntimeFault(
                f"joint {self._names[i]} does not follow: at {position[i]:.3f} rad with its setpoint at "
                f"{setpoint[i]:.3f} rad, for {(now - self._followed_ns[i]) / 1e6:.0f} ms",
                expected=f"within {self._allowed:g} rad (control.following_error_rad)",
                fix="see what blocks it, and its servo's torque limit, load and supply",
            )

    def require_one_program(self, counters: BusCounters, now: int) -> None:
        """Raises RuntimeFault when replies come that we did not ask for."""
        foreign = counters.foreign - self._foreign
        if foreign >= _FOREIGN_PACKETS:
            raise RuntimeFault(
                f"{foreign} packets on the bus answered nothing that was asked",
                expected="one program on the bus",
                fix="stop the other one, or unplug its adapter (`fuser -v` names who holds a port)",
            )
        if now - self._since_ns > self._timeout_ns:
            self._foreign, self._since_ns = counters.foreign, now
