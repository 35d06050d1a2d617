"""A Feetech drive on its twin without a port: what was sent is kept, and tests move the clock."""

from __future__ import annotations

import numpy as np
from wall_edge_bridge.drives import Feedback, Setpoints
from wall_edge_bridge.kinds.feetech import FeetechJoint, FeetechSettings
from wall_edge_bridge.kinds.feetech.codec import Request
from wall_edge_bridge.kinds.feetech.drive import FeetechDrive
from wall_edge_bridge.kinds.feetech.twin import FeetechTwin
from wall_edge_bridge.sim import ByteWire, VirtualClock

from tests.drive_cases.feetech import JOINTS
from tests.drive_cases.rig import START
from tests.feetech_packets import parse_request

SETTINGS = FeetechSettings()


class Loop(ByteWire):
    """Waiting takes (virtual) time. ``sent`` and ``received`` since the last ``take``."""

    def __init__(self, joints: tuple[FeetechJoint, ...] = JOINTS) -> None:
        self.clock = VirtualClock()
        self.twin = FeetechTwin(joints, START[: len(joints)])
        super().__init__(self.twin, self.clock, self.clock.sleep)
        self.sent, self.received = b"", b""

    def send(self, data: bytes, deadline_ns: int) -> None:
        self.sent += data
        super().send(data, deadline_ns)

    def receive(self, at_most: int, deadline_ns: int) -> bytes:
        data = super().receive(at_most, deadline_ns)
        self.received += data
        return data

    def take(self) -> list[Request]:
        """The requests sent since the last call."""
        requests, skipped = parse_request(self.sent)
        assert skipped == 0
        self.sent, self.received = b"", b""
        return requests

    def open(self, joints: tuple[FeetechJoint, ...] = JOINTS, slack: float = 0.0) -> FeetechDrive:
        """A drive on this wire."""
        return FeetechDrive(SETTINGS, joints, self, clock=self.clock, start_slack_rad=slack)

    def soon(self) -> int:
        return self.clock() + 3_000_000

    def cycle(self, drive: FeetechDrive, position: np.ndarray | None = None) -> Feedback:
        """4 ms later, as at 250 Hz."""
        self.clock.now_ns += 4_000_000
        return drive.cycle(None if position is None else Setpoints.hold(position), self.soon())

    def torque(self) -> list[int]:
        return [servo.get("torque_enable") for servo in self.twin.servos.values()]
