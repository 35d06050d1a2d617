"""One simulated STS3215: a register file, the instructions addressed to it, and how its shaft moves."""

from __future__ import annotations

import math
from collections.abc import Iterator

from wall_edge_bridge.protocols.feetech import Instruction, build_status
from wall_edge_bridge.protocols.feetech_registers import MAX_TICK, STS3215

RATE = -math.log(1 - 0.6) * 30
"""1/s: the shaft closes 60 % of the gap to its goal in 1/30 s."""
MAX_SPEED = 6.0
"""rad/s: an STS3215 at 12 V without load."""

_SIZE = 256
_FIRST_READ_ONLY = STS3215["present_position"].address


def follow_goal(position: float, goal: float, max_speed: float, seconds: float) -> float:
    """Where a shaft is ``seconds`` later: dq/dt = RATE · gap, at most ``max_speed``; any unit of angle."""
    gap = goal - position
    linear = max_speed / RATE  # farther from the goal than this, the speed is what limits
    if abs(gap) > linear:
        duration = min(seconds, (abs(gap) - linear) / max_speed)
        position += math.copysign(max_speed * duration, gap)
        seconds -= duration
    return position - math.expm1(-RATE * seconds) * (goal - position)


class SimulatedServo:
    """``ticks`` is where the shaft is, as a float; ``max_speed`` is in tick/s; ``error`` the status bits."""

    def __init__(self, servo_id: int, ticks: float, max_speed: float) -> None:
        self.id = servo_id
        self.ticks = ticks
        self.error = 0
        self._max_speed = max_speed
        self._speed = 0.0
        self._now_ns: int | None = None
        self._planned: tuple[int, bytes] | None = None
        self._memory = bytearray(_SIZE)
        for name, value in (
            ("id", servo_id),
            ("max_angle", MAX_TICK),
            ("goal_position", round(ticks)),
            ("lock", 1),
            ("present_voltage", 121),
            ("present_temperature", 30),
        ):
            self._set(name, value)

    def advance(self, now_ns: int) -> None:
        """Follow the goal until ``now_ns``: dq/dt = RATE · gap, at most ``max_speed``, only under torque.

        Solved exactly, so the path does not depend on how often it is asked for.
        """
        elapsed = 0.0 if self._now_ns is None else (now_ns - self._now_ns) * 1e-9
        self._now_ns = now_ns if self._now_ns is None else max(now_ns, self._now_ns)
        if elapsed <= 0:
            return
        before = self.ticks
        if self.get("torque_enable"):
            self._follow(elapsed)
        self._speed = (self.ticks - before) / elapsed

    def _follow(self, seconds: float) -> None:
        goal = min(max(self.get("goal_position"), self.get("min_angle")), self.get("max_angle"))
        self.ticks = follow_goal(self.ticks, goal, self._max_speed, seconds)

    def execute(self, instruction: int, params: bytes) -> Iterator[bytes]:
        """Carry out one request; yields the status it is answered with, if any."""
        if instruction == Instruction.READ:
            if len(params) == 2:
                yield from self.reply_with(*params)
            return
        if instruction == Instruction.WRITE and params:
            self.write(params[0], params[1:])
        elif instruction == Instruction.REG_WRITE and params:
            self._planned = params[0], params[1:]
        elif instruction == Instruction.ACTION:
            if self._planned:
                self.write(*self._planned)
            self._planned = None
        elif instruction != Instruction.PING:
            return
        yield build_status(self.id, self.error)

    def reply_with(self, address: int, count: int) -> Iterator[bytes]:
        """The status that carries ``count`` registers from ``address``; none beyond the table."""
        if address + count <= _SIZE:
            self._refresh()
            yield build_status(self.id, self.error, bytes(self._memory[address : address + count]))

    def write(self, address: int, data: bytes) -> None:
        """Store into the registers that may be written; the rest keep their values, as on the servo."""
        for offset, value in enumerate(data, address):
            if offset < _FIRST_READ_ONLY:
                self._memory[offset] = value

    def get(self, name: str) -> int:
        """A register's value, by its name in the STS3215 table."""
        register = STS3215[name]
        return register.decode(bytes(self._memory[register.address : register.address + register.length]))

    def _set(self, name: str, value: int) -> None:
        register = STS3215[name]
        self._memory[register.address : register.address + register.length] = register.encode(value)

    def _refresh(self) -> None:
        self._set("present_position", round(self.ticks))
        self._set("present_speed", round(self._speed))
        self._set("moving", int(abs(self._speed) >= 1))
        self._set("status", self.error)
