"""A9: a late reply never passes for a fresh one, and losses do not keep fresh ones out for long."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wall_edge_bridge.drives.pending import PendingReplies


class Wire:
    """One servo: every request is answered once and in order, or lost; ``late`` is in requests."""

    def __init__(self) -> None:
        self.pending, self.sent, self.late = PendingReplies(), 0, 0
        self.air: deque[tuple[int, int, int]] = deque()
        """When each reply arrives, which request it answers, its length."""

    def cycle(self, lost: bool = False, least: int = 2) -> list[int]:
        """One request; the requests whose replies were taken for fresh ones."""
        width = self.pending.width([1], least)
        self.pending.ask([1], width)
        self.sent += 1
        if not lost:
            arrives = max(self.sent + self.late, self.air[-1][0] if self.air else 0)
            self.air.append((arrives, self.sent, width))
        fresh = []
        while self.air and self.air[0][0] <= self.sent:
            _, request, width = self.air.popleft()
            if self.pending.settle(1, width) == "fresh":
                fresh.append(request)
        return fresh


@pytest.mark.parametrize("late", [*range(1, 40), 97, 500])
def test_replies_late_by_any_number_of_cycles_from_a_moment_on_are_never_fresh(late: int) -> None:
    wire = Wire()
    for _ in range(5):
        assert wire.cycle() == [wire.sent]
    wire.late = late
    for _ in range(3 * late + 50):
        assert wire.cycle() == []


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30), st.sampled_from([2, 18])), max_size=300))
def test_whatever_is_lost_or_late_only_the_latest_request_is_answered(
    cycles: list[tuple[bool, int, int]],
) -> None:
    wire = Wire()
    for lost, late, least in cycles:
        wire.late = late
        assert set(wire.cycle(lost, least)) <= {wire.sent}


@pytest.mark.parametrize("outage", [1, 2, 7, 8, 20, 100])
def test_after_an_outage_fresh_replies_are_known_again_within_a_sixth_of_it(outage: int) -> None:
    wire = Wire()
    for _ in range(outage):
        assert wire.cycle(lost=True) == []
    blind = 0
    while not wire.cycle():
        blind += 1
    assert blind <= outage / 6
    assert wire.cycle() == [wire.sent]


def test_a_healthy_bus_asks_for_no_byte_more_than_it_needs() -> None:
    wire = Wire()
    for _ in range(10):
        assert wire.pending.width([1], 2) == 2
        wire.cycle()


def test_a_reply_that_nobody_asked_for_is_foreign() -> None:
    pending = PendingReplies()
    assert pending.settle(1, 2) == "foreign"
    pending.ask([1], 2)
    assert pending.settle(2, 2) == "foreign"
    assert pending.settle(1, 3) == "foreign"
    assert pending.settle(1, 2) == "fresh"
    assert pending.settle(1, 2) == "foreign"
