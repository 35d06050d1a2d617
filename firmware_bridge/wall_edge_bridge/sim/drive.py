"""A drive whose motors are computed in the same process: no bytes, no pseudo-terminal, next to no time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from wall_edge.errors import BusTimeout
from wall_edge_bridge.drives import Drive, Feedback, Joint, Setpoints
from wall_edge_bridge.drives.values import Floats, JointReadings
from wall_edge_bridge.sim.shaft import MAX_SPEED, follow_goal

_COUNT = 2.0 * math.pi / 4096
"""rad, of an encoder"""


class SimulatedDrive(Drive):
    """Joints that follow their setpoints as a hobby servo's do, counts of the encoder included.

    ``clock`` is CLOCK_MONOTONIC ns, or virtual. Nothing goes wrong here: for that there are the kinds' twins.
    """

    def __init__(self, joints: Sequence[Joint], positions: npt.ArrayLike, clock: Callable[[], int]) -> None:
        super().__init__(joints)
        self._clock = clock
        self._shafts: list[float] = np.array(positions, np.float64).tolist()
        self._goals = list(self._shafts)
        self._moved_ns = clock()
        self._readings = JointReadings(tuple(joint.name for joint in joints))
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

    def arm_watchdog(self, timeout_s: float) -> float | None:  # noqa: ARG002
        return None

    def enable(self) -> None:
        self._goals, self.enabled = self.positions().tolist(), True

    def disable(self) -> None:
        self.positions()
        self.enabled = False

    def torque(self) -> tuple[bool | None, ...]:
        return (self.enabled,) * self.dof

    def start_cycle(self, setpoints: Setpoints | None, deadline_ns: int) -> None:  # noqa: ARG002
        self.counters.cycles += 1
        if setpoints is None:
            return
        there = self.allowed(setpoints.position)
        self.positions()
        self.written.append(there)
        self._goals = _counted(there).tolist()

    def finish_cycle(self, deadline_ns: int) -> Feedback:
        now = self._clock()
        if now > deadline_ns:
            self.counters.timeouts += self.dof
            raise BusTimeout(f"the deadline passed {(now - deadline_ns) / 1e6:.1f} ms ago")
        self._readings.position = _counted(self.positions())
        self._readings.received_ns[:] = now
        return self._readings.snapshot()

    def close(self) -> None:
        pass


def _counted(radians: Floats) -> Floats:
    """To the nearest encoder count."""
    counts: Floats = np.round(radians / _COUNT) * _COUNT
    return counts
