"""How long a cycle occupies the line."""

from __future__ import annotations

from collections.abc import Sequence

from wall_edge_bridge.kinds.robstride.codec import ZEROS
from wall_edge_bridge.kinds.robstride.settings import RobStrideJoint, RobStrideSettings
from wall_edge_bridge.sim.line import can_duration
from wall_edge_bridge.transport import Frame

_FRAME = Frame(0, ZEROS, extended=True)


def cycle_ns(settings: RobStrideSettings, joints: Sequence[RobStrideJoint]) -> int:
    """A control frame and a feedback a joint, each 8 bytes with a 29-bit identifier."""
    return 2 * len(joints) * can_duration(settings.bitrate)(_FRAME)
