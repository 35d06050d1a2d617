"""What every drive must do when replies are lost, damaged, doubled or late. In virtual time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from wall_edge_bridge.sim import FrameTwin
from wall_edge_bridge.transport import Frame

from tests.drive_cases.rig import MS, PERIOD_NS, START, Rig
from wall_edge.errors import BusTimeout

STEP = np.array([1, -1, 2, -2, 3, -3]) * 0.02


def hands(rig: Rig) -> Iterator[np.ndarray]:
    """Another pose before every cycle, as by hand; inside the limits."""
    step = 0
    while True:
        step += 1
        position = START + STEP * (step % 7)
        rig.twin.set_positions(position)
        yield position


def replies_a_cycle(rig: Rig, position: Any = None) -> int:
    before = rig.twin.replies.count
    rig.cycle(position)
    return rig.twin.replies.count - before


def cycle(rig: Rig, position: Any = None) -> tuple[list[int], Any]:
    """Joints that stayed stale in one more cycle, and its feedback (None of none)."""
    since = rig.clock() + 1
    with suppress(BusTimeout):
        feedback = rig.cycle(position)
        return rig.stale(feedback, since), feedback
    return list(range(6)), None


@pytest.mark.parametrize("enabled", [False, True])
def test_one_lost_reply_costs_its_joint_one_cycle_and_the_others_nothing(rig: Rig, enabled: bool) -> None:
    hold = START if enabled else None
    if enabled:
        rig.drive.enable()
    hand = hands(rig)
    lost = set()
    for nth in range(1, replies_a_cycle(rig, hold) + 1):
        if not enabled:
            next(hand)
        before = rig.cycle(hold)
        timeouts = rig.drive.counters.timeouts
        rig.twin.replies.drop(nth)
        if not enabled:
            next(hand)
        stale, feedback = cycle(rig, hold)
        rig.twin.replies.heal()
        assert len(stale) <= 1
        for joint in stale:
            lost.add(joint)
            assert feedback.position[joint] == before.position[joint]
            assert feedback.received_ns[joint] == before.received_ns[joint]
            assert rig.drive.counters.timeouts == timeouts + 1
        assert cycle(rig, hold)[0] == []
    assert lost == set(range(6))


def test_a_motor_that_falls_silent_grows_old_alone(rig: Rig) -> None:
    """The last one: on some buses a missing motor silences those behind it."""
    before = rig.cycle()
    rig.twin.silence(5)
    for _ in range(20):
        stale, feedback = cycle(rig)
        assert stale == [5]
        assert feedback.received_ns[5] == before.received_ns[5]
    rig.twin.silence(5, silent=False)
    since = rig.clock() + 1
    rig.until(lambda feedback: (feedback.received_ns > since).all(), 0.1)


def test_when_all_are_silent_a_cycle_is_a_timeout_by_its_deadline(rig: Rig) -> None:
    for joint in range(6):
        rig.twin.silence(joint)
    before, begin = rig.drive.counters.timeouts, rig.clock()
    with pytest.raises(BusTimeout, match=rig.joints[0].name):
        rig.cycle()
    assert rig.clock() - begin <= rig.timeout_ns + PERIOD_NS
    assert rig.drive.counters.timeouts == before + 6


def test_a_doubled_reply_is_never_believed_later(rig: Rig) -> None:
    hand = hands(rig)
    for nth in range(1, replies_a_cycle(rig) + 1):
        rig.twin.replies.double(nth)
        for _ in range(3):
            next(hand)
            assert cycle(rig)[0] == []
        rig.twin.replies.heal()


def chatter(rig: Rig) -> None:
    """From now on something else never stops talking, whenever no motor does."""
    receive, calls = rig.wire.receive, [0]
    frames = isinstance(rig.twin, FrameTwin)

    def noisy(*arguments: int) -> Any:
        calls[0] += 1
        assert calls[0] < 10_000, "it reads on for ever"
        rig.clock.sleep(rig.clock() + 50_000)
        noise = [Frame(0x7AB, b"\1\2\3")] if frames else b"\x80" * arguments[0]
        return receive(*arguments[:-1], rig.clock()) or noise

    rig.wire.receive = noisy


@pytest.mark.parametrize("silent", [False, True])
def test_a_device_that_never_stops_talking_keeps_no_cycle_from_ending(rig: Rig, silent: bool) -> None:
    rig.cycle()
    chatter(rig)
    for joint in range(6 if silent else 0):
        rig.twin.silence(joint)
    begin = rig.clock()
    with suppress(BusTimeout):
        rig.cycle()
    assert rig.clock() - begin <= PERIOD_NS + rig.timeout_ns + 2 * MS


def damages(rig: Rig) -> list[Callable[[Any], Any]]:
    """Ways in which a reply arrives that is none."""
    if isinstance(rig.twin, FrameTwin):
        return [
            lambda frame: frame._replace(data=frame.data[:-1]),
            lambda frame: frame._replace(data=b""),
            lambda frame: frame._replace(id=frame.id ^ 0x400),
            lambda frame: frame._replace(extended=not frame.extended, id=frame.id & 0x7FF),
            lambda frame: frame._replace(remote=True, data=b""),
        ]
    flips = [lambda data, k=k: data[:k] + bytes([data[k] ^ 0xFF]) + data[k + 1 :] for k in range(6)]
    return [*flips, lambda data: data[:-1] + bytes([data[-1] ^ 1]), lambda data: data[:-1], lambda _: b"\xff"]


def test_a_damaged_reply_is_not_believed_and_costs_its_joint_one_cycle(rig: Rig) -> None:
    if not rig.case.detects_damage:
        pytest.skip("the framing has no checksum")
    hand = hands(rig)
    next(hand)
    replies = replies_a_cycle(rig)
    damaged = 0
    for damage in damages(rig):
        for nth in range(1, replies + 1):
            rig.twin.replies.change(damage, nth)
            next(hand)
            stale, _ = cycle(rig)
            rig.twin.replies.heal()
            assert len(stale) <= 1
            damaged += len(stale)
            next(hand)
            assert cycle(rig)[0] == []
    assert damaged >= 6
    assert rig.drive.counters.errors > 0


def test_replies_that_come_after_their_cycle_are_dropped_and_counted(rig: Rig) -> None:
    hand = hands(rig)
    for _ in range(5):
        next(hand)
        assert cycle(rig)[0] == []
        rig.twin.replies.latency_ns = rig.timeout_ns + 2 * MS
        with pytest.raises(BusTimeout):
            rig.cycle()
        rig.twin.replies.latency_ns = 0
        rig.clock.sleep(rig.clock() + 5 * MS)
        next(hand)
        assert cycle(rig)[0] == []
    counters = rig.drive.counters
    assert counters.late + counters.stale_bytes > 0
    assert counters.foreign == 0


@pytest.mark.parametrize("late", [0.05, 0.3, 1.05, 2.4])
def test_replies_late_into_later_cycles_are_not_believed(rig: Rig, late: float) -> None:
    """By whole cycles and a part; what a kind cannot tell is as old as the wire is late, and no older."""
    if not rig.case.tells_late and late > 1:
        pytest.skip("replies of this kind carry nothing that tells their cycle")
    hand = hands(rig)
    next(hand)
    cycle(rig)
    rig.twin.replies.latency_ns = rig.timeout_ns + round(late * rig.timeout_ns)
    before = START
    for _ in range(20):
        position, since = next(hand), rig.clock() + 1
        with suppress(BusTimeout):
            feedback = rig.cycle()
            fresh = feedback.received_ns >= since
            error = np.abs(feedback.position - position)
            if not rig.case.tells_late:
                error = np.minimum(error, np.abs(feedback.position - before))
            assert (error[fresh] <= rig.case.tolerance).all()
        before = position
    rig.twin.replies.latency_ns = 0
    rig.wait(0.2)
    for _ in range(10):
        next(hand)
        stale, _ = cycle(rig)
    assert stale == []
