"""One simulated X-series motor: a control table, the instructions to it, and how its shaft moves."""

from __future__ import annotations

import math
from collections.abc import Callable

from wall_edge_bridge.kinds.dynamixel.codec import ALERT, CLEAR_TURNS, Instruction, Status
from wall_edge_bridge.kinds.dynamixel.registers import (
    BAUD_RATES,
    EXTENDED_MODE,
    POSITION_MODE,
    RAM,
    RESOLUTION,
    TABLE,
    WATCHDOG_UNIT_S,
    Register,
)
from wall_edge_bridge.kinds.dynamixel.twin.table import LENGTH, RANGE, SimulatedTable, changes
from wall_edge_bridge.sim.shaft import Shaft

REBOOT_NS = 300_000_000
"""How long a motor that reboots is silent."""
TICKS_PER_COUNT = 0.229 * RESOLUTION / 60.0
"""tick/s of one count of a velocity."""
_ACCELERATION = 214.577 * RESOLUTION / 3600.0
"""tick/s² of one count of an acceleration."""
_RESULT, _INSTRUCTION, _LIMIT, _ACCESS = 1, 2, 6, 7
_SINGLE_TURN_OFFSET = 1024
"""Largest homing offset that counts in position mode."""
_VELOCITY_MODE = 1
_GOALS = range(TABLE["goal_pwm"].address, TABLE["goal_position"].address + 4)
_UNIT_NS = round(WATCHDOG_UNIT_S * 1e9)
_COUNTS_A_TICK = 3
"""Of current, that a tick away from the goal asks for."""


