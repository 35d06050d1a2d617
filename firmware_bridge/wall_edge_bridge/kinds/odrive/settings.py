"""What ROBOT.yaml says of a CAN channel with ODrives, and of each axis."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from wall_edge.checks import between, positive
from wall_edge.config_loader import Invalid
from wall_edge_bridge.drives import CanSettings, Capabilities, OffsetJoint

IDS = range(63)
"""Node 63 is all of them, and one without an id."""
CAPABILITIES = Capabilities.all()


@dataclass(frozen=True)
class ODriveEndpoints:
    """Numbers by which one firmware knows its values: the ids in its flat_endpoints.json."""

    firmware: str
    """The version that the numbers are of, as 0.6.10; with another they mean other values."""
    watchdog_timeout: int
    """axis0.config.watchdog_timeout"""
    enable_watchdog: int
    """axis0.config.enable_watchdog"""

    def __post_init__(self) -> None:
        if re.fullmatch(r"0\.[0-9]+\.[0-9]+", self.firmware) is None:
            raise Invalid("firmware", self.firmware, expected="a version as 0.6.10")
        for name in ("watchdog_timeout", "enable_watchdog"):
            between(name, getattr(self, name), 1, 65535, "")


@dataclass(frozen=True)
class ODriveSettings(CanSettings):
    """A CAN channel with ODrives."""

    kind: str = "odrive"
    firmware: Literal["0.6", "0.5"] = "0.6"
    """Errors and heartbeats of 0.5 mean other things, and it has no watchdog that CAN can arm."""
    estimates_ms: int | None = 2
    """How often each sends its encoder estimates by itself (axis0.config.can.encoder_msg_rate_ms) [ms]; null:
    they are asked for in each cycle, which costs a sixth of the rate and works whatever is configured."""
    endpoints: ODriveEndpoints | None = None
    """Null: the watchdog cannot be armed."""
    min_voltage: float = 15.0
    """An undervoltage is forgotten from this supply on [V]."""
    max_voltage: float = 56.0
    """An overvoltage is forgotten below it [V]."""
    cool_below: float = 70.0
    """An overtemperature is forgotten below this temperature of motor and inverter [°C]."""

    def __post_init__(self) -> None:
        super().__post_init__()
        between("estimates_ms", self.estimates_ms, 1, 1000, "ms")
        between("min_voltage", self.min_voltage, 5.0, 100.0, "V")
        between("max_voltage", self.max_voltage, self.min_voltage, 100.0, "V")
        between("cool_below", self.cool_below, 20.0, 150.0, "°C")
        if self.data_bitrate is not None:
            raise Invalid("data_bitrate", self.data_bitrate, expected="null: this drive speaks classic CAN")
        if self.endpoints is not None and not self.endpoints.firmware.startswith(self.firmware + "."):
            version, expected = self.endpoints.firmware, f"{self.firmware}.*, as firmware says"
            raise Invalid("endpoints.firmware", version, expected=expected)
        if self.endpoints is not None and self.firmware == "0.5":
            raise Invalid("endpoints", self.endpoints, expected="null: firmware 0.5 has no SDO on CAN")


@dataclass(frozen=True)
class ODriveJoint(OffsetJoint):
    """An axis in position control; its id is the node's.

    ``zero_rad`` is at the gear's output: the motor's turns since its own zero, by ``gear_ratio``.
    """

    gear_ratio: float = 1.0
    """Turns of the motor for one turn of the joint."""
    velocity_scale: float = 0.001
    """Turns/s of one step of velocity feed-forward (axis0.config.can.input_vel_scale is its inverse)."""
    effort_scale: float = 0.001
    """Nm at the motor of one step of torque feed-forward (axis0.config.can.input_torque_scale)."""
    current_limit: float | None = None
    """Most motor current, sent at enable with ``velocity_limit`` [A]; null: as configured."""
    velocity_limit: float | None = None
    """At which the motor faults, of the joint [rad/s]; goes with ``current_limit``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        between("id", self.id, IDS[0], IDS[-1], "")
        positive("gear_ratio", self.gear_ratio, "", 1e4)
        positive("velocity_scale", self.velocity_scale, "turns/s", 10.0)
        positive("effort_scale", self.effort_scale, "Nm", 10.0)
        positive("current_limit", self.current_limit, "A", 1e3)
        positive("velocity_limit", self.velocity_limit, "rad/s", 1e4)
        if (self.current_limit is None) != (self.velocity_limit is None):
            raise Invalid(
                "current_limit",
                self.current_limit,
                expected="a number where velocity_limit is one, else null",
            )
        if self.velocity_limit is not None and self.velocity_limit < self.max_velocity:
            raise Invalid("velocity_limit", self.velocity_limit, expected="max_velocity or more")
