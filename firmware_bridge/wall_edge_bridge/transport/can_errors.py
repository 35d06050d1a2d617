"""Error frames of CAN controllers: what they say, and what becomes of the bus's health by them.

Source: the kernel's ``include/uapi/linux/can/error.h``.
"""

from __future__ import annotations

from wall_edge_bridge.transport.base import BusHealth
from wall_edge_bridge.transport.can_frame import ErrorFrame

TX_TIMEOUT = 0x001
LOST_ARBITRATION = 0x002
CONTROLLER = 0x004
"""Details in data[1]."""
PROTOCOL = 0x008
"""Details in data[2] and data[3]."""
TRANSCEIVER = 0x010
NO_ACK = 0x020
BUS_OFF = 0x040
BUS_ERROR = 0x080
RESTARTED = 0x100
ALL_CLASSES = 0x1FFFFFFF

RX_OVERFLOW = 0x01
WARNING = 0x04 | 0x08
"""Of receiving, of sending."""
PASSIVE = 0x10 | 0x20
ACTIVE = 0x40

_NAMES = {
    TX_TIMEOUT: "a frame was not sent in time",
    LOST_ARBITRATION: "arbitration lost",
    PROTOCOL: "malformed bits on the bus",
    TRANSCEIVER: "transceiver trouble",
    NO_ACK: "nobody acknowledged",
    BUS_OFF: "off the bus",
    BUS_ERROR: "bus error",
    RESTARTED: "controller restarted",
}


def described(error: ErrorFrame) -> str:
    """In words: "nobody acknowledged, bus error"."""
    words = [text for bit, text in _NAMES.items() if error.classes & bit]
    status = error.data[1] if error.classes & CONTROLLER else 0
    for bits, text in ((RX_OVERFLOW, "frames lost in the controller"), (PASSIVE, "error-passive")):
        if status & bits:
            words.append(text)
    return ", ".join(words) or f"error class {error.classes:#x}"


class HealthRecord:
    """Counts since a channel was opened."""

    def __init__(self) -> None:
        self.error_frames = self.error_passive = self.bus_off = self.full = self.lost = 0
        self.state = "active"
        self.last = ""
        """The last error frame, in words."""

    def snapshot(self) -> BusHealth:
        return BusHealth(
            self.error_frames, self.error_passive, self.bus_off, self.full, self.lost, self.state
        )

    def take(self, error: ErrorFrame) -> None:
        """One error frame of the controller; one that says it is all well again counts as none."""
        classes, status = error.classes, error.data[1] if error.classes & CONTROLLER else 0
        if classes & ~RESTARTED or not classes:
            self.error_frames += status != ACTIVE
            self.last = described(error)
        if status & RX_OVERFLOW:
            self.lost += 1
        if classes & BUS_OFF:
            self._enter("off")
        elif classes & RESTARTED or status & ACTIVE:
            self._enter("active")
        elif status & PASSIVE:
            self._enter("passive")
        elif status & WARNING and self.state != "off":
            self._enter("warning")

    def _enter(self, state: str) -> None:
        if state != self.state:
            self.bus_off += state == "off"
            self.error_passive += state == "passive"
        self.state = state
