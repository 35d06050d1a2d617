"""What ROBOT.yaml says of a CAN channel with RobStride motors, and of each motor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from wall_edge.checks import between, positive
from wall_edge.config_loader import Invalid
from wall_edge_bridge.drives import CanSettings, Capabilities, ImpedanceJoint
from wall_edge_bridge.kinds.robstride.codec import Ranges
from wall_edge_bridge.kinds.robstride.registers import MODELS

IDS = range(1, 128)
CAPABILITIES = Capabilities.all()


@dataclass(frozen=True)
class RobStrideSettings(CanSettings):
    """A CAN channel with RobStride motors."""

    kind: str = "robstride"
    host_id: int = 0xFD
    """The address that motors answer to; no motor's."""
    min_voltage: float = 20.0
    """An undervoltage is forgotten from this supply on [V]; the motors' own bound is 12 V."""
    max_voltage: float = 58.0
    """An overvoltage is forgotten below it [V]; the motors' own bound is 60 V."""
    cool_below: float = 80.0
    """An overtemperature is forgotten below this temperature of the motor [°C]."""

    def __post_init__(self) -> None:
        super().__post_init__()
        between("host_id", self.host_id, IDS[-1] + 1, 0xFD, "")
        between("min_voltage", self.min_voltage, 12.0, 60.0, "V")
        between("max_voltage", self.max_voltage, self.min_voltage, 60.0, "V")
        between("cool_below", self.cool_below, 20.0, 145.0, "°C")
        if self.data_bitrate is not None:
            raise Invalid("data_bitrate", self.data_bitrate, expected="null: these motors speak classic CAN")


@dataclass(frozen=True)
class RobStrideJoint(ImpedanceJoint):
    """A RobStride motor in operation control mode.

    The ranges are what 16 bits stand for. A wrong one moves the joint to other places than were meant, so
    those on which sources disagree have no default: take them from the manual of your motor's firmware.
    """

    model: Literal["RS00", "RS01", "RS02", "RS03", "RS04", "RS05", "RS06"] = "RS02"
    position_range: float = 12.57
    """± [rad]; 12.5 with firmware before 0.0.2.6."""
    velocity_range: float | None = None
    """± [rad/s]; null: the model's, where sources agree."""
    effort_range: float | None = None
    """± [Nm]; null: the model's, where sources agree."""
    kp_range: float | None = None
    """[Nm/rad]; null: the model's."""
    kd_range: float | None = None
    """[Nm·s/rad]; null: the model's."""

    def __post_init__(self) -> None:
        super().__post_init__()
        between("id", self.id, IDS[0], IDS[-1], "")
        positive("position_range", self.position_range, "rad", 100.0)
        for name in ("velocity_range", "effort_range", "kp_range", "kd_range"):
            positive(name, getattr(self, name), "", 1e4)
        if dispute := MODELS[self.model].disputed:
            for name in ("velocity_range", "effort_range"):
                if getattr(self, name) is None:
                    value = getattr(MODELS[self.model], name.removesuffix("_range"))
                    said = f"{value:g} by the {MODELS[self.model].source}, but {dispute}"
                    raise Invalid(name, None, expected=f"the manual's of your {self.model} ({said})")
        self._require_inside()

    def _require_inside(self) -> None:
        ranges = self.ranges
        between("kp", self.kp, 0.0, ranges.kp, "Nm/rad")
        between("kd", self.kd, 0.0, ranges.kd, "Nm·s/rad")
        between("max_effort", self.max_effort, 0.0, ranges.effort, "Nm")
        between("max_velocity", self.max_velocity, 0.0, ranges.velocity, "rad/s")
        for name in ("lower", "upper"):
            angle = self.direction * getattr(self, name) + self.zero_rad
            if abs(angle) > ranges.position:
                expected = (
                    f"the motor's own angle, {angle:g} rad, within ±position_range ({ranges.position:g} rad)"
                )
                raise Invalid(name, getattr(self, name), expected=expected)

    @property
    def ranges(self) -> Ranges:
        """What this joint's 16 bits stand for."""
        model = MODELS[self.model]
        return Ranges(
            self.position_range,
            self.velocity_range or model.velocity,
            self.effort_range or model.effort,
            self.kp_range or model.kp,
            self.kd_range or model.kd,
        )
