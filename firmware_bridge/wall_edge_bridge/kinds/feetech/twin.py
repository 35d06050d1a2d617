"""The motors' side of the Feetech bus: the same bytes, answered by simulated STS3215 servos.

Time is passed in (CLOCK_MONOTONIC ns) and never read: what happens follows from what was sent, and when.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from operator import and_

import numpy as np
import numpy.typing as npt

from wall_edge_bridge.drives import JointSpec
from wall_edge_bridge.kinds.feetech.parser import RequestParser
from wall_edge_bridge.kinds.feetech.protocol import BROADCAST_ID, Instruction, Request
from wall_edge_bridge.kinds.feetech.registers import RADIANS_PER_TICK, radians_to_ticks, ticks_to_radians
from wall_edge_bridge.kinds.feetech.servo import SimulatedServo
from wall_edge_bridge.sim.shaft import MAX_SPEED


class SimulatedServoBus:
    """Servos for ``joints`` at ``positions`` [dof] rad (zeros when None), torque off, goal where they are.

    ``max_speed`` [rad/s] bounds every servo. ``servos`` is by the id that each begins with. Faults are put in
    with the methods from ``drop_reply`` on, ``latency_ns``, and a servo's own ``set`` and ``reboot``.
    """

    def __init__(
        self,
        joints: Sequence[JointSpec],
        positions: npt.ArrayLike | None = None,
        max_speed: float = MAX_SPEED,
    ) -> None:
        self._zero = np.array([joint.zero_ticks for joint in joints])
        self._direction = np.array([joint.direction for joint in joints])
        ticks = self._to_ticks(np.zeros(len(joints)) if positions is None else positions)
        speed = max_speed / RADIANS_PER_TICK
        self.servos = {
            joint.id: SimulatedServo(joint.id, tick, speed) for joint, tick in zip(joints, ticks, strict=True)
        }
        self.latency_ns = 0
        """How long after its request a reply leaves, from now on."""
        self._parser = RequestParser()
        self._drop: set[int] = set()
        self._corrupt: dict[int, int] = {}
        self._silent: set[SimulatedServo] = set()
        self._replies = 0
        self._leaving: deque[tuple[int, bytes]] = deque()

    def handle(self, data: bytes, now_ns: int, baud: int | None = None) -> bytes:
        """Bytes from the host, in pieces of any size → the replies that leave by now, in bus order.

        Only servos that listen at ``baud`` [bit/s] hear them; None is the speed of each.
        """
        self.advance(now_ns)
        self._do(self._parser.feed(data), now_ns, baud)
        return self.collect(now_ns)

    def intrude(self, data: bytes, now_ns: int) -> None:
        """Whole requests of another program on the bus; the host sees their replies, not knowing why."""
        self.advance(now_ns)
        self._do(RequestParser().feed(data), now_ns, None)

    def collect(self, now_ns: int) -> bytes:
        """Replies that have left by now and were not collected yet."""
        replies = []
        while self._leaving and self._leaving[0][0] <= now_ns:
            replies.append(self._leaving.popleft()[1])
        return b"".join(replies)

    @property
    def due_ns(self) -> int | None:
        """When the next reply leaves; None when none waits."""
        return self._leaving[0][0] if self._leaving else None

    def _do(self, requests: Sequence[Request], now_ns: int, baud: int | None) -> None:
        for request in requests:
            for reply in self._answer(request, now_ns, baud):
                last_ns = self._leaving[-1][0] if self._leaving else 0
                self._leaving.append((max(now_ns + self.latency_ns, last_ns), reply))

    def advance(self, now_ns: int) -> None:
        """Move the servos to this moment; a moment already passed changes nothing."""
        for servo in self.servos.values():
            servo.advance(now_ns)

    def positions(self, now_ns: int) -> npt.NDArray[np.float64]:
        """[dof] rad, where the joints are at this moment, finer than what the servos report."""
        self.advance(now_ns)
        ticks = np.array([servo.ticks for servo in self.servos.values()])
        return ticks_to_radians(ticks, self._zero, self._direction)

    def set_positions(self, positions: npt.ArrayLike) -> None:
        """Put the joints at ``positions`` [dof] rad, as by hand: goals stay, torque would pull them back."""
        for servo, ticks in zip(self.servos.values(), self._to_ticks(positions), strict=True):
            servo.ticks = ticks

    def drop_reply(self, nth: int = 1) -> None:
        """Lose the ``nth`` reply from now (1 is the next one)."""
        self._drop.add(self._replies + nth)

    def corrupt_reply(self, nth: int = 1, byte: int = -1) -> None:
        """Flip the bits of one byte (default: the checksum) of the ``nth`` reply from now."""
        self._corrupt[self._replies + nth] = byte

    def silence(self, servo_id: int, silent: bool = True) -> None:
        """Cut a servo off the bus: it hears nothing and answers nothing, until ``silent=False``."""
        (self._silent.add if silent else self._silent.discard)(self.servos[servo_id])

    def set_error(self, servo_id: int, bits: int) -> None:
        """Make a servo report these error bits in every status from now on."""
        self.servos[servo_id].error = bits

    def _to_ticks(self, positions: npt.ArrayLike) -> list[float]:
        ticks: list[float] = radians_to_ticks(positions, self._zero, self._direction).tolist()
        return ticks

    def _listening(self, now_ns: int, baud: int | None) -> dict[int, list[SimulatedServo]]:
        """By the id that they answer under now."""
        awake: dict[int, list[SimulatedServo]] = {}
        for servo in self.servos.values():
            if servo not in self._silent and servo.hears(baud, now_ns):
                awake.setdefault(servo.id, []).append(servo)
        return awake

    def _answer(self, request: Request, now_ns: int, baud: int | None) -> Iterator[bytes]:
        """The replies to one request, with the injected faults applied."""
        for reply in self._replies_to(request, now_ns, baud):
            self._replies += 1
            if self._replies in self._drop:
                self._drop.discard(self._replies)
                continue
            if self._replies in self._corrupt:
                damaged = bytearray(reply)
                damaged[self._corrupt.pop(self._replies)] ^= 0xFF
                yield bytes(damaged)
                continue
            yield reply

    def _replies_to(self, request: Request, now_ns: int, baud: int | None) -> Iterator[bytes]:
        params, awake = request.params, self._listening(now_ns, baud)
        if request.instruction == Instruction.SYNC_READ:
            for servo_id in params[2:]:
                yield from _at_once([servo.reply_with(*params[:2]) for servo in awake.get(servo_id, ())])
        elif request.instruction == Instruction.SYNC_WRITE:
            _sync_write(params, awake)
        elif request.id == BROADCAST_ID:
            # On a real bus servos answer a ping of all one after the other, and nothing else.
            for servo in [servo for servos in awake.values() for servo in servos]:
                replies = list(servo.execute(request.instruction, params))
                if request.instruction == Instruction.PING:
                    yield from replies
        else:
            servos = awake.get(request.id, ())
            yield from _at_once([servo.execute(request.instruction, params) for servo in servos])


def _sync_write(params: bytes, awake: Mapping[int, Sequence[SimulatedServo]]) -> None:
    if len(params) < 2:
        return
    address, width = params[:2]
    for start in range(2, len(params) - width, width + 1):
        for servo in awake.get(params[start], ()):
            servo.write(address, params[start + 1 : start + 1 + width])


def _at_once(answers: Sequence[Iterator[bytes]]) -> Iterator[bytes]:
    """What servos with one id say: they talk over each other, and a low bit wins."""
    replies = [reply for answer in answers for reply in answer]
    if len(replies) > 1:
        replies = [bytes(reduce(and_, bits) for bits in zip(*replies, strict=False))]
    yield from replies
