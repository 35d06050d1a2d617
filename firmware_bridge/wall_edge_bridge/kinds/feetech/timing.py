"""How long a cycle occupies the line."""

from __future__ import annotations

from collections.abc import Sequence

from wall_edge_bridge.kinds.feetech.codec import cycle_bytes
from wall_edge_bridge.kinds.feetech.settings import FeetechJoint, FeetechSettings
from wall_edge_bridge.sim.line import serial_duration


def cycle_ns(settings: FeetechSettings, joints: Sequence[FeetechJoint]) -> int:
    """A sync write of goals, a sync read of positions and its replies."""
    return serial_duration(settings.baudrate)(bytes(cycle_bytes(len(joints))))
