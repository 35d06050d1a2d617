"""One simulated STS3215: a register file, the instructions addressed to it, and how its shaft moves."""

from __future__ import annotations

import math
from collections.abc import Iterator

from wall_edge_bridge.kinds.feetech.codec import ERROR_BITS, Instruction, build_status
from wall_edge_bridge.kinds.feetech.registers import BAUD_RATES, SRAM, STS3215, TICKS_PER_TURN, Register
from wall_edge_bridge.kinds.feetech.settings import MAX_SERVO_ID
from wall_edge_bridge.sim.shaft import Shaft

REBOOT_NS = 150_000_000
"""How long a servo that reboots is silent."""
_SIZE = 87
_WRITABLE = frozenset(
    address
    for register in STS3215.values()
    if register.access == "write"
    for address in range(register.address, register.address + register.length)
)
_ALLOWED = {STS3215["id"].address: MAX_SERVO_ID, STS3215["baud_code"].address: len(BAUD_RATES) - 1}
"""Registers that keep their value when asked for more than this."""
_LOCK, _TORQUE, _OFFSET = STS3215["lock"], STS3215["torque_enable"], STS3215["homing_offset"]
_MOTION = ("goal_position", "goal_time", "goal_speed")
_POSITION, _VELOCITY = 0, 1
_RECENTRE = 128
_MIDDLE = 2048
_NS_A_DELAY = 2000
_VOLTAGE, _OVERHEAT = (1 << bit for bit, name in ERROR_BITS.items() if name in ("voltage", "overheat"))


