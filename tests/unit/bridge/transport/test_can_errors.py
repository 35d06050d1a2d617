"""What a controller's error frames do to the health of its bus."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wall_edge_bridge.transport.base import BusHealth
from wall_edge_bridge.transport.can_errors import (
    ACTIVE,
    BUS_ERROR,
    BUS_OFF,
    CONTROLLER,
    NO_ACK,
    PASSIVE,
    RESTARTED,
    RX_OVERFLOW,
    WARNING,
    HealthRecord,
    described,
)
from wall_edge_bridge.transport.can_frame import ErrorFrame


def controller(status: int) -> ErrorFrame:
    return ErrorFrame(CONTROLLER, bytes([0, status, 0, 0, 0, 0, 0, 0]))


def after(*errors: ErrorFrame) -> BusHealth:
    record = HealthRecord()
    for error in errors:
        record.take(error)
    return record.snapshot()


def test_each_state_is_entered_and_left() -> None:
    assert after() == BusHealth(state="active")
    assert after(controller(WARNING)) == BusHealth(1, state="warning")
    assert after(controller(PASSIVE)) == BusHealth(1, error_passive=1, state="passive")
    assert after(controller(PASSIVE), controller(ACTIVE)).state == "active"
    assert after(ErrorFrame(BUS_OFF)) == BusHealth(1, bus_off=1, state="off")
    assert after(ErrorFrame(BUS_OFF), ErrorFrame(RESTARTED)) == BusHealth(1, bus_off=1, state="active")


def test_a_state_that_is_said_again_counts_once() -> None:
    health = after(*[controller(PASSIVE)] * 3, *[ErrorFrame(BUS_OFF)] * 3)
    assert (health.error_passive, health.bus_off, health.error_frames) == (1, 1, 6)


def test_coming_down_from_passive_is_a_warning_and_a_second_time_counts() -> None:
    health = after(controller(PASSIVE), controller(WARNING), controller(PASSIVE))
    assert (health.error_passive, health.state) == (2, "passive")


def test_a_warning_does_not_end_a_bus_off() -> None:
    assert after(ErrorFrame(BUS_OFF), controller(WARNING)).state == "off"


def test_frames_that_the_controller_dropped_are_lost() -> None:
    assert after(controller(RX_OVERFLOW), controller(RX_OVERFLOW)).lost == 2


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ErrorFrame(NO_ACK | BUS_ERROR), "nobody acknowledged, bus error"),
        (controller(PASSIVE), "error-passive"),
        (ErrorFrame(0), "error class 0x0"),
    ],
)
def test_in_words(error: ErrorFrame, words: str) -> None:
    assert described(error) == words


@given(st.lists(st.builds(ErrorFrame, st.integers(0, 0x1FFFFFFF), st.binary(min_size=8, max_size=8))))
def test_any_errors_leave_a_state_that_is_one(errors: list[ErrorFrame]) -> None:
    health = after(*errors)
    assert health.state in ("active", "warning", "passive", "off")
    assert 0 <= health.error_frames <= len(errors)
