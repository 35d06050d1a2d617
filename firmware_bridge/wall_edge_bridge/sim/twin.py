"""The drive and its twin in one process: every byte of the bus, in virtual time and without a port."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from wall_edge_bridge.drives import FeetechDrive, JointSpec
from wall_edge_bridge.drives.base import Floats
from wall_edge_bridge.kinds.feetech.twin import SimulatedServoBus


class Wire:
    """A transport to simulated servos; implements ``transport.base.Transport``. No byte takes time."""

    description = "simulated bus"

    def __init__(self, bus: SimulatedServoBus, clock: Callable[[], int]) -> None:
        self._bus, self._clock = bus, clock
        self._input = b""

    def send(self, data: bytes, deadline_ns: int) -> None:  # noqa: ARG002
        self._input += self._bus.handle(data, self._clock())

    def receive(self, at_most: int, deadline_ns: int) -> bytes:  # noqa: ARG002
        """What is there; it never waits, as virtual time does not pass meanwhile."""
        self._input += self._bus.collect(self._clock())
        data, self._input = self._input[:at_most], self._input[at_most:]
        return data

    def close(self) -> None:
        pass


class TwinDrive(FeetechDrive):
    """Faults are put into ``bus``; ``written`` has every setpoint [dof] in rad since the drive was made."""

    def __init__(
        self,
        joints: Sequence[JointSpec],
        positions: npt.ArrayLike,
        clock: Callable[[], int],
        *,
        start_slack_rad: float = 0.0,
    ) -> None:
        self.bus = SimulatedServoBus(joints, positions)
        self.written: list[Floats] = []
        super().__init__(Wire(self.bus, clock), joints, clock=clock, start_slack_rad=start_slack_rad)

    def positions(self) -> Floats:
        """[dof] rad, where the joints are now, finer than what the motors report."""
        return self.bus.positions(self._clock())

    def write(self, setpoints: npt.ArrayLike, deadline_ns: int) -> None:
        super().write(setpoints, deadline_ns)
        self.written.append(np.array(setpoints, np.float64))
