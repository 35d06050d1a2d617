"""Questions and answers of one CAN FD channel with moteus controllers: whose answer, and to which question.

A motor sends its answer to the number that asked it. Every joint is asked by several numbers in turn, none of
them a motor's, so that a late answer is told from a fresh one, and a damaged identifier fits no joint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from wall_edge.errors import ConfigError
from wall_edge_bridge.drives import BusCounters
from wall_edge_bridge.kinds.moteus.frames import frame_to, is_extended, reply_identifier
from wall_edge_bridge.kinds.moteus.settings import MoteusJoint
from wall_edge_bridge.transport import Frame, FrameTransport

ATTEMPTS = 3
_SOURCES = range(0x7E, -1, -1)
_MOST_TURNS = 16
_ANSWER = 0x20
_REFUSAL = 0x30


class MoteusBus:
    """Exchanges with the motors of ``joints``, named by their index. Raises ConfigError for too many."""

    def __init__(
        self,
        wire: FrameTransport,
        joints: Sequence[MoteusJoint],
        counters: BusCounters,
        clock: Callable[[], int],
    ) -> None:
        self.wire, self.clock = wire, clock
        self._counters = counters
        ids = [joint.id for joint in joints]
        free = [source for source in _SOURCES if source not in ids]
        self._turns = min(_MOST_TURNS, len(free) // len(ids))
        if self._turns < 2:
            raise ConfigError(f"{len(ids)} moteus joints on one channel", expected="at most 42")
        self._turn = 0
        self._requests: list[list[Frame]] = []
        self._places: dict[int, tuple[int, int]] = {}
        for turn in range(self._turns):
            sources = free[turn * len(ids) : (turn + 1) * len(ids)]
            self._requests.append(
                [frame_to(motor, source, b"") for motor, source in zip(ids, sources, strict=True)]
            )
            for index, source in enumerate(sources):
                self._places[reply_identifier(ids[index], source)] = turn, index
        self.strangers: list[Frame] = []
        """What was seen that answers nothing of ours; the last few."""

    def send(self, data: Iterable[tuple[int, bytes]], deadline_ns: int) -> None:
        """To joints by their index, as the next turn. Raises BusTimeout, BusError."""
        self._turn = (self._turn + 1) % self._turns
        requests = self._requests[self._turn]
        frames = [Frame(requests[index].id, each, True, True, True) for index, each in data]
        self.wire.send(frames, deadline_ns)

    def owner(self, frame: Frame) -> int | None:
        """The joint whose answer to this turn it is. Others are counted, as late or foreign."""
        place = self._places.get(frame.id)
        kind = frame.data[0] & 0xF0 if frame.data else None
        if (
            place is None
            or frame.remote
            or kind not in (_ANSWER, _REFUSAL)
            or frame.extended != is_extended(frame.id)
        ):
            self._counters.foreign += 1
            self.strangers = [*self.strangers[-7:], frame]
            return None
        turn, index = place
        if turn != self._turn:
            self._counters.late += 1
            return None
        return index

    def ask(self, data: Mapping[int, bytes], timeout_ns: int, linger_ns: int = 0) -> dict[int, list[Frame]]:
        """Joints' answers, of those that gave any: at once when all have, or ``linger_ns`` later."""
        self.send(data.items(), self.clock() + timeout_ns)
        answers: dict[int, list[Frame]] = {}
        deadline_ns = self.clock() + timeout_ns
        lingering = False
        while frames := self.wire.receive(deadline_ns):
            for frame in frames:
                if (index := self.owner(frame)) is not None:
                    answers.setdefault(index, []).append(frame)
            if len(answers) == len(data) and not lingering:
                if not linger_ns:
                    break
                lingering, deadline_ns = True, self.clock() + linger_ns
            if self.clock() >= deadline_ns:
                break
        return answers

    def ask_patiently(
        self, data: Mapping[int, bytes], timeout_ns: int, attempts: int = ATTEMPTS
    ) -> dict[int, Frame]:
        """One answer of each joint that gives any to several questions."""
        answers: dict[int, Frame] = {}
        for _ in range(attempts):
            rest = {index: each for index, each in data.items() if index not in answers}
            if not rest:
                break
            replies = self.ask(rest, timeout_ns)
            answers |= {index: frames[0] for index, frames in replies.items()}
        return answers

    def pause(self, until_ns: int) -> None:
        """Let time pass; what arrives meanwhile answers nothing."""
        while self.clock() < until_ns:
            for frame in self.wire.receive(until_ns):
                self.owner(frame)
