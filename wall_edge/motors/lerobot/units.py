"""LeRobot's normalisation (``lerobot/motors/motors_bus.py``, 0.4 to 0.6) as lines through a range's two ends.

::

    degrees    (tick - (range_min + range_max) / 2) * 360 / 4095
    m100       (tick - range_min) / (range_max - range_min) * 200 - 100, of Feetech negated by drive_mode
    0-100      (tick - range_min) / (range_max - range_min) * 100, of Feetech 100 less that by drive_mode

A turn has 4096 ticks, LeRobot divides by 4095: its degree is 0.02 % less than one. Percent is bounded there,
to the range's ends; degrees are not. Back to ticks it cuts off what we round: half a tick less in the mean.
"""

from __future__ import annotations

from typing import Literal

from wall_edge.motors.lerobot.calibration import MotorCalibration

Mode = Literal["degrees", "m100", "0-100"]
"""``MotorNormMode``: DEGREES, RANGE_M100_100, RANGE_0_100."""
Units = Literal["degrees", "m100"]
"""What ``use_degrees`` of LeRobot's robot said when the data set was recorded."""
GRIPPER = "gripper"
_DEGREES_A_TICK = 360.0 / 4095.0


def mode_of(name: str, units: Units) -> Mode:
    """What LeRobot's arms have: a gripper 0 to 100, all else as ``use_degrees`` says."""
    return "0-100" if name.endswith(GRIPPER) else units


def end_values(mode: Mode, motor: MotorCalibration, *, reversible: bool) -> tuple[float, float]:
    """LeRobot's values at ``range_min`` and ``range_max``.

    ``reversible``: its class for the bus heeds ``drive_mode`` (Feetech's does, Dynamixel's does not).
    """
    if mode == "degrees":
        half = (motor.range_max - motor.range_min) / 2 * _DEGREES_A_TICK
        return -half, half
    ends = (-100.0, 100.0) if mode == "m100" else (0.0, 100.0)
    return ends[::-1] if reversible and motor.drive_mode else ends
