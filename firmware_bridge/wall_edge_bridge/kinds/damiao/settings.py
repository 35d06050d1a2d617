"""What ROBOT.yaml says of a bus of Damiao motors, and of each motor."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from wall_edge.checks import between, require_text
from wall_edge.config_loader import Invalid
from wall_edge_bridge.drives import CanSettings, Capabilities, ImpedanceJoint, SerialSettings

IDS = range(1, 0x80)
"""Where motors are looked for; higher ones are those of other control modes' commands."""
JOINT_IDS = range(1, 0x10)
"""Feedback begins with id | state << 4: a higher id would hide the state, faults and lost torque with it."""
CAPABILITIES = Capabilities.all()
_FEEDBACK_OFFSET = 0x10
_Interface = Literal["socketcan", "slcan", "virtual", "udp_multicast", "unix", "damiao-usb"]


@dataclass(frozen=True)
class DamiaoSettings(CanSettings):
    """One bus of Damiao motors; with ``data_bitrate`` they are set to CAN FD, usually 5000000."""

    kind: str = "damiao"
    interface: _Interface = "socketcan"  # type: ignore[assignment]  # one word more than other CAN buses have
    """How the channel is reached; with damiao-usb, Damiao's USB bridge, it is a serial device."""
    usb_baudrate: int = 921_600
    """Bits a second between the computer and Damiao's USB bridge."""

    def __post_init__(self) -> None:
        super().__post_init__()
        between("usb_baudrate", self.usb_baudrate, 9600, 6_000_000, "bit/s")
        if self.interface == "damiao-usb" and self.data_bitrate is not None:
            raise Invalid("data_bitrate", self.data_bitrate, expected="null: the USB bridge has no CAN FD")

    def at(self, place: str) -> DamiaoSettings:
        if self.interface == "damiao-usb":
            return replace(self, channel=place)
        return replace(self, channel=place, interface="unix")

    @property
    def serial_port(self) -> SerialSettings | None:
        """What ``transport.opening`` opens instead of a CAN channel; None where it is one."""
        if self.interface != "damiao-usb":
            return None
        return SerialSettings(
            self.kind, self.timeout_ms, self.on_loss, port=self.channel, baudrate=self.usb_baudrate
        )


@dataclass(frozen=True)
class DamiaoJoint(ImpedanceJoint):
    """One motor. What its numbers span is read from the motor, and checked against ``model``.

    After a power cycle the motor knows its angle within one turn only: with limits less than 2π apart a lost
    turn is noticed when torque is to go on.
    """

    model: str = "DM4310"
    """As on the motor's label; a name that is in no table goes unchecked."""
    feedback_id: int | None = None
    """The identifier that it answers on (master id, register 7); null: its id + 16."""

    def __post_init__(self) -> None:
        super().__post_init__()
        between("id", self.id, JOINT_IDS[0], JOINT_IDS[-1])
        between("kp", self.kp, 0.0, 500.0, "Nm/rad")
        between("kd", self.kd, 0.0, 5.0, "Nm·s/rad")
        require_text("model", self.model, 40)
        between("feedback_id", self.feedback_id, 0, 0x7FE)
        if self.feedback_id == self.id:
            raise Invalid("feedback_id", self.feedback_id, expected="another than the motor's own id")

    @property
    def reply_id(self) -> int:
        """Identifier of what the motor says."""
        return self.id + _FEEDBACK_OFFSET if self.feedback_id is None else self.feedback_id
