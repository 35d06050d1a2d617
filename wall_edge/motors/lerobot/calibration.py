"""LeRobot's calibration file: by motor its id, drive mode, homing offset and swept range.

``lerobot-calibrate`` (LeRobot 0.4 to 0.6) writes it to ``$HF_LEROBOT_CALIBRATION/robots/NAME/ID.json``; that
is ``~/.cache/huggingface/lerobot/calibration`` unless it was said otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wall_edge.checks import MAX_DOF, between
from wall_edge.config_loader import Invalid, from_mapping
from wall_edge.errors import ConfigError, plural
from wall_edge.files import is_plain_name, read_json, shown

_BYTES = 256 << 10
_LARGEST = 1 << 21
_WHEEL = "_wheel"
_CALIBRATE = "run lerobot-calibrate, and give the file that it names"


@dataclass(frozen=True)
class MotorCalibration:
    """One motor, as ``lerobot.motors.MotorCalibration``; ticks, or degrees of motors on CAN."""

    id: int
    drive_mode: int
    homing_offset: int
    range_min: int
    range_max: int

    def __post_init__(self) -> None:
        between("id", self.id, 0, 0x7FF)
        between("drive_mode", self.drive_mode, 0, 255)
        for key in ("homing_offset", "range_min", "range_max"):
            between(key, getattr(self, key), -_LARGEST, _LARGEST)
        if self.range_min >= self.range_max:
            raise Invalid("range_min", self.range_min, expected=f"less than range_max ({self.range_max})")


Calibration = dict[str, MotorCalibration]


def read_calibration(path: Path) -> Calibration:
    """The motors of a calibration file by name, in its order. Raises ConfigError, in one line."""
    data = read_json(path, ConfigError, _BYTES, _CALIBRATE)
    if isinstance(data, dict) and "motor_names" in data:
        what = f"{shown(path)}: a calibration of LeRobot from before June 2025 (motor_names)"
        raise ConfigError(what, expected="one of LeRobot 0.4 or later", fix=_CALIBRATE)
    motors = from_mapping(Calibration, data, shown(path))
    if not 1 <= len(motors) <= MAX_DOF:
        expected = f"1 to {MAX_DOF}"
        raise ConfigError(f"{shown(path)}: {plural(len(motors), 'motor')}", expected=expected, fix=_CALIBRATE)
    for name in motors:
        if not is_plain_name(name) or "." in name:
            expected = "a motor's name of at most 64 letters, digits, _ and -"
            raise ConfigError(f"{shown(path)}: {shown(repr(name), 80)}", expected=expected)
    _require_unlike_ids(motors, path)
    return motors


def without_wheels(motors: Calibration) -> tuple[Calibration, list[str]]:
    """Motors that go to positions, and the names of the others: LeKiwi's wheels are driven by their speed."""
    joints = {name: motor for name, motor in motors.items() if not name.endswith(_WHEEL)}
    return joints, [name for name in motors if name not in joints]


def _require_unlike_ids(motors: Calibration, path: Path) -> None:
    names: dict[int, str] = {}
    for name, motor in motors.items():
        first = names.setdefault(motor.id, name)
        if first != name:
            what = f"{shown(path)}: {name}.id is {motor.id}, as {first}.id"
            raise ConfigError(what, expected="an id for each motor", fix=_CALIBRATE)
