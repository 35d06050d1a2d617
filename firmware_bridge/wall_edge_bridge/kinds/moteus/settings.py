"""What ROBOT.yaml says of a CAN channel with moteus controllers, and of each joint."""

from __future__ import annotations

from dataclasses import dataclass

from wall_edge.checks import between, positive
from wall_edge.config_loader import Invalid
from wall_edge_bridge.drives import CanSettings, Capabilities, OffsetJoint

IDS = range(1, 127)
"""127 is everybody's."""
CAPABILITIES = Capabilities.all()


@dataclass(frozen=True)
class MoteusSettings(CanSettings):
    """A CAN FD channel with moteus controllers."""

    kind: str = "moteus"
    data_bitrate: int | None = 5_000_000
    min_voltage: float = 10.0
    """A motor that stopped for too low a voltage is started again above it [V]."""
    max_voltage: float = 44.0
    """… and one that stopped for too high a voltage, below this [V]."""
    restart_temperature: float = 60.0
    """… and one that was too hot, below this [°C]."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.data_bitrate is None:
            raise Invalid("data_bitrate", None, expected="bit/s: a moteus needs CAN FD")
        between("min_voltage", self.min_voltage, 4.0, 60.0, "V")
        between("max_voltage", self.max_voltage, self.min_voltage, 60.0, "V")
        between("restart_temperature", self.restart_temperature, 0.0, 150.0, "°C")


@dataclass(frozen=True)
class MoteusJoint(OffsetJoint):
    """A joint that a moteus moves. The gains are its own (``servo.pid_position``), scaled."""

    max_effort: float | None = None
    """Most torque [Nm], feed-forward and position control together; null: what the controller allows."""
    kp_scale: float = 1.0
    """Of the controller's kp."""
    kd_scale: float = 1.0
    """Of the controller's kd; never more than ``kp_scale`` in effect."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.id not in IDS:
            raise Invalid("id", self.id, expected=f"{IDS.start} to {IDS.stop - 1}, as a moteus has")
        positive("max_effort", self.max_effort, "Nm", 327.0)
        between("kp_scale", self.kp_scale, 0.0, 1.0)
        between("kd_scale", self.kd_scale, 0.0, 1.0)
