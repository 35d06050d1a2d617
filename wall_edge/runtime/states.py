"""The states of the servo process, in one table.

::

    STARTING ──ready──▶ HOLDING ──chunk──▶ FOLLOWING
                           ▲                │     ▲
                           │        run out │     │ chunk
                       standstill   or hold ▼     │
                           └───────────── SLOWING (decelerates)
    HOLDING, FOLLOWING, SLOWING ──stop──▶ STOPPING (moves to rest) ──at rest──▶ RELEASED (torque off)
    STARTING ──stop──▶ RELEASED
    HOLDING for longer than control.starved_fault_ms after a chunk ran out ──fault──▶ FAULT
    any ──fault or emergency stop──▶ FAULT (latched: decelerates, holds for a moment, then torque off)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, IntEnum

from wall_edge.errors import RuntimeFault

__all__ = ["TRANSITIONS", "Event", "State", "StateMachine", "Transition", "next_state"]


class State(IntEnum):
    """The ``state`` of a feedback record."""

    STARTING = 0
    HOLDING = 1
    FOLLOWING = 2
    STOPPING = 3
    RELEASED = 4
    FAULT = 5
    SLOWING = 6


class Event(Enum):
    """What moves the servo process from state to state."""

    READY = "ready"
    CHUNK = "chunk"
    RUN_OUT = "run out"
    HOLD = "hold"
    STANDSTILL = "standstill"
    STOP = "stop"
    AT_REST = "at rest"
    FAULT = "fault"
    EMERGENCY_STOP = "emergency stop"


_ALWAYS = {Event.FAULT: State.FAULT, Event.EMERGENCY_STOP: State.FAULT}

TRANSITIONS: dict[State, dict[Event, State]] = {
    State.STARTING: {Event.READY: State.HOLDING, Event.STOP: State.RELEASED, **_ALWAYS},
    State.HOLDING: {Event.CHUNK: State.FOLLOWING, Event.STOP: State.STOPPING, **_ALWAYS},
    State.FOLLOWING: {
        Event.RUN_OUT: State.SLOWING,
        Event.HOLD: State.SLOWING,
        Event.STOP: State.STOPPING,
        **_ALWAYS,
    },
    State.SLOWING: {
        Event.CHUNK: State.FOLLOWING,
        Event.STANDSTILL: State.HOLDING,
        Event.STOP: State.STOPPING,
        **_ALWAYS,
    },
    State.STOPPING: {Event.AT_REST: State.RELEASED, **_ALWAYS},
    State.RELEASED: {Event.FAULT: State.FAULT},
    State.FAULT: {},
}


def next_state(state: State, event: Event) -> State:
    """Raises RuntimeFault for an event that the table does not allow in this state."""
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        allowed = ", ".join(e.value for e in TRANSITIONS[state]) or "nothing"
        raise RuntimeFault(f"{event.value!r} while {state.name}", expected=allowed) from None


@dataclass(frozen=True)
class Transition:
    """One change of state."""

    time_ns: int
    before: State
    after: State
    reason: str


class StateMachine:
    """The present state, how it came about, and the fault that latched. ``clock`` is CLOCK_MONOTONIC ns."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self.state = State.STARTING
        self.fault: str | None = None
        """What went wrong, in one line."""
        self.transitions: deque[Transition] = deque(maxlen=1000)
        """The last 1000: a chunk that runs out again and again must not fill the memory."""

    def go(self, event: Event, reason: str = "") -> None:
        """Moves along the table. Raises RuntimeFault where it has no such way."""
        after = next_state(self.state, event)
        self.transitions.append(Transition(self._clock(), self.state, after, reason or event.value))
        self.state = after

    def fail(self, reason: str, event: Event = Event.FAULT) -> None:
        """Latches FAULT; a further reason is added to the first."""
        if self.state is not State.FAULT:
            self.go(event, reason)
        self.fault = reason if self.fault is None else f"{self.fault}; then: {reason}"
