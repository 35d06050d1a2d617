"""STS3215 registers as data, and the one conversion that belongs to them: ticks of the encoder.

Sources: Feetech, "STS3215 memory table" (V3.6: addresses, widths, factory values) and "magnetic encoder STS
memory table" (67, 80 to 86). The factory values of 14, 80 to 84 and 86 differ by model and are not published;
that of 85 is what LeRobot writes. EEPROM registers (below 40) can be written while ``lock`` is 0, and survive
power-off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from wall_edge.errors import ConfigError
from wall_edge_bridge.kinds.feetech.codec import decode_sign_magnitude, encode_sign_magnitude
from wall_edge_bridge.kinds.feetech.settings import MAX_TICK

TICKS_PER_TURN = MAX_TICK + 1
RADIANS_PER_TICK = 2.0 * math.pi / TICKS_PER_TURN
SRAM = 40
"""First address that power-off forgets."""
BAUD_RATES = (1_000_000, 500_000, 250_000, 128_000, 115_200, 76_800, 57_600, 38_400)
"""bit/s by ``baud_code``, as the maker's table has them; LeRobot 0.4.4 differs in 5 to 7."""


@dataclass(frozen=True)
class Register:
    """One entry of the memory table.

    ``sign_bit`` is None for an unsigned number, else the bit that marks a sign-magnitude number negative.
    """

    address: int
    length: int
    access: Literal["read", "write"]
    name: str
    sign_bit: int | None
    unit: str
    default: int
    """As the servo leaves the factory; for SRAM, after power-on."""

    def encode(self, value: int) -> bytes:
        """Value → little-endian bytes. Raises ConfigError when it does not fit."""
        raw = value if self.sign_bit is None else encode_sign_magnitude(value, self.sign_bit)
        if not 0 <= raw < 1 << 8 * self.length:
            raise ConfigError(
                f"{value} for register {self.name}", expected=f"an unsigned number of {self.length} byte(s)"
            )
        return raw.to_bytes(self.length, "little")

    def decode(self, data: bytes) -> int:
        """Little-endian bytes → value."""
        raw = int.from_bytes(data, "little")
        return raw if self.sign_bit is None else decode_sign_magnitude(raw, self.sign_bit)