class SimulatedServo:
    """``ticks`` is where the encoder is, as a float; ``max_speed`` is in tick/s; ``error`` the status bits.

    What it reports, and takes as goals, is ``ticks`` less ``homing_offset``, within one turn. An error bit
    stays until power-off, but those of voltage and temperature: they go when the torque is switched off and
    what is measured is within the limits again.
    """

    def __init__(self, servo_id: int, ticks: float, max_speed: float) -> None:
        self.error = 0
        self._shaft = Shaft(ticks, max_speed)
        self._silent_until_ns = 0
        self._planned: tuple[int, bytes] | None = None
        self._memory = bytearray(_SIZE)
        self._to_defaults(0, _SIZE)
        self.set("id", servo_id)
        self.power_on()

    @property
    def id(self) -> int:
        """Under which it answers."""
        return self._memory[STS3215["id"].address]

    @property
    def memory(self) -> bytes:
        """All registers that a host may write, in the order of the table."""
        return bytes(self._memory[address] for address in sorted(_WRITABLE)) + repr(self._planned).encode()

    @property
    def return_delay_ns(self) -> int:
        """How long it waits before it answers."""
        return _NS_A_DELAY * self._memory[STS3215["return_delay"].address]

    @property
    def ticks(self) -> float:
        return self._shaft.ticks

    @ticks.setter
    def ticks(self, ticks: float) -> None:
        self._shaft.ticks = ticks

    def hears(self, baud: int | None, now_ns: int) -> bool:
        """Whether it is awake and listens at ``baud`` [bit/s]; None is any."""
        servo_baud = BAUD_RATES[self._memory[STS3215["baud_code"].address]]
        return now_ns >= self._silent_until_ns and baud in (None, servo_baud)

    def reboot(self, now_ns: int) -> None:
        """As after a dip of its supply: silent for 150 ms, then without torque and with an empty SRAM."""
        self._silent_until_ns = now_ns + REBOOT_NS
        self.power_on()

    def advance(self, now_ns: int) -> None:
        """Follow the goal until ``now_ns``, only under torque."""
        self._shaft.advance(now_ns, self._move)

    def _move(self, seconds: float, steps: int) -> None:
        if self._memory[_TORQUE.address] != 1 or self.get("torque_limit") == 0:
            self._shaft.speed = 0.0
        elif self.get("operating_mode") == _POSITION:
            goal, low, high = self.get("goal_position"), self.get("min_angle"), self.get("max_angle")
            if (low, high) != (0, 0):  # that pair means any number of turns
                goal = min(max(goal, low), high)
            acceleration = 100 * min(self.get("acceleration"), self.get("max_acceleration"))
            here = self._reported()
            self._shaft.follow(goal - here, acceleration, seconds, steps)
        elif self.get("operating_mode") == _VELOCITY:
            self._shaft.turn(self.get("goal_speed"), seconds)

    def _reported(self) -> float:
        return (self.ticks - self.get("homing_offset")) % TICKS_PER_TURN

    def execute(self, instruction: int, params: bytes) -> Iterator[bytes]:
        """Carry out one request; yields the status it is answered with, if any."""
        answers_as, talks = self.id, self.get("response_level") == 1
        if instruction == Instruction.READ:
            if len(params) == 2:
                yield from self.reply_with(*params)
            return
        if instruction == Instruction.PING:
            talks = True
        elif instruction == Instruction.WRITE and params:
            self.write(params[0], params[1:])
        elif instruction == Instruction.REG_WRITE and params:
            self._planned = params[0], params[1:]
        elif instruction == Instruction.ACTION:
            if self._planned:
                self.write(*self._planned)
            self._planned = None
        elif instruction == Instruction.RECOVERY:
            self._recover()
        elif instruction == Instruction.CALIBRATE:
            self._recentre()
        elif instruction != Instruction.RESET:
            return
        if talks:
            yield build_status(answers_as, self.error)

    def reply_with(self, address: int, count: int) -> Iterator[bytes]:
        """The status that carries ``count`` registers from ``address``; none beyond the table."""
        if address + count <= _SIZE:
            self._refresh()
            yield build_status(self.id, self.error, bytes(self._memory[address : address + count]))

    def write(self, address: int, data: bytes) -> None:
        """Store into the registers that may be written; the rest keep their values, as on the servo."""
        for offset, value in enumerate(data, address):
            if offset == _TORQUE.address and value == _RECENTRE:
                self._recentre()
            elif self._may_write(offset) and value <= _ALLOWED.get(offset, 255):
                self._memory[offset] = value
        touched = range(address, address + len(data))
        if any(STS3215[name].address in touched for name in _MOTION):
            self._pace()
        if _TORQUE.address in touched and not self._memory[_TORQUE.address]:
            self._forget_errors()

    def _forget_errors(self) -> None:
        if self.get("min_voltage") <= self.get("present_voltage") <= self.get("max_voltage"):
            self.error &= ~_VOLTAGE
        if self.get("present_temperature") <= self.get("max_temperature"):
            self.error &= ~_OVERHEAT

    def _may_write(self, address: int) -> bool:
        return address in _WRITABLE and (address >= SRAM or not self._memory[_LOCK.address])

    def _pace(self) -> None:
        """The speed that the goal now written is approached with."""
        speed, time_ms = abs(self.get("goal_speed")), self.get("goal_time")
        if not speed and time_ms:
            speed = round(1e3 * abs(self.get("goal_position") - self._reported()) / time_ms)
        self._shaft.pace = speed or math.inf

    def _recentre(self) -> None:
        """This position is 2048 from now on, whatever the lock says; the goal stays where the shaft is."""
        turned = round(self.ticks) % TICKS_PER_TURN - _MIDDLE
        self.set("homing_offset", max(-_MIDDLE + 1, min(_MIDDLE - 1, turned)))
        self.set("goal_position", _MIDDLE)

    def _recover(self) -> None:
        identity = self.id, self.get("baud_code")
        self._to_defaults(0, SRAM)
        self.set("id", identity[0])
        self.set("baud_code", identity[1])

    def power_on(self) -> None:
        """SRAM as after power-on: no torque, the goal where it is."""
        self._to_defaults(SRAM, STS3215["moving_threshold"].address)
        self.set("torque_limit", self.get("max_torque"))
        self.set("goal_position", round(self._reported()) % TICKS_PER_TURN)
        self._planned = None
        self.error = 0
        self._shaft.pace = math.inf

    def _to_defaults(self, start: int, end: int) -> None:
        for register in STS3215.values():
            if start <= register.address < end:
                self.set(register.name, register.default)

    def get(self, name: str) -> int:
        """A register's value, by its name in the STS3215 table."""
        register = STS3215[name]
        return register.decode(bytes(self._memory[_range(register)]))

    def set(self, name: str, value: int) -> None:
        """Change a register from inside the servo: neither access nor lock count."""
        register = STS3215[name]
        self._memory[_range(register)] = register.encode(value)

    def _refresh(self) -> None:
        self.set("present_position", round(self._reported()) % TICKS_PER_TURN)
        self.set("present_speed", round(self._shaft.speed))
        self.set("moving", int(abs(self._shaft.speed) >= 1))
        self.set("goal_echo", self.get("goal_position"))
        self.set("write_pending", int(self._planned is not None))
        self.set("status", self.error)


def _range(register: Register) -> slice:
    return slice(register.address, register.address + register.length)
