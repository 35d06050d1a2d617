"""A drive without motors or bus: for measuring what the loop above it takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from wall_edge_bridge.drives.base import Drive, Feedback, JointSpec

__all__ = ["LoopbackDrive"]


class LoopbackDrive(Drive):
    """Joints that are where they were last told to be, at once; they start at 0 rad."""

    def __init__(self, joints: Sequence[JointSpec], clock: Callable[[], int] = time.monotonic_ns) -> None:
        super().__init__(joints)
        self._clock = clock
        self._position = np.zeros(self.dof)
        self._healthy: tuple[tuple[str, ...], ...] = ((),) * self.dof

    def connect(self) -> None:
        pass

    def enable(self) -> None:
        pass

    def disable(self) -> None:
        pass

    def write(self, setpoints: npt.ArrayLike, deadline_ns: int) -> None:  # noqa: ARG002
        self._position[:] = setpoints

    def read(self, deadline_ns: int) -> Feedback:  # noqa: ARG002
        self.counters.cycles += 1
        now = self._clock()
        return Feedback(self._position.copy(), now, np.full(self.dof, now), self._healthy)

    def arm_watchdog(self, timeout_s: float) -> bool:  # noqa: ARG002
        return False

    def close(self) -> None:
        pass
