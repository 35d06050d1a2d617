"""A drive whose motors are computed in the same process: no bytes, no pseudo-terminal, next to no time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from wall_edge_bridge.drives import Drive, Feedback, JointSpec
from wall_edge_bridge.drives.base import Floats
from wall_edge_bridge.kinds.feetech.registers import RADIANS_PER_TICK
from wall_edge_bridge.sim.shaft import MAX_SPEED, follow_goal


class SimulatedDrive(Drive):
    """Joints that follow their setpoints as simulated STS3215 servos do, counts of the encoder included.

    ``clock`` is CLOCK_MONOTONIC ns, or virtual. Nothing goes wrong here: see ``TwinDrive``.
    """

    def __init__(
        self, joints: Sequence[JointSpec], positions: npt.ArrayLike, clock: Callable[[], int]
    ) -> None:
        super().__init__(joints)
        self._clock = clock
        self._shafts: list[float] = np.array(positions, np.float64).tolist()
        self._goals = list(self._shafts)
        self._moved_ns = clock()
        self.enabled = False
        self.written: list[Floats] = []
        """Every setpoint [dof] in rad since the drive was made."""

    def positions(self) -> Floats:
        """[dof] rad, where the joints are now, finer than what the motors report."""
        now = self._clock()
        seconds, self._moved_ns = (now - self._moved_ns) / 1e9, max(now, self._moved_ns)
        if self.enabled and seconds > 0:
            pairs = zip(self._shafts, self._goals, strict=True)
            self._shafts = [follow_goal(shaft, goal, MAX_SPEED, seconds) for shaft, goal in pairs]
        return np.array(self._shafts)

    def connect(self) -> None:
        pass

    def enable(self) -> None:
        self._goals, self.enabled = self.positions().tolist(), True

    def disable(self) -> None:
        self.positions()
        self.enabled = False

    def write(self, setpoints: npt.ArrayLike, deadline_ns: int) -> None:  # noqa: ARG002
        self.positions()
        positions = np.array(setpoints, np.float64)
        self.written.append(positions)
        self._goals = _counted(positions).tolist()

    def read(self, deadline_ns: int) -> Feedback:  # noqa: ARG002
        self.counters.cycles += 1
        now = self._clock()
        return Feedback(_counted(self.positions()), now, np.full(self.dof, now), ((),) * self.dof)

    def arm_watchdog(self, timeout_s: float) -> bool:  # noqa: ARG002
        return False

    def close(self) -> None:
        pass


def _counted(radians: Floats) -> Floats:
    """To the nearest encoder count."""
    return np.round(radians / RADIANS_PER_TICK) * RADIANS_PER_TICK
