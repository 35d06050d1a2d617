"""How long a cycle occupies the line."""

from __future__ import annotations

from collections.abc import Sequence

from wall_edge_bridge.kinds.moteus.frames import (
    REPLY_LENGTH,
    JointFrames,
    frame_to,
    is_extended,
    reply_identifier,
)
from wall_edge_bridge.kinds.moteus.settings import MoteusJoint, MoteusSettings
from wall_edge_bridge.sim.line import can_duration
from wall_edge_bridge.transport import Frame


def cycle_ns(settings: MoteusSettings, joints: Sequence[MoteusJoint]) -> int:
    """One command of 32 bytes and one reply of 24 a joint."""
    duration = can_duration(settings.bitrate, settings.data_bitrate)
    total = 0
    for joint in joints:
        command = JointFrames(joint, 0.0).command(0.0, 0.0, 0.0)
        answer = reply_identifier(joint.id, 0)
        total += duration(frame_to(joint.id, 0, command))
        total += duration(Frame(answer, bytes(REPLY_LENGTH), is_extended(answer), True, True))
    return total
