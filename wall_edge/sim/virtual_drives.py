"""A robot's drives and their twins in one process: every byte and frame of its buses, in virtual time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from wall_edge_bridge.drives import Feedback, Setpoints
from wall_edge_bridge.drives.group import DriveGroup
from wall_edge_bridge.kinds import kind_named
from wall_edge_bridge.sim import wire_to

from wall_edge.array_types import Floats
from wall_edge.config import RobotConfig
from wall_edge.sim.twins import RobotTwins


class VirtualDrives(DriveGroup):
    """What ``runtime.servo.drives`` opens on a robot, on wires to ``twins``.

    Within a cycle virtual time does not pass: what is not there yet comes too late. Outside, ``sleep`` (until
    [ns]) lets it pass while a drive waits, as for motors that speak unasked.
    """

    def __init__(
        self, config: RobotConfig, twins: RobotTwins, clock: Callable[[], int], sleep: Callable[[int], None]
    ) -> None:
        self._sleep = sleep
        self._wires = {name: wire_to(twin, clock, sleep) for name, twin in twins.by_drive.items()}
        drives = {
            name: kind_named(settings.kind).open_drive(
                settings.paced(1 / config.control.rate_hz),
                config.joints_of(name),
                self._wires[name],
                clock=clock,
                start_slack_rad=config.control.start_slack_rad,
            )
            for name, settings in config.drives.items()
        }
        timeouts_ms = {name: settings.timeout_ms for name, settings in config.drives.items()}
        super().__init__(config.joints, drives, timeouts_ms, clock)
        self.twins = twins
        self.written: list[Floats] = []
        """Every setpoint [dof] in rad that went out."""
        self._now = clock

    def positions(self) -> Floats:
        """[dof] rad, where the joints are now, finer than what the motors report."""
        return self.twins.positions(self._now())

    def start_cycle(self, setpoints: Setpoints | None, deadline_ns: int) -> None:
        with self._no_time():
            super().start_cycle(setpoints, deadline_ns)
        if setpoints is not None:
            self.written.append(setpoints.position.copy())

    def finish_cycle(self, deadline_ns: int) -> Feedback:
        with self._no_time():
            return super().finish_cycle(deadline_ns)

    @contextlib.contextmanager
    def _no_time(self) -> Iterator[None]:
        for wire in self._wires.values():
            wire.sleep = None
        try:
            yield
        finally:
            for wire in self._wires.values():
                wire.sleep = self._sleep
