"""Two or three DM4310 on their twin, in virtual time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from wall_edge_bridge.drives import Feedback, Setpoints
from wall_edge_bridge.kinds.damiao import KIND, DamiaoJoint, DamiaoSettings
from wall_edge_bridge.kinds.damiao.drive import DamiaoDrive
from wall_edge_bridge.kinds.damiao.twin import DamiaoTwin
from wall_edge_bridge.sim import VirtualClock
from wall_edge_bridge.sim.wires import FrameWire
from wall_edge_bridge.transport.base import Frame

JOINTS = tuple(
    DamiaoJoint(name, id=i + 1, lower=-1.5, upper=1.5, max_velocity=6.0)
    for i, name in enumerate(("hip", "knee", "ankle"))
)


class DamiaoRig:
    """``sent`` has every frame that went to the motors."""

    def __init__(
        self, settings: DamiaoSettings | None = None, joints: Any = JOINTS, start: Any = 0.0
    ) -> None:
        self.settings = settings or DamiaoSettings()
        self.clock = VirtualClock()
        self.joints = tuple(joints)
        positions = np.broadcast_to(np.asarray(start, float), len(self.joints))
        self.twin = DamiaoTwin(self.settings, self.joints, positions)
        self.wire = FrameWire(self.twin, self.clock, self.clock.sleep)
        self.sent: list[Frame] = []
        send = self.wire.send

        def recorded(frames: Any, deadline_ns: int) -> None:
            self.sent.extend(frames)
            send(frames, deadline_ns)

        self.wire.send = recorded  # type: ignore[method-assign]
        self.drive = self.another_drive()

    def another_drive(self, **changes: Any) -> DamiaoDrive:
        """On the same wire, with all joints changed alike."""
        joints = [replace(joint, **changes) for joint in self.joints]
        return DamiaoDrive(self.settings, joints, self.wire, clock=self.clock)

    def connected(self) -> DamiaoDrive:
        self.drive.connect()
        self.drive.check()
        return self.drive

    def enabled(self, watchdog_s: float = 0.1) -> DamiaoDrive:
        self.connected().arm_watchdog(watchdog_s)
        self.drive.enable()
        return self.drive

    def cycle(self, position: Any = None, **fields: Any) -> Feedback:
        """A hundredth of a second later."""
        self.clock.sleep(self.clock() + 10_000_000)
        setpoints = None
        if position is not None:
            setpoints = Setpoints.hold(np.broadcast_to(np.asarray(position, float), len(self.joints)))
            setpoints = replace(
                setpoints, **{k: np.broadcast_to(np.asarray(v, float), 3) for k, v in fields.items()}
            )
        return self.drive.cycle(setpoints, self.clock() + 20_000_000)

    def commands(self) -> list[tuple[float, ...]]:
        """Of the last cycle, as its motors understood them."""
        codecs = {motor.id: motor.codec for motor in self.twin.motors}
        last = self.sent[-len(self.joints) :]
        return [codecs[frame.id].parse_command(frame.data) for frame in last]


__all__ = ["JOINTS", "KIND", "DamiaoRig"]