STS3215: dict[str, Register] = {
    register.name: register
    for register in (
        #        address length access  name             sign unit                                    default
        Register(0, 1, "read", "firmware_major", None, "", 3),
        Register(1, 1, "read", "firmware_minor", None, "", 10),
        Register(2, 1, "read", "endianness", None, "0 low byte first", 0),
        Register(3, 2, "read", "model", None, "", 777),
        Register(5, 1, "write", "id", None, "0 to 253", 1),
        Register(6, 1, "write", "baud_code", None, "index into BAUD_RATES", 0),
        Register(7, 1, "write", "return_delay", None, "2 µs", 0),
        Register(8, 1, "write", "response_level", None, "0 answers ping and read only", 1),
        Register(9, 2, "write", "min_angle", None, "tick", 0),
        Register(11, 2, "write", "max_angle", None, "tick", MAX_TICK),
        Register(13, 1, "write", "max_temperature", None, "°C", 70),
        Register(14, 1, "write", "max_voltage", None, "0.1 V", 140),
        Register(15, 1, "write", "min_voltage", None, "0.1 V", 40),
        Register(16, 2, "write", "max_torque", None, "0.1 % of the stall torque", 1000),
        Register(18, 1, "write", "phase", None, "bits", 12),
        Register(19, 1, "write", "unloading_condition", None, "error bits", 44),
        Register(20, 1, "write", "led_alarm_condition", None, "error bits", 47),
        Register(21, 1, "write", "p_coefficient", None, "", 32),
        Register(22, 1, "write", "d_coefficient", None, "", 32),
        Register(23, 1, "write", "i_coefficient", None, "", 0),
        Register(24, 2, "write", "min_startup_force", None, "0.1 % of the stall torque", 16),
        Register(26, 1, "write", "cw_dead_zone", None, "tick", 1),
        Register(27, 1, "write", "ccw_dead_zone", None, "tick", 1),
        Register(28, 2, "write", "protection_current", None, "6.5 mA", 500),
        Register(30, 1, "write", "angular_resolution", None, "encoder counts a tick", 1),
        Register(31, 2, "write", "homing_offset", 11, "tick", 0),
        Register(33, 1, "write", "operating_mode", None, "0 position, 1 velocity, 2 PWM, 3 step", 0),
        Register(34, 1, "write", "protective_torque", None, "1 % of max_torque", 20),
        Register(35, 1, "write", "protection_time", None, "10 ms", 200),
        Register(36, 1, "write", "overload_torque", None, "1 % of max_torque", 80),
        Register(37, 1, "write", "velocity_p_coefficient", None, "", 10),
        Register(38, 1, "write", "overcurrent_time", None, "10 ms", 200),
        Register(39, 1, "write", "velocity_i_coefficient", None, "", 10),
        Register(40, 1, "write", "torque_enable", None, "0 off, 1 on, 128 makes this position 2048", 0),
        Register(41, 1, "write", "acceleration", None, "100 tick/s², 0 is the maximum", 0),
        Register(42, 2, "write", "goal_position", 15, "tick", 0),
        Register(44, 2, "write", "goal_time", None, "ms", 0),
        Register(46, 2, "write", "goal_speed", 15, "tick/s, 0 is the maximum", 0),
        Register(48, 2, "write", "torque_limit", None, "0.1 % of the stall torque", 1000),
        Register(55, 1, "write", "lock", None, "1 protects the EEPROM", 1),
        Register(56, 2, "read", "present_position", 15, "tick", 0),
        Register(58, 2, "read", "present_speed", 15, "tick/s", 0),
        Register(60, 2, "read", "present_load", 10, "0.1 % of the full drive voltage", 0),
        Register(62, 1, "read", "present_voltage", None, "0.1 V", 121),
        Register(63, 1, "read", "present_temperature", None, "°C", 30),
        Register(64, 1, "read", "write_pending", None, "1 between a reg write and its action", 0),
        Register(65, 1, "read", "status", None, "error bits", 0),
        Register(66, 1, "read", "moving", None, "0 or 1", 0),
        Register(67, 2, "read", "goal_echo", 15, "tick", 0),
        Register(69, 2, "read", "present_current", 15, "6.5 mA", 0),
        Register(80, 1, "write", "moving_threshold", None, "", 0),
        Register(81, 1, "write", "dts", None, "ms", 0),
        Register(82, 1, "write", "velocity_unit", None, "", 0),
        Register(83, 1, "write", "hts", None, "20.83 ns", 0),
        Register(84, 1, "write", "max_speed", None, "0.732 rpm", 0),
        Register(85, 1, "write", "max_acceleration", None, "100 tick/s²", 254),
        Register(86, 1, "write", "acceleration_multiplier", None, "", 0),
    )
}
"""Register by name."""


def radians_to_ticks(
    radians: npt.ArrayLike, zero_ticks: npt.ArrayLike, direction: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """Joint angle [rad] → encoder ticks, not rounded; any broadcastable shapes."""
    ticks: npt.NDArray[np.float64] = np.asarray(radians, np.float64) * np.asarray(
        direction
    ) / RADIANS_PER_TICK + np.asarray(zero_ticks)
    return ticks


def ticks_to_radians(
    ticks: npt.NDArray[Any], zero_ticks: npt.ArrayLike, direction: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """Encoder ticks → joint angle [rad]; any broadcastable shapes."""
    radians: npt.NDArray[np.float64] = (
        (np.asarray(ticks, np.float64) - np.asarray(zero_ticks)) * np.asarray(direction) * RADIANS_PER_TICK
    )
    return radians
