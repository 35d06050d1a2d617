"""What a drive needs from a wire: bytes one after the other, or frames with an identifier.

Deadlines are absolute, CLOCK_MONOTONIC ns (``time.monotonic_ns``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class ByteTransport(Protocol):
    """A byte stream to the motors."""

    @property
    def description(self) -> str:
        """Port and speed, for error messages."""

    def send(self, data: bytes, deadline_ns: int) -> None:
        """Hand ``data`` to the wire. Raises BusTimeout when it did not take all, BusError when it is gone."""

    def receive(self, at_most: int, deadline_ns: int) -> bytes:
        """1 to ``at_most`` bytes as soon as any are there, empty at the deadline. Raises BusError.

        A deadline that has passed gives what is there already.
        """

    def close(self) -> None:
        """Release the port; may be called twice."""


class Frame(NamedTuple):
    """One CAN frame: 0 to 8 bytes of data, to 64 with ``fd``; 11-bit ``id``, 29-bit when ``extended``."""

    id: int
    data: bytes
    extended: bool = False
    fd: bool = False
    brs: bool = False
    """Whether a CAN FD frame's data go at the data bit rate."""
    received_ns: int = 0
    """CLOCK_MONOTONIC of arrival; 0 of a frame to be sent."""
    remote: bool = False
    """A classic frame that asks for another's data (RTR)."""


class BusHealth(NamedTuple):
    """What a controller says of its bus since it was opened: counts, and its present state."""

    error_frames: int = 0
    error_passive: int = 0
    """How often it became so."""
    bus_off: int = 0
    """How often it became so."""
    full: int = 0
    """Frames that the send queue would not take."""
    lost: int = 0
    """Frames that arrived and were dropped by the kernel, as nobody fetched them."""
    state: str = "active"
    """active, warning (many errors), passive or off; unknown where the controller does not say."""


class FrameTransport(Protocol):
    """A CAN bus. Frames that we sent are not received again."""

    @property
    def description(self) -> str:
        """Channel and bit rates, for error messages."""

    def send(self, frames: Sequence[Frame], deadline_ns: int) -> None:
        """Hand frames to the bus, in their order.

        Raises BusTimeout when its queue stayed full until the deadline, BusError when it is gone or off.
        """

    def receive(self, deadline_ns: int) -> list[Frame]:
        """All frames that are there, waiting for the first until the deadline; empty then. Raises BusError.

        A deadline that has passed gives what is there already.
        """

    def health(self) -> BusHealth:
        """What went wrong on the bus since it was opened."""

    def close(self) -> None:
        """Release the channel; may be called twice."""


Wire = ByteTransport | FrameTransport
