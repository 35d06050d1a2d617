"""What ROBOT.yaml says of a drive: what all have, and what a serial port and a CAN channel need.

Each kind of drive extends one of these with its own keys.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from wall_edge.checks import between, positive, require_text

MAX_PLACE = 1024
"""Characters of a port or a channel."""
_BITRATE_MIN, _BITRATE_MAX = 10_000, 1_000_000
_DATA_BITRATE_MAX = 8_000_000


@dataclass(frozen=True)
class DriveSettings:
    """One bus with motors of one kind."""

    kind: str
    timeout_ms: float = 5.0
    """How long the replies of one cycle may take [ms]: what a lost one costs. A simulated robot waits for at
    least 20, as its bytes wait for a thread of the kernel."""
    on_loss: Literal["latch", "recover"] = "latch"
    """When the adapter vanishes: it stays lost, or is opened again (``transport.recovering``). Either way
    feedback that grows too old is a fault."""

    @property
    def place(self) -> str:
        """The port or channel; empty when it was not said, as a simulated robot needs none."""
        raise NotImplementedError

    def at(self, place: str) -> DriveSettings:
        """The same at another place: where a simulated robot's motors are (a pseudo-terminal, a socket)."""
        raise NotImplementedError

    def paced(self, period_s: float) -> DriveSettings:  # noqa: ARG002 - most motors take setpoints as they come
        """The same for a servo loop of this period [s]."""
        return self

    def __post_init__(self) -> None:
        positive("timeout_ms", self.timeout_ms, "ms", 1000)


@dataclass(frozen=True)
class SerialSettings(DriveSettings):
    """A serial port."""

    port: str = ""
    """Serial device (/dev/ttyACM0, better /dev/serial/by-id/…)."""
    baudrate: int = 1_000_000
    """Bits a second."""

    @property
    def place(self) -> str:
        return self.port

    def at(self, place: str) -> SerialSettings:
        return replace(self, port=place)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_text("port", self.port, MAX_PLACE)
        between("baudrate", self.baudrate, 1200, 6_000_000, "bit/s")


@dataclass(frozen=True)
class CanSettings(DriveSettings):
    """A CAN channel."""

    channel: str = ""
    """can0; with slcan a serial device, with udp_multicast an address, with unix a socket's path."""
    interface: Literal["socketcan", "slcan", "virtual", "udp_multicast", "unix"] = "socketcan"
    """How the channel is reached; unix is a simulated bus (``sim.hub``)."""
    bitrate: int = 1_000_000
    """Bits a second, of arbitration."""
    data_bitrate: int | None = None
    """Bits a second of the data of CAN FD frames; null: classic CAN."""

    @property
    def place(self) -> str:
        return self.channel

    def at(self, place: str) -> CanSettings:
        return replace(self, channel=place, interface="unix")

    def __post_init__(self) -> None:
        super().__post_init__()
        require_text("channel", self.channel, MAX_PLACE)
        between("bitrate", self.bitrate, _BITRATE_MIN, _BITRATE_MAX, "bit/s")
        between("data_bitrate", self.data_bitrate, self.bitrate, _DATA_BITRATE_MAX, "bit/s")
