"""What a servo's error bits mean, and what each needs before the servo may be powered again.

Source: Feetech, "STS3215 memory table" V3.6, registers 13 to 15, 19, 34 to 36, 38 and 65. Voltage and
temperature are measured against limits in the servo's own memory, and can be read: they are checked. After an
overload the servo holds with a fraction of its torque, after an overcurrent with none: it was blocked, or
carries too much. Without its angle sensor every position is wrong. Those, and bits that the maker does not
explain, are for a person.
"""

from __future__ import annotations

from wall_edge_bridge.drives import Fault, Reaction
from wall_edge_bridge.kinds.feetech.bus import Answer, Block
from wall_edge_bridge.kinds.feetech.codec import ERROR_BITS, decode_error
from wall_edge_bridge.kinds.feetech.registers import STS3215

CAUSES = Block.of(STS3215["max_temperature"], STS3215["present_temperature"])
"""One read of 51 bytes: the limits and what is measured."""
COOLER = 10
"""°C below its limit: where a servo that was too hot may be powered again."""
_CHECKED = ("voltage", "overheat")


def _fault(name: str) -> Fault:
    return Fault(name, Reaction.CHECK if name in _CHECKED else Reaction.PERSON)


FAULTS = tuple(tuple(_fault(name) for name in decode_error(error)) for error in range(256))
"""By a status packet's error byte."""
BITS = {name: 1 << bit for bit, name in ERROR_BITS.items()}
"""By the fault's name."""


def remaining_cause(fault: Fault, answer: Answer) -> str:
    """Why a servo must not be powered yet, by its ``CAUSES``; empty when its cause is gone."""
    if fault.name == "voltage":
        volts = answer.value(STS3215["present_voltage"]) / 10
        low, high = (answer.value(STS3215[name]) / 10 for name in ("min_voltage", "max_voltage"))
        if not low <= volts <= high:
            return f"its supply is at {volts:g} V, its memory allows {low:g} to {high:g} V"
    elif fault.name == "overheat":
        celsius, limit = (answer.value(STS3215[n]) for n in ("present_temperature", "max_temperature"))
        if celsius > limit - COOLER:
            return f"it is at {celsius} °C, wait until it is at {limit - COOLER} °C"
    return ""
