"""The motors' side of the Feetech bus: the same bytes, answered by simulated STS3215 servos."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from operator import and_

import numpy as np
import numpy.typing as npt

from wall_edge_bridge.kinds.feetech.codec import BROADCAST_ID, Instruction, Request
from wall_edge_bridge.kinds.feetech.faults import BITS
from wall_edge_bridge.kinds.feetech.parser import RequestParser
from wall_edge_bridge.kinds.feetech.registers import RADIANS_PER_TICK, radians_to_ticks, ticks_to_radians
from wall_edge_bridge.kinds.feetech.settings import FeetechJoint, FeetechSettings
from wall_edge_bridge.kinds.feetech.twin.motor import SimulatedServo
from wall_edge_bridge.sim import ByteTwin
from wall_edge_bridge.sim.line import serial_duration
from wall_edge_bridge.sim.shaft import MAX_SPEED

_TOO_HOT = 75
"""°C"""
_TOO_LITTLE = 35
"""0.1 V"""


class FeetechTwin(ByteTwin):
    """Servos for ``joints`` at ``positions`` [dof] rad (zeros when None), torque off, goal where they are.

    ``max_speed`` [rad/s] bounds every servo. ``servos`` is by the id that each begins with: their registers
    are switches (``set``): an id that another has, a baud rate, a return delay, what is measured. With
    ``timed_baudrate`` bytes take their time on the line; a servo also waits for its own return delay.
    """

    def __init__(
        self,
        joints: Sequence[FeetechJoint],
        positions: npt.ArrayLike | None = None,
        *,
        max_speed: float = MAX_SPEED,
        timed_baudrate: int | None = None,
    ) -> None:
        super().__init__(joints)
        # What an encoder counts is what its servo reports and the offset in its memory.
        self._zero = np.array([joint.zero_ticks + (joint.homing_offset or 0) for joint in joints])
        self._direction = np.array([joint.direction for joint in joints])
        ticks = self._to_ticks(np.zeros(len(joints)) if positions is None else positions)
        speed = max_speed / RADIANS_PER_TICK
        self.servos = {
            joint.id: _servo(joint, tick, speed) for joint, tick in zip(joints, ticks, strict=True)
        }
        self._list = list(self.servos.values())
        self.echo = False
        """Whether the adapter returns what the host sends, as one without a direction switch does."""
        if timed_baudrate is not None:
            self.replies.duration = serial_duration(timed_baudrate)
        self._parser = RequestParser()
        self._silent: set[SimulatedServo] = set()
        self._requests: deque[tuple[int, bytes, int | None]] = deque()

    def handle(self, data: bytes, now_ns: int, baud: int | None = None) -> bytes:
        self._requests.append((self.replies.request(data, now_ns), data, baud))
        return self.collect(now_ns)

    def intrude(self, data: bytes, now_ns: int) -> None:
        """Whole requests of another program on the bus; the host sees their replies, not knowing why."""
        self.advance(now_ns)
        self._do(RequestParser().feed(data), now_ns, None)

    @property
    def due_ns(self) -> int | None:
        """When the next reply, or a request that is on its way, has arrived; None when nothing waits."""
        due = [self.replies.due_ns, self._requests[0][0] if self._requests else None]
        return min((each for each in due if each is not None), default=None)

    def advance(self, now_ns: int) -> None:
        while self._requests and self._requests[0][0] <= now_ns:
            arrival_ns, data, baud = self._requests.popleft()
            self._move(arrival_ns)
            if self.echo:
                self.replies.put(data, arrival_ns - self.replies.duration(data))
            self._do(self._parser.feed(data), arrival_ns, baud)
        self._move(now_ns)

    def positions(self, now_ns: int) -> npt.NDArray[np.float64]:
        self.advance(now_ns)
        return ticks_to_radians(np.array([servo.ticks for servo in self._list]), self._zero, self._direction)

    def set_positions(self, positions: npt.ArrayLike) -> None:
        for servo, ticks in zip(self._list, self._to_ticks(positions), strict=True):
            servo.ticks = ticks

    def powered(self, now_ns: int) -> tuple[bool, ...]:
        self.advance(now_ns)
        return tuple(servo.get("torque_enable") == 1 for servo in self._list)

    def silence(self, index: int, silent: bool = True) -> None:
        (self._silent.add if silent else self._silent.discard)(self._list[index])

    def lose_torque(self, index: int) -> None:
        self._list[index].set("torque_enable", 0)

    def reboot(self, index: int, now_ns: int) -> None:
        self.advance(now_ns)
        self._list[index].reboot(now_ns)

    def shift_zero(self, index: int, radians: float) -> None:
        servo = self._list[index]
        shift = round(radians / RADIANS_PER_TICK) * int(self._direction[index])
        servo.set("homing_offset", servo.get("homing_offset") - shift)

    def set_fault(self, index: int, name: str) -> None:
        servo = self._list[index]
        servo.error |= BITS[name]
        if name == "overheat":
            servo.set("present_temperature", _TOO_HOT)
        elif name == "voltage":
            servo.set("present_voltage", _TOO_LITTLE)

    def _move(self, now_ns: int) -> None:
        for servo in self._list:
            servo.advance(now_ns)

    def _to_ticks(self, positions: npt.ArrayLike) -> list[float]:
        ticks: list[float] = radians_to_ticks(positions, self._zero, self._direction).tolist()
        return ticks

    def _do(self, requests: Sequence[Request], now_ns: int, baud: int | None) -> None:
        for request in requests:
            for reply, delay_ns in self._replies_to(request, now_ns, baud):
                self.replies.put(reply, max(now_ns, self.replies.free_ns) + delay_ns)

    def _listening(self, now_ns: int, baud: int | None) -> dict[int, list[SimulatedServo]]:
        """By the id that they answer under now."""
        awake: dict[int, list[SimulatedServo]] = {}
        for servo in self._list:
            if servo not in self._silent and servo.hears(baud, now_ns):
                awake.setdefault(servo.id, []).append(servo)
        return awake

    def _replies_to(self, request: Request, now_ns: int, baud: int | None) -> Iterator[tuple[bytes, int]]:
        """With how long each waits for its turn [ns]."""
        params, awake = request.params, self._listening(now_ns, baud)
        if request.instruction == Instruction.SYNC_READ:
            for servo_id in params[2:]:
                servos = awake.get(servo_id, ())
                yield from _at_once([(servo, servo.reply_with(*params[:2])) for servo in servos])
        elif request.instruction == Instruction.SYNC_WRITE:
            _sync_write(params, awake)
        elif request.id == BROADCAST_ID:
            # On a real bus servos answer a ping of all one after the other, and nothing else.
            for servo in [servo for servos in awake.values() for servo in servos]:
                replies = list(servo.execute(request.instruction, params))
                if request.instruction == Instruction.PING:
                    yield from ((reply, servo.return_delay_ns) for reply in replies)
        else:
            servos = awake.get(request.id, ())
            yield from _at_once([(s, s.execute(request.instruction, params)) for s in servos])


def _servo(joint: FeetechJoint, ticks: float, max_speed: float) -> SimulatedServo:
    """Calibrated as ROBOT.yaml says."""
    servo = SimulatedServo(joint.id, ticks, max_speed)
    servo.set("homing_offset", joint.homing_offset or 0)
    for name, end in zip(("min_angle", "max_angle"), joint.range_ticks or (), strict=False):
        servo.set(name, end)
    servo.power_on()
    return servo


def _sync_write(params: bytes, awake: Mapping[int, Sequence[SimulatedServo]]) -> None:
    if len(params) < 2:
        return
    address, width = params[:2]
    for start in range(2, len(params) - width, width + 1):
        for servo in awake.get(params[start], ()):
            servo.write(address, params[start + 1 : start + 1 + width])


def _at_once(answers: Sequence[tuple[SimulatedServo, Iterator[bytes]]]) -> Iterator[tuple[bytes, int]]:
    """What servos with one id say: they talk over each other, and a low bit wins."""
    replies = [reply for _, answer in answers for reply in answer]
    if not replies:
        return
    joint = bytes(reduce(and_, bits) for bits in zip(*replies, strict=False)) if replies[1:] else replies[0]
    yield joint, min(servo.return_delay_ns for servo, _ in answers)


def make_twin(
    settings: FeetechSettings,
    joints: Sequence[FeetechJoint],
    positions: npt.ArrayLike,
    *,
    timed: bool = False,
) -> FeetechTwin:
    """As every kind's."""
    return FeetechTwin(joints, positions, timed_baudrate=settings.baudrate if timed else None)
