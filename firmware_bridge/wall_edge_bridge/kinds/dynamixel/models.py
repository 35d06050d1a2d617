"""Models of the X series as data, by the number in register 0.

Source: ROBOTIS, Dynamixel2Arduino ``actuator.h`` (numbers); e-Manual, each model's specifications (stall
torque and current at the recommended voltage, whose quotient is the torque constant) and register 126.
"""

from __future__ import annotations

from typing import NamedTuple

_MA = 1e-3
_X430 = 2.69e-3
_LOAD = 1e-3


class Model(NamedTuple):
    name: str
    effort_unit: float = _X430
    """A of one count of register 126; of a model without a current sensor, fraction of its stall torque."""
    torque_constant: float | None = None
    """Nm/A; of a model without a current sensor, its stall torque [Nm]; None where it is not known."""
    current: bool = True
    """Whether register 126 is a current."""


MODELS: dict[int, Model] = {
    1190: Model("XL330-M077", _MA, 0.146),
    1200: Model("XL330-M288", _MA, 0.354),
    1210: Model("XC330-T181", _MA, 0.909),
    1220: Model("XC330-T288", _MA, 1.15),
    1230: Model("XC330-M181", _MA),
    1240: Model("XC330-M288", _MA),
    1060: Model("XL430-W250", _LOAD, 1.5, current=False),
    1090: Model("2XL430-W250", _LOAD, 1.5, current=False),
    1070: Model("XC430-W150", _LOAD, 1.6, current=False),
    1080: Model("XC430-W240", _LOAD, 1.9, current=False),
    1160: Model("2XC430-W250", _LOAD, None, current=False),
    1030: Model("XM430-W210", _X430, 1.304),
    1020: Model("XM430-W350", _X430, 1.783),
    1130: Model("XM540-W150", _X430, 1.659),
    1120: Model("XM540-W270", _X430, 2.409),
    1010: Model("XH430-W210"),
    1000: Model("XH430-W350"),
    1050: Model("XH430-V210"),
    1040: Model("XH430-V350", _X430, 4.714),
    1110: Model("XH540-W150"),
    1100: Model("XH540-W270"),
    1150: Model("XH540-V150"),
    1140: Model("XH540-V270"),
    1011: Model("XD430-T210"),
    1001: Model("XD430-T350"),
    1111: Model("XD540-T150"),
    1101: Model("XD540-T270"),
    1280: Model("XW430-T200"),
    1270: Model("XW430-T333"),
    1180: Model("XW540-T140"),
    1170: Model("XW540-T260"),
}
NUMBERS = {model.name: number for number, model in MODELS.items()}
OTHERS = {29: "MX-28", 310: "MX-64", 320: "MX-106", 30: "MX-28(2.0)", 311: "MX-64(2.0)", 321: "MX-106(2.0)"}
OTHERS |= {350: "XL-320", 360: "MX-12W"}
"""Models that are not of the X series, by their number: to name what was found."""


def model_name(number: int) -> str:
    """By its maker's name, or its number."""
    model = MODELS.get(number)
    return model.name if model else OTHERS.get(number, f"model {number}")
