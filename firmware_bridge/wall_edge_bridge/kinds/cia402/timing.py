"""How long a cycle occupies the line."""

from __future__ import annotations

from collections.abc import Sequence

from wall_edge_bridge.kinds.cia402 import codec
from wall_edge_bridge.kinds.cia402.settings import Cia402Joint, Cia402Settings
from wall_edge_bridge.sim.line import can_duration
from wall_edge_bridge.transport import Frame


def cycle_ns(settings: Cia402Settings, joints: Sequence[Cia402Joint]) -> int:
    """A command and a feedback a node, and one SYNC."""
    duration = can_duration(settings.bitrate)
    frames = [codec.SYNC]
    for joint in joints:
        feedback = Frame(codec.TPDO1 + joint.id, bytes(codec.FEEDBACK.size))
        frames += [codec.command(joint.id, 0, 0), feedback]
    return sum(map(duration, frames))
