"""A robot's drives and their twins in one process: every byte and frame of its buses, in virtual time."""

from __future__ import annotations

from collections.abc import Callable

from wall_edge_bridge.drives import Setpoints
from wall_edge_bridge.drives.group import DriveGroup
from wall_edge_bridge.kinds import kind_named
from wall_edge_bridge.sim import wire_to

from wall_edge.array_types import Floats
from wall_edge.config import RobotConfig
from wall_edge.sim.twins import RobotTwins


class VirtualDrives(DriveGroup):
    """What ``runtime.servo.drives`` opens on a robot, on wires to ``twins``.

    Nobody waits for a reply: virtual time does not pass within a tick, and what is not there yet comes too
    late.
    """

    def __init__(self, config: RobotConfig, twins: RobotTwins, clock: Callable[[], int]) -> None:
        drives = {
            name: kind_named(settings.kind).open_drive(
                settings,
                config.joints_of(name),
                wire_to(twins.by_drive[name], clock),
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
        super().start_cycle(setpoints, deadline_ns)
        if setpoints is not None:
            self.written.append(setpoints.position.copy())
