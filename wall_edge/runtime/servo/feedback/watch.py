"""What must hold of joints under torque, over time: they follow, and nobody else commands them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from wall_edge_bridge.drives import Drive

from wall_edge.array_types import Floats
from wall_edge.config import RobotConfig
from wall_edge.errors import RuntimeFault

_FOREIGN_PACKETS = 3
"""Packets that answer nothing of ours, within ``control.feedback_timeout_ms``: one may be noise."""


class Watch:
    """Both are faults when they last for ``control.feedback_timeout_ms``. Times are ns."""

    def __init__(self, config: RobotConfig) -> None:
        self._names = [joint.name for joint in config.joints]
        self._allowed = config.control.following_error_rad
        self._timeout_ns = round(config.control.feedback_timeout_ms * 1e6)
        self._followed_ns: npt.NDArray[np.int64] = np.zeros(config.dof, np.int64)
        self._drives: tuple[tuple[str, Drive], ...] = ()
        self._foreign: list[int] = []
        self._since_ns = 0

    def restart(self, drives: Mapping[str, Drive], now: int) -> None:
        """All is well at ``now``."""
        self._followed_ns[:] = now
        self._drives = tuple(drives.items())
        self._foreign, self._since_ns = self._counts(), now

    def require_following(self, position: Floats, setpoint: Floats, now: int) -> None:
        """``position`` and ``setpoint`` [dof] rad. Raises RuntimeFault naming the joint that trails."""
        error = np.abs(position - setpoint)
        near = error <= self._allowed
        self._followed_ns[near] = now
        if near.all():
            return
        trailing = np.flatnonzero(now - self._followed_ns > self._timeout_ns)
        if len(trailing):
            i = int(trailing[np.argmax(error[trailing])])
            raise RuntimeFault(
                f"joint {self._names[i]} does not follow: at {position[i]:.3f} rad with its setpoint at "
                f"{setpoint[i]:.3f} rad, for {(now - self._followed_ns[i]) / 1e6:.0f} ms",
                expected=f"within {self._allowed:g} rad (control.following_error_rad)",
                fix="see what blocks it, and its motor's torque limit, load and supply",
            )

    def require_one_program(self, now: int) -> None:
        """Raises RuntimeFault naming the drive on whose bus replies come that we did not ask for."""
        counts = self._counts()
        for (name, _), count, before in zip(self._drives, counts, self._foreign, strict=True):
            if count - before >= _FOREIGN_PACKETS:
                raise RuntimeFault(
                    f"{count - before} packets on the bus of {name} answered nothing that was asked",
                    expected="one program on the bus",
                    fix="stop the other one, or unplug its adapter (`fuser -v` names who holds a port)",
                )
        if now - self._since_ns > self._timeout_ns:
            self._foreign, self._since_ns = counts, now

    def _counts(self) -> list[int]:
        return [drive.counters.foreign for _, drive in self._drives]
