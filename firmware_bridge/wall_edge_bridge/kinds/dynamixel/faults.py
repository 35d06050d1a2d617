"""What a motor's hardware error register means, and what each error needs.

Source: ROBOTIS e-Manual, "Hardware Error Status (70)" and "Bus Watchdog (98)". A latched hardware error that
is in the mask of register 63 has taken the torque; only a reboot clears it.
"""

from __future__ import annotations

from collections.abc import Mapping

from wall_edge_bridge.drives.values import Fault, Reaction
from wall_edge_bridge.kinds.dynamixel.replies import Answer

VOLTAGE = Fault("input voltage", Reaction.CHECK)
OVERHEATING = Fault("overheating", Reaction.CHECK)
WATCHDOG = Fault("bus watchdog", Reaction.ONCE)
ALERT = Fault("hardware error")
"""Told by the alert bit of every status, before register 70 has said which."""
HARDWARE: Mapping[int, Fault] = {
    0: VOLTAGE,
    1: Fault("hall sensor"),
    2: OVERHEATING,
    3: Fault("encoder"),
    4: Fault("electrical shock"),
    5: Fault("overload"),
}
"""By the bit of register 70."""
_COOL = 10
"""°C below its limit that a motor must have before it is used again."""


def hardware_faults(bits: int) -> tuple[Fault, ...]:
    """Of register 70, lowest bit first."""
    return tuple(HARDWARE.get(bit, Fault(f"hardware error bit {bit}")) for bit in range(8) if bits >> bit & 1)


def remaining_cause(fault: Fault, settings: Answer, health: Answer) -> str:
    """Why a fault must stay, by the motor's own limits and what it measures now; empty when it may go."""
    if fault == VOLTAGE:
        volts = health.value("present_voltage") / 10
        low, high = settings.value("min_voltage") / 10, settings.value("max_voltage") / 10
        return "" if low <= volts <= high else f"supply at {volts:g} V, it needs {low:g} to {high:g}"
    if fault == OVERHEATING:
        degrees, limit = health.value("present_temperature"), settings.value("max_temperature") - _COOL
        return "" if degrees <= limit else f"at {degrees} °C, it must cool to {limit}"
    return "its cause cannot be measured"
