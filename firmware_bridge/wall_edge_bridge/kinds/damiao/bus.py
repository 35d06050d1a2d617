"""Questions to motors about their registers, and who else is on the bus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from wall_edge_bridge.kinds.damiao.codec import (
    READ,
    REFRESH,
    REGISTER_ID,
    SAVE,
    WRITE,
    RegisterFrame,
    pack_value,
    parse_value,
)
from wall_edge_bridge.kinds.damiao.others import Other, other_of, robstride_get_id
from wall_edge_bridge.transport import Frame, FrameTransport

WINDOW_NS = 20_000_000
"""How long a motor may take to answer about a register; it needs less than 1 ms."""
_SAVE_NS = 200_000_000
"""A flash takes its time."""
ATTEMPTS = 3
AT_ONCE = 8
"""Requests: SocketCAN's send queue usually takes 10 frames."""


class Answer(NamedTuple):
    """A register's value, and the identifier that it came on."""

    reply_id: int
    value: float


class DamiaoBus:
    """Requests on 0x7FF. It keeps who else was heard meanwhile, for diagnosis."""

    def __init__(self, wire: FrameTransport, clock: Callable[[], int], *, fd: bool) -> None:
        self._wire, self._clock, self._fd = wire, clock, fd
        self.others: Counter[Other] = Counter()
        """Frames of others that were heard meanwhile, as far as it shows."""

    def frame(self, identifier: int, data: bytes) -> Frame:
        """To be sent: motors set to CAN FD ignore frames without bit rate switching."""
        return Frame(identifier, data, fd=self._fd, brs=self._fd)

    def refresh_frame(self, motor: int) -> Frame:
        """Asks for feedback and moves nothing."""
        return self.frame(REGISTER_ID, RegisterFrame(motor, REFRESH, 0).pack())

    def read(
        self, register: int, motors: Iterable[int], *, attempts: int = ATTEMPTS, listen_ns: int = 0
    ) -> dict[int, list[Answer]]:
        """What each motor answers: nothing, one value, or more when several motors have its id.

        After all have answered, further answers are awaited for ``listen_ns``.
        """
        requests = [RegisterFrame(motor, READ, register) for motor in motors]
        return self._ask(requests, attempts, listen_ns)

    def read_one(self, register: int, motor: int) -> float | None:
        """None from a motor that does not answer."""
        answers = self.read(register, (motor,))[motor]
        return answers[0].value if answers else None

    def write(self, register: int, values: dict[int, float]) -> dict[int, float | None]:
        """To RAM, by motor; what each then has, read back."""
        requests = [RegisterFrame(m, WRITE, register, pack_value(register, v)) for m, v in values.items()]
        self._ask(requests, 1, 0)
        answers = self.read(register, values)
        return {motor: answers[motor][0].value if answers[motor] else None for motor in values}

    def save(self, motor: int) -> bool:
        """All of a motor's registers to its flash; whether it confirmed."""
        return bool(self._ask([RegisterFrame(motor, SAVE, 1)], 1, 0, _SAVE_NS)[motor])

    def find_robstride(self, motors: Iterable[int]) -> None:
        """Ask the same ids in RobStride's protocol, which Damiao motors do not hear; notes ``others``."""
        left = [robstride_get_id(motor) for motor in motors]
        while left:
            self._wire.send(left[:AT_ONCE], self._clock() + WINDOW_NS)
            self._listen(set(), READ, {}, self._clock() + WINDOW_NS)
            left = left[AT_ONCE:]

    def _ask(
        self,
        requests: Sequence[RegisterFrame],
        attempts: int,
        listen_ns: int,
        window_ns: int = WINDOW_NS,
    ) -> dict[int, list[Answer]]:
        answers: dict[int, list[Answer]] = {request.motor: [] for request in requests}
        for _ in range(attempts):
            silent = [request for request in requests if not answers[request.motor]]
            if not silent:
                break
            self._wire.receive(0)
            frames = [self.frame(REGISTER_ID, request.pack()) for request in silent]
            self._wire.send(frames, self._clock() + window_ns)
            keys = {(request.motor, request.register) for request in silent}
            self._listen(keys, silent[0].operation, answers, self._clock() + window_ns)
        if listen_ns:
            keys = {(request.motor, request.register) for request in requests}
            self._listen(keys, requests[0].operation, answers, self._clock() + listen_ns, to_the_end=True)
        return answers

    def _listen(
        self,
        keys: set[tuple[int, int]],
        operation: int,
        answers: dict[int, list[Answer]],
        deadline_ns: int,
        *,
        to_the_end: bool = False,
    ) -> None:
        missing = {motor for motor, _ in keys}
        while missing or to_the_end or not keys:
            frames = self._wire.receive(deadline_ns)
            for frame in frames:
                reply = None if frame.extended or frame.id == REGISTER_ID else RegisterFrame.parse(frame.data)
                if reply is None or reply.operation != operation or (reply.motor, reply.register) not in keys:
                    self._note(frame)
                    continue
                value = 0.0 if operation == SAVE else parse_value(reply.register, reply.value)
                answers[reply.motor].append(Answer(frame.id, value))
                missing.discard(reply.motor)
            if not frames or self._clock() >= deadline_ns:
                return

    def _note(self, frame: Frame) -> None:
        if other := other_of(frame):
            self.others[other] += 1
