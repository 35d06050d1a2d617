"""The motors' side of the Feetech bus: the same bytes, answered by simulated STS3215 servos.

Time is passed in (CLOCK_MONOTONIC ns) and never read: what happens follows from what was sent, and when.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from wall_edge_bridge.drives.base import JointSpec
from wall_edge_bridge.protocols.feetech import BROADCAST_ID, Instruction, Request
from wall_edge_bridge.protocols.feetech_parser import RequestParser
from wall_edge_bridge.protocols.feetech_registers import RADIANS_PER_TICK, radians_to_ticks, ticks_to_radians
from wall_edge_bridge.sim.feetech_servo import MAX_SPEED, SimulatedServo


class SimulatedServoBus:
    """Servos for ``joints`` at ``positions`` [dof] rad (zeros when None), torque off, goal where they are.

    ``max_speed`` [rad/s] bounds every servo. Faults are put in with ``drop_reply``, ``corrupt_reply``,
    ``silence`` and ``set_error``.
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
        self._parser = RequestParser()
        self._drop: set[int] = set()
        self._corrupt: dict[int, int] = {}
        self._silent: set[int] = set()
        self._replies = 0

    def handle(self, data: bytes, now_ns: int) -> bytes:
        """Bytes from the host, in pieces of any size → the replies of all servos, in bus order."""
        self.advance(now_ns)
        return b"".join(reply for request in self._parser.feed(data) for reply in self._answer(request))

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
        (self._silent.add if silent else self._silent.discard)(servo_id)

    def set_error(self, servo_id: int, bits: int) -> None:
        """Make a servo report these error bits in every status from now on."""
        self.servos[servo_id].error = bits

    def _to_ticks(self, positions: npt.ArrayLike) -> list[float]:
        ticks: list[float] = radians_to_ticks(positions, self._zero, self._direction).tolist()
        return ticks

    def _listening(self, ids: Iterable[int]) -> list[SimulatedServo]:
        return [self.servos[i] for i in ids if i in self.servos and i not in self._silent]

    def _answer(self, request: Request) -> Iterator[bytes]:
        """The replies to one request, with the injected faults applied."""
        for reply in self._replies_to(request):
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

    def _replies_to(self, request: Request) -> Iterator[bytes]:
        params = request.params
        if request.instruction == Instruction.SYNC_READ:
            if len(params) >= 2:
                for servo in self._listening(params[2:]):
                    yield from servo.reply_with(*params[:2])
        elif request.instruction == Instruction.SYNC_WRITE:
            self._sync_write(params)
        elif request.id == BROADCAST_ID:
            # On a real bus these answers collide; only a ping is ever answered, here one after the other.
            for servo in self._listening(self.servos):
                replies = list(servo.execute(request.instruction, params))
                if request.instruction == Instruction.PING:
                    yield from replies
        else:
            for servo in self._listening([request.id]):
                yield from servo.execute(request.instruction, params)

    def _sync_write(self, params: bytes) -> None:
        if len(params) < 2:
            return
        address, width = params[:2]
        for start in range(2, len(params) - width, width + 1):
            for servo in self._listening([params[start]]):
                servo.write(address, params[start + 1 : start + 1 + width])
