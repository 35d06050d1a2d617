"""How long a cycle occupies the line."""

from __future__ import annotations

from collections.abc import Sequence

from wall_edge_bridge.kinds.odrive.settings import ODriveJoint, ODriveSettings
from wall_edge_bridge.sim.line import can_duration
from wall_edge_bridge.transport import Frame


def cycle_ns(settings: ODriveSettings, joints: Sequence[ODriveJoint]) -> int:
    """A setpoint and an estimate a joint, and where estimates are asked for, the request."""
    frames = [Frame(0, bytes(8)), Frame(0, bytes(8))]
    if settings.estimates_ms is None:
        frames.append(Frame(0, b"", remote=True))
    return len(joints) * sum(map(can_duration(settings.bitrate), frames))
