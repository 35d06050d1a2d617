"""How long a cycle occupies the line."""

from __future__ import annotations

from collections.abc import Callable

from wall_edge_bridge.kinds.damiao import DamiaoSettings
from wall_edge_bridge.sim.line import can_frame_bits, serial_duration
from wall_edge_bridge.transport.base import Frame

SENT_BYTES, RECEIVED_BYTES = 30, 16
"""Of a frame on the line to Damiao's USB bridge, which carries both directions at once."""


def frame_duration(settings: DamiaoSettings) -> Callable[[Frame], int]:
    """ns of a frame with the most stuffing that can be."""
    bit_ns = 1e9 / settings.bitrate
    data_ns = 1e9 / (settings.data_bitrate or settings.bitrate)
    return lambda frame: round(
        _fd_duration(frame, bit_ns, data_ns if frame.brs else bit_ns)
        if frame.fd
        else can_frame_bits(frame) * bit_ns
    )


def _fd_duration(frame: Frame, bit_ns: float, data_ns: float) -> float:
    """ISO 11898-1:2015, 11-bit identifier, up to 16 bytes of data (CRC of 17 bits).

    At the arbitration rate: start to BRS, 17 bits, and acknowledgement to intermission, 13. At the data rate:
    ESI, DLC, data, stuff count and CRC with their 6 fixed stuff bits, CRC delimiter.
    """
    length = 8 * len(frame.data)
    stuffing = (17 - 1) // 4, (5 + length) // 4
    return (17 + stuffing[0] + 13) * bit_ns + (1 + 4 + length + stuffing[1] + 4 + 17 + 6 + 1) * data_ns


def cycle_ns(settings: DamiaoSettings, joints: int) -> int:
    """A command and a feedback for each; of the USB bridge, the slower direction's bytes."""
    if settings.interface == "damiao-usb":
        return joints * serial_duration(settings.usb_baudrate)(bytes(SENT_BYTES))
    fd = settings.data_bitrate is not None
    return 2 * joints * frame_duration(settings)(Frame(1, bytes(8), fd=fd, brs=fd))