class SimulatedMotor:
    """``ticks`` is where the encoder is, in all its turns, as a float.

    What it reports, and takes as goals, is ``ticks`` with the homing offset, and with ``shift``, which it
    knows nothing of; within one turn in position mode.
    """

    def __init__(self, motor_id: int, ticks: float, boot_ns: int = 0) -> None:
        self.shift = 0.0
        self.turns_on_expiry = False
        """Old firmware: as the watchdog expires in extended position mode with a homing offset, it turns."""
        self.knows_fast = True
        """Old firmware does not know fast sync reads."""
        self._boot_ns = boot_ns
        self._now_ns = self._fed_ns = 0
        self._silent_until_ns = 0
        self._registered: tuple[int, bytes] | None = None
        self._running_away = False
        self._table = SimulatedTable()
        self._shaft = Shaft(ticks, math.inf)
        self._measured: dict[str, Callable[[], int]] = {
            "present_position": lambda: round(self._reported()),
            "present_velocity": lambda: round(self._speed()),
            "present_current": self._current,
            "moving": lambda: int(abs(self._speed()) > self.get("moving_threshold")),
            "position_trajectory": lambda: self.get("goal_position"),
            "registered_instruction": lambda: int(self._registered is not None),
            "realtime_tick": lambda: (self._now_ns + self._boot_ns) // 1_000_000 % 32768,
        }
        self.set("id", motor_id)
        self.power_on()

    @property
    def id(self) -> int:
        return self.get("id")

    @property
    def ticks(self) -> float:
        return self._shaft.ticks

    @ticks.setter
    def ticks(self, ticks: float) -> None:
        self._shaft.ticks = ticks

    @property
    def angle(self) -> float:
        """Where the joint is [tick], as the motor would say without ``shift`` and in all its turns."""
        return self._sign * self.ticks + self._offset

    @angle.setter
    def angle(self, angle: float) -> None:
        self.ticks = (angle - self._offset) * self._sign

    @property
    def _sign(self) -> int:
        return -1 if self.get("drive_mode") & 1 else 1

    @property
    def _offset(self) -> int:
        offset = self.get("homing_offset")
        counts = self.get("operating_mode") != POSITION_MODE or abs(offset) <= _SINGLE_TURN_OFFSET
        return offset if counts else 0

    @property
    def powered(self) -> bool:
        return self.get("torque_enable") == 1

    def hears(self, baud: int | None, now_ns: int) -> bool:
        """Whether it is awake and listens at ``baud`` [bit/s]; None is any."""
        return now_ns >= self._silent_until_ns and baud in (None, BAUD_RATES[self.get("baud_code")])

    def reboot(self, now_ns: int) -> None:
        """Silent for a moment, then without torque and with an empty RAM."""
        self._silent_until_ns = now_ns + REBOOT_NS
        self.power_on()

    def fail(self, bits: int) -> None:
        """Latch hardware errors; those in the shutdown mask take the torque."""
        self.set("hardware_error", self.get("hardware_error") | bits)
        if bits & self.get("shutdown"):
            self.set("torque_enable", 0)

    # --- motion --------------------------------------------------------------------------------------------

    def advance(self, now_ns: int) -> None:
        """Until the watchdog expires, if it does, then from there."""
        units = self.get("bus_watchdog")
        if self.powered and units > 0 and now_ns > (expiry_ns := self._fed_ns + units * _UNIT_NS):
            self._shaft.advance(max(expiry_ns, self._now_ns), self._move)
            self._expire()
        self._now_ns = max(self._now_ns, now_ns)
        self._shaft.advance(now_ns, self._move)

    def feed_watchdog(self, now_ns: int) -> None:
        """An instruction came."""
        self._fed_ns = now_ns

    def _expire(self) -> None:
        self.set("bus_watchdog", -1)
        self.set("goal_position", round(self._reported()))
        self.set("goal_velocity", 0)
        offset = self.get("homing_offset")
        self._running_away = bool(
            self.turns_on_expiry and offset and self.get("operating_mode") == EXTENDED_MODE
        )

    def _move(self, seconds: float, steps: int) -> None:
        if not self.powered or self.get("pwm_limit") == 0:
            self._shaft.speed = 0.0
            return
        mode, speed = self.get("operating_mode"), TICKS_PER_COUNT * self.get("velocity_limit")
        self._shaft.pace = speed
        if self._running_away:
            self._shaft.ticks += TICKS_PER_COUNT * 50 * seconds
        elif mode == _VELOCITY_MODE:
            self._shaft.ticks += self._sign * TICKS_PER_COUNT * self.get("goal_velocity") * seconds
        elif mode in (POSITION_MODE, EXTENDED_MODE, 5):
            if profile := self.get("profile_velocity"):
                self._shaft.pace = min(speed, TICKS_PER_COUNT * profile)
            gap = self._sign * (self.get("goal_position") - self._reported())
            self._shaft.follow(gap, _ACCELERATION * self.get("profile_acceleration"), seconds, steps)

    def _reported(self) -> float:
        angle = self.angle + self.shift
        if self.get("operating_mode") != POSITION_MODE:
            return angle
        return (angle + 0.5) % RESOLUTION - 0.5

    # --- the control table ---------------------------------------------------------------------------------

    @property
    def memory(self) -> bytes:
        """All that a host can write."""
        return self._table.writable

    def get(self, name: str) -> int:
        """A register's value, by its name."""
        return self._table.get(name)

    def set(self, name: str, value: int) -> None:
        """Change a register from inside the motor: neither access nor range count."""
        self._table.set(name, value)

    def read(self, address: int, count: int) -> bytes | None:
        """None beyond the table."""
        for name, measure in self._measured.items():
            if address <= TABLE[name].address < address + count:
                self.set(name, measure())
        return self._table.read(address, count)

    def write(self, address: int, data: bytes) -> int:
        """Whole registers, one behind the other; the error, or 0. Nothing is stored unless all can be."""
        stored = changes(address, data)
        if stored is None:
            return LENGTH
        for register, value in stored:
            if error := self._refusal(register, value):
                return error
        for register, value in stored:
            self._store(register, value)
        return 0

    def _refusal(self, register: Register, value: int) -> int:
        if register.access == "read" or (register.address < RAM and self.powered):
            return _ACCESS
        if not register.low <= value <= register.high or (register.name == "bus_watchdog" and value < 0):
            return RANGE
        if register.name == "bus_watchdog" and value and not self.powered:
            return _ACCESS
        if register.address in _GOALS and self.get("bus_watchdog") < 0:
            return RANGE
        if register.name == "goal_position" and self.get("operating_mode") == POSITION_MODE:
            return 0 if self.get("min_position") <= value <= self.get("max_position") else _LIMIT
        if register.name == "torque_enable" and value and self.get("hardware_error") & self.get("shutdown"):
            return _RESULT
        return 0

    def _store(self, register: Register, value: int) -> None:
        self.set(register.name, value)
        if register.name == "operating_mode":
            self.set("goal_position", round(self._reported()))
        if register.name == "bus_watchdog":
            self._running_away = False
        if register.name == "torque_enable" and value:
            self._running_away = False

    def _speed(self) -> float:
        """Of what it reports [counts of velocity]."""
        return self._sign * self._shaft.speed / TICKS_PER_COUNT if self.powered else 0.0

    def _current(self) -> int:
        gap = self.get("goal_position") - round(self._reported()) if self.powered else 0
        most = self.get("current_limit")
        return max(-most, min(most, _COUNTS_A_TICK * gap))

    def power_on(self) -> None:
        """RAM as after power-on: no torque, the goal where it is."""
        self._table.to_defaults(RAM, TABLE["backup_ready"].address)
        self.set("goal_position", round(self._reported()))
        self.set("goal_current", self.get("current_limit"))
        self._registered, self._running_away = None, False

    # --- instructions --------------------------------------------------------------------------------------

    def status(self, error: int = 0, data: bytes = b"") -> Status:
        alert = ALERT if self.get("hardware_error") else 0
        return Status(self.id, error | alert, data)

    def reply_with(self, address: int, count: int) -> Status | None:
        """The status with ``count`` bytes from ``address``; none from a motor that answers no reads."""
        if self.get("status_return_level") == 0:
            return None
        data = self.read(address, count)
        return self.status(RANGE) if data is None else self.status(0, data)

    def execute(self, code: int, params: bytes, now_ns: int) -> Status | None:
        """Carry out one request; the status it is answered with, if any."""
        answers_as, level = self.id, self.get("status_return_level")
        address, rest = int.from_bytes(params[:2], "little"), params[2:]
        if code == Instruction.PING:
            return self.status(0, (self._table.read(0, 2) or b"") + bytes([self.get("firmware")]))
        if code == Instruction.READ:
            return self.reply_with(address, int.from_bytes(rest, "little")) if len(params) == 4 else None
        error = self._do(code, address, rest, params, now_ns)
        return self.status(error)._replace(id=answers_as) if level == 2 else None

    def _do(self, code: int, address: int, data: bytes, params: bytes, now_ns: int) -> int:
        if code == Instruction.WRITE:
            return self.write(address, data)
        if code == Instruction.REG_WRITE:
            self._registered = address, data
        elif code == Instruction.ACTION:
            planned, self._registered = self._registered, None
            return self.write(*planned) if planned else 0
        elif code == Instruction.REBOOT:
            self.reboot(now_ns)
        elif code == Instruction.CLEAR:
            if params != CLEAR_TURNS:
                return RANGE
            self.ticks %= RESOLUTION
        elif code == Instruction.FACTORY_RESET:
            self._reset(params[:1], now_ns)
        else:
            return _INSTRUCTION
        return 0

    def _reset(self, option: bytes, now_ns: int) -> None:
        kept = {"model": self.get("model"), "id": self.get("id"), "baud_code": self.get("baud_code")}
        self._table.to_defaults(0, RAM)
        names = {b"\x01": ("model", "id"), b"\x02": ("model", "id", "baud_code")}.get(option, ("model",))
        for name in names:
            self.set(name, kept[name])
        self.reboot(now_ns)
