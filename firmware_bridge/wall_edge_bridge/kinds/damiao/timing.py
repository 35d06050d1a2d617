"""How long a cycle occupies the line."""

from __future__ import annotations

from collections.abc import Sequence

from wall_edge_bridge.kinds.damiao.settings import DamiaoJoint, DamiaoSettings
from wall_edge_bridge.sim.line import can_duration, serial_duration
from wall_edge_bridge.transport import Frame

SENT_BYTES, RECEIVED_BYTES = 30, 16
"""Of a frame on the line to Damiao's USB bridge, which carries both directions at once."""


def cycle_ns(settings: DamiaoSettings, joints: Sequence[DamiaoJoint]) -> int:
    """A command and a feedback for each; of the USB bridge, the slower direction's bytes."""
    if settings.interface == "damiao-usb":
        return len(joints) * serial_duration(settings.usb_baudrate)(bytes(SENT_BYTES))
    fd = settings.data_bitrate is not None
    frame = Frame(1, bytes(8), fd=fd, brs=fd)
    return 2 * len(joints) * can_duration(settings.bitrate, settings.data_bitrate)(frame)
