"""From nothing to an arm that holds."""

from __future__ import annotations

import time
from collections.abc import Callable

from wall_edge.errors import RuntimeFault
from wall_edge.runtime.daemon.inbox import Inbox
from wall_edge.runtime.daemon.process_table import TABLE, Plant, ProcessRow, Started
from wall_edge.runtime.daemon.readiness import CameraRates, check_buses
from wall_edge.runtime.daemon.supervisor import Supervisor


class Startup:
    """The rows of the process table: what must be good before each, and each started before the next.

    ``poll`` passes a little time and raises what goes wrong meanwhile; ``holding``: whether the arm holds.
    """

    def __init__(
        self,
        plant: Plant,
        supervisor: Supervisor,
        inbox: Inbox,
        poll: Callable[[], None],
        holding: Callable[[], bool],
    ) -> None:
        self._plant, self._supervisor, self._inbox = plant, supervisor, inbox
        self._poll, self._holding = poll, holding
        self.powered: tuple[str, ...] = ()
        """Joints of a real arm that were powered before anybody of us came."""
        self.awaited = TABLE[0].name
        """The process that is to start now."""
        self._checks: dict[str, Callable[[], None]] = {
            TABLE[0].name: self._check_buses,
            "policy": self._await_frames,
            "servo": self._require_rates,
        }

    def run(self) -> None:
        """Raises WallEdgeError, and whatever ``poll`` raises."""
        for row in TABLE:
            self.awaited = row.name
            self._checks.get(row.name, lambda: None)()
            for name in row.instances(self._plant):
                self._supervisor.start(row, name)
                self._await(row, name)

    def _check_buses(self) -> None:
        """A missing port or a silent motor is said before anything is loaded."""
        if self._plant.world is None:
            self.powered = check_buses(self._plant.config)

    def _await_frames(self) -> None:
        CameraRates(self._plant.config.cameras, self._plant.memory.frames, self._poll).await_frames()

    def _require_rates(self) -> None:
        """With all processes running, as later."""
        real = {n: camera for n, camera in self._plant.config.cameras.items() if camera.kind == "opencv"}
        CameraRates(real, self._plant.memory.frames, self._poll).require()

    def _await(self, row: ProcessRow, name: str) -> None:
        deadline = time.monotonic() + row.start_s
        while not self._has_started(row, name):
            self._poll()
            if time.monotonic() > deadline:
                raise RuntimeFault(
                    f"waited {row.start_s:.0f} s for the {name} process ({row.started.value})",
                    expected="a start within that time",
                )

    def _has_started(self, row: ProcessRow, name: str) -> bool:
        if row.started is Started.READY:
            return name in self._inbox.ready
        return self._holding() if row.started is Started.HOLDING else bool(self._plant.places)
