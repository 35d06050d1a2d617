"""Requests and replies on CAN at leisure."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from wall_edge_bridge.drives import BusCounters
from wall_edge_bridge.kinds.exchange import FrameExchange, count_health
from wall_edge_bridge.sim import VirtualClock
from wall_edge_bridge.transport import BusHealth, Frame

MS = 1_000_000


class Wire:
    """Answers requests by their turn; a list of no frames is silence."""

    description = "a wire"

    def __init__(self, clock: VirtualClock, answers: Sequence[Sequence[Frame]]) -> None:
        self.clock, self.answers = clock, list(answers)
        self.sent: list[list[Frame]] = []
        self.input: list[Frame] = []

    def send(self, frames: Sequence[Frame], deadline_ns: int) -> None:  # noqa: ARG002
        self.sent.append(list(frames))
        self.input += self.answers.pop(0) if self.answers else []

    def receive(self, deadline_ns: int) -> list[Frame]:
        frames, self.input = self.input, []
        if not frames:
            self.clock.sleep(deadline_ns)
        return frames

    def health(self) -> BusHealth:
        return BusHealth(3, 2, 1, 4)

    def close(self) -> None: ...


ONE, TWO, OTHER = Frame(1, b"\1"), Frame(2, b"\2"), Frame(9, b"")


def exchange(*answers: Sequence[Frame]) -> tuple[FrameExchange, Wire, BusCounters, list[Frame]]:
    clock, counters, unasked = VirtualClock(), BusCounters(), list[Frame]()
    wire = Wire(clock, answers)
    return FrameExchange(wire, counters, clock, 0.02, unasked.append), wire, counters, unasked


def test_only_what_is_missing_is_asked_again_and_counted() -> None:
    asking, wire, counters, _ = exchange([ONE], [], [TWO])
    assert asking.ask({1: ONE, 2: TWO}, lambda frame: frame.id) == {1: ONE, 2: TWO}
    assert wire.sent == [[ONE, TWO], [TWO], [TWO]]
    assert counters.timeouts == 2


def test_it_ends_when_all_have_answered() -> None:
    asking, wire, counters, _ = exchange([ONE, TWO])
    asking.ask({1: ONE, 2: TWO}, lambda frame: frame.id)
    assert wire.clock() == 1_000_000_000
    assert counters.timeouts == 0


def test_what_lay_in_the_input_answers_nothing() -> None:
    asking, wire, _, unasked = exchange([], [])
    wire.input = [ONE]
    assert asking.ask({1: ONE}, lambda frame: frame.id, attempts=2) == {}
    assert unasked == [ONE]


def test_doubled_and_foreign_frames_go_to_whom_it_concerns() -> None:
    asking, _, _, unasked = exchange([OTHER, ONE, ONE, TWO])
    asking.ask({1: ONE, 2: TWO}, lambda frame: frame.id if frame.id < 9 else None)
    assert unasked == list(asking.others) == [OTHER, ONE]


def test_a_device_that_never_stops_talking_ends_no_question() -> None:
    asking, wire, counters, unasked = exchange()

    def talk(deadline_ns: int) -> list[Frame]:  # noqa: ARG001
        wire.clock.sleep(wire.clock() + MS)
        return [OTHER]

    wire.receive = talk  # type: ignore[method-assign]
    assert asking.ask({1: ONE}, lambda frame: 1 if frame == ONE else None) == {}
    assert (counters.timeouts, len(asking.listen(0.01))) == (3, 10)
    assert wire.clock() <= 1_000_000_000 + 90 * MS
    assert set(unasked) == {OTHER}


def test_a_controllers_troubles_are_counted() -> None:
    _, wire, counters, _ = exchange()
    counted = count_health(counters, wire)
    assert (counted.checksum_errors, counted.error_passive, counted.bus_off, counted.full) == (3, 2, 1, 4)


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_silent_motor_takes_its_attempts(attempts: int) -> None:
    asking, wire, counters, _ = exchange()
    asking.ask({1: ONE}, lambda frame: frame.id, attempts)
    assert wire.clock() == 1_000_000_000 + attempts * 20 * MS
    assert counters.timeouts == attempts
