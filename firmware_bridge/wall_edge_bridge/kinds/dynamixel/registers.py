"""The X series' control table as data.

Source: ROBOTIS e-Manual, control tables of XL330-M288 (whose factory values these are), XL430-W250,
XM430-W350 and XM540-W270, which differ in limits and gains. EEPROM registers (below 64) can be written while
the torque is off, and survive power-off. The XL430 and XC430 have no current: 126 is a load [0.1 %].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from wall_edge.errors import ConfigError

RESOLUTION = 4096
RADIANS_PER_TICK = 2.0 * math.pi / RESOLUTION
MAX_TICK = RESOLUTION - 1
EXTENDED_TICKS = 256 * RESOLUTION - 1
"""Farthest goal in extended position mode."""
RAD_S_PER_COUNT = 0.229 * 2.0 * math.pi / 60.0
"""rad/s of one count of a velocity."""
RAM = 64
"""First address that power-off forgets, and that can be written under torque."""
TABLE_SIZE = 662
BAUD_RATES = (9_600, 57_600, 115_200, 1_000_000, 2_000_000, 3_000_000, 4_000_000, 4_500_000)
"""bit/s by ``baud_code``; the XL330 has no 4.5 M."""
WATCHDOG_UNIT_S = 0.02
WATCHDOG_MAX = 127
POSITION_MODE, EXTENDED_MODE, CURRENT_POSITION_MODE = 3, 4, 5


@dataclass(frozen=True)
class Register:
    """One entry of the control table."""

    address: int
    length: int
    access: Literal["read", "write"]
    name: str
    low: int
    """Least value it takes; below 0 of a signed one."""
    high: int
    default: int
    """As the motor leaves the factory; for RAM, after power-on."""
    unit: str = ""

    @property
    def signed(self) -> bool:
        return self.low < 0

    def encode(self, value: int) -> bytes:
        """Value → little-endian bytes. Raises ConfigError when it does not fit."""
        try:
            return value.to_bytes(self.length, "little", signed=self.signed)
        except OverflowError:
            raise ConfigError(
                f"{value} for register {self.name}", expected=f"{self.low} to {self.high}"
            ) from None

    def decode(self, data: bytes) -> int:
        """Little-endian bytes → value."""
        return int.from_bytes(data, "little", signed=self.signed)


_16 = 1 << 15
_32 = 1 << 31
_TURNS = EXTENDED_TICKS
_OFFSET = 1_044_479

TABLE: dict[str, Register] = {
    register.name: register
    for register in (
        #        address length access  name               low      high      default  unit
        Register(0, 2, "read", "model", 0, 65535, 1200),
        Register(2, 4, "read", "model_information", 0, 2 * _32 - 1, 0),
        Register(6, 1, "read", "firmware", 0, 255, 46),
        Register(7, 1, "write", "id", 0, 252, 1),
        Register(8, 1, "write", "baud_code", 0, 7, 1, "index into BAUD_RATES"),
        Register(9, 1, "write", "return_delay", 0, 254, 250, "2 µs"),
        Register(10, 1, "write", "drive_mode", 0, 13, 0, "bits: reverse, -, time profile, torque by goal"),
        Register(11, 1, "write", "operating_mode", 0, 16, 3, "0 current, 1 velocity, 3–5 position, 16 PWM"),
        Register(12, 1, "write", "shadow_id", 0, 255, 255, "above 252: none"),
        Register(13, 1, "write", "protocol", 1, 22, 2),
        Register(20, 4, "write", "homing_offset", -_OFFSET, _OFFSET, 0, "tick"),
        Register(24, 4, "write", "moving_threshold", 0, 1023, 10, "0.229 rpm"),
        Register(31, 1, "write", "max_temperature", 0, 100, 70, "°C"),
        Register(32, 2, "write", "max_voltage", 31, 160, 70, "0.1 V"),
        Register(34, 2, "write", "min_voltage", 31, 160, 35, "0.1 V"),
        Register(36, 2, "write", "pwm_limit", 0, 885, 885, "0.113 %"),
        Register(38, 2, "write", "current_limit", 0, 2047, 1750, "the model's"),
        Register(40, 4, "write", "acceleration_limit", 0, 32767, 32767, "214.577 rpm²"),
        Register(44, 4, "write", "velocity_limit", 0, 2047, 445, "0.229 rpm"),
        Register(48, 4, "write", "max_position", 0, MAX_TICK, MAX_TICK, "tick"),
        Register(52, 4, "write", "min_position", 0, MAX_TICK, 0, "tick"),
        Register(60, 1, "write", "startup", 0, 3, 0, "bits: torque on, restore"),
        Register(62, 1, "write", "pwm_slope", 1, 255, 140),
        Register(63, 1, "write", "shutdown", 0, 255, 53, "hardware errors that take the torque"),
        Register(64, 1, "write", "torque_enable", 0, 1, 0),
        Register(65, 1, "write", "led", 0, 1, 0),
        Register(68, 1, "write", "status_return_level", 0, 2, 2, "0 ping, 1 and read, 2 all"),
        Register(69, 1, "read", "registered_instruction", 0, 1, 0),
        Register(70, 1, "read", "hardware_error", 0, 255, 0, "bits"),
        Register(76, 2, "write", "velocity_i_gain", 0, 16383, 1600),
        Register(78, 2, "write", "velocity_p_gain", 0, 16383, 180),
        Register(80, 2, "write", "position_d_gain", 0, 16383, 0),
        Register(82, 2, "write", "position_i_gain", 0, 16383, 0),
        Register(84, 2, "write", "position_p_gain", 0, 16383, 400),
        Register(88, 2, "write", "feedforward_2nd_gain", 0, 16383, 0),
        Register(90, 2, "write", "feedforward_1st_gain", 0, 16383, 0),
        Register(98, 1, "write", "bus_watchdog", -1, 127, 0, "20 ms; -1 when it has expired"),
        Register(100, 2, "write", "goal_pwm", -885, 885, 885, "0.113 %"),
        Register(102, 2, "write", "goal_current", -2047, 2047, 1750, "the model's"),
        Register(104, 4, "write", "goal_velocity", -2047, 2047, 445, "0.229 rpm"),
        Register(108, 4, "write", "profile_acceleration", 0, 32767, 0, "214.577 rpm², 0 is the maximum"),
        Register(112, 4, "write", "profile_velocity", 0, 32767, 0, "0.229 rpm, 0 is the maximum"),
        Register(116, 4, "write", "goal_position", -_TURNS, _TURNS, 0, "tick"),
        Register(120, 2, "read", "realtime_tick", 0, 32767, 0, "ms"),
        Register(122, 1, "read", "moving", 0, 1, 0),
        Register(123, 1, "read", "moving_status", 0, 255, 0, "bits"),
        Register(124, 2, "read", "present_pwm", -_16, _16, 0, "0.113 %"),
        Register(126, 2, "read", "present_current", -_16, _16, 0, "the model's"),
        Register(128, 4, "read", "present_velocity", -_32, _32, 0, "0.229 rpm"),
        Register(132, 4, "read", "present_position", -_32, _32, 0, "tick"),
        Register(136, 4, "read", "velocity_trajectory", -_32, _32, 0, "0.229 rpm"),
        Register(140, 4, "read", "position_trajectory", -_32, _32, 0, "tick"),
        Register(144, 2, "read", "present_voltage", 0, 65535, 52, "0.1 V"),
        Register(146, 1, "read", "present_temperature", 0, 255, 30, "°C"),
        Register(147, 1, "read", "backup_ready", 0, 1, 0),
    )
}
"""Register by name."""
