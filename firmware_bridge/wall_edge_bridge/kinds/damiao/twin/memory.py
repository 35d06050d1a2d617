"""What a simulated motor's registers hold, as it leaves the factory."""

from __future__ import annotations

from wall_edge_bridge.kinds.damiao.registers import (
    CTRL_MODE,
    ESC_ID,
    MIT_MODE,
    MODELS,
    MOS_HOT,
    MST_ID,
    OT_VALUE,
    OV_VALUE,
    OVER_VOLTAGE,
    PMAX,
    REGISTERS,
    ROTOR_HOT,
    SN,
    SW_VER,
    TIMEOUT,
    TIMEOUT_UNIT_S,
    TMAX,
    UNDER_VOLTAGE,
    UV_VALUE,
    VBUS,
    VMAX,
    Ranges,
)


class Memory:
    """``now`` is what a motor works by; ``flash`` what it has after its next start."""

    def __init__(self, motor: int, reply_id: int, model: str) -> None:
        ranges = MODELS.get(model, MODELS["DM4310"])[0]
        self.flash: dict[int, float] = dict.fromkeys(REGISTERS, 0.0)
        self.flash.update(
            {UV_VALUE: 15.0, OT_VALUE: 100.0, OV_VALUE: 32.0, VBUS: 24.0, SW_VER: 5013, SN: 1000 + motor}
        )
        self.flash.update({PMAX: ranges.position, VMAX: ranges.velocity, TMAX: ranges.effort})
        self.flash.update({ESC_ID: motor, MST_ID: reply_id, CTRL_MODE: MIT_MODE})
        self.now = dict(self.flash)

    def restart(self) -> None:
        self.now = dict(self.flash)

    def save(self) -> None:
        self.flash = dict(self.now)

    @property
    def ranges(self) -> Ranges:
        return Ranges(self.now[PMAX], self.now[VMAX], self.now[TMAX])

    @property
    def timeout_ns(self) -> int | None:
        """Of the watchdog; None when it is off."""
        return round(self.now[TIMEOUT] * TIMEOUT_UNIT_S * 1e9) or None

    def trip(self, mos: float, rotor: float) -> int | None:
        """The fault that its supply, or these temperatures [°C], cause; None when all is well."""
        now = self.now
        for fault, reached in (
            (UNDER_VOLTAGE, now[VBUS] <= now[UV_VALUE]),
            (OVER_VOLTAGE, now[VBUS] >= now[OV_VALUE]),
            (MOS_HOT, mos >= now[OT_VALUE]),
            (ROTOR_HOT, rotor >= now[OT_VALUE]),
        ):
            if reached:
                return fault
        return None
