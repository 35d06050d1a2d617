"""STS3215 registers as data, and the one conversion that belongs to them: ticks of the encoder.

Source: Feetech, "STS3215 memory table". EEPROM registers (below 40) survive power-off when ``lock`` is 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from wall_edge.errors import ConfigError
from wall_edge_bridge.protocols.feetech import decode_sign_magnitude, encode_sign_magnitude

TICKS_PER_TURN = 4096
MAX_TICK = TICKS_PER_TURN - 1
RADIANS_PER_TICK = 2.0 * math.pi / TICKS_PER_TURN


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
        #        address length access  name                  sign  unit
        Register(5, 1, "write", "id", None, ""),
        Register(9, 2, "write", "min_angle", None, "tick"),
        Register(11, 2, "write", "max_angle", None, "tick"),
        Register(40, 1, "write", "torque_enable", None, "0 off, 1 on"),
        Register(41, 1, "write", "acceleration", None, "100 tick/s², 0 is the maximum"),
        Register(42, 2, "write", "goal_position", 15, "tick"),
        Register(44, 2, "write", "goal_time", None, "ms"),
        Register(46, 2, "write", "goal_speed", 15, "tick/s, 0 is the maximum"),
        Register(55, 1, "write", "lock", None, "1 protects the EEPROM"),
        Register(56, 2, "read", "present_position", 15, "tick"),
        Register(58, 2, "read", "present_speed", 15, "tick/s"),
        Register(60, 2, "read", "present_load", 10, "0.1 % of the full drive voltage"),
        Register(62, 1, "read", "present_voltage", None, "0.1 V"),
        Register(63, 1, "read", "present_temperature", None, "°C"),
        Register(65, 1, "read", "status", None, "error bits"),
        Register(66, 1, "read", "moving", None, "0 or 1"),
        Register(69, 2, "read", "present_current", 15, "6.5 mA"),
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
