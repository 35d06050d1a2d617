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
from enum import Enum

from wall_edge.errors import RuntimeFault
from wall_edge.runtime.ipc.mailbox_types import ServoState


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


_ALWAYS = {Event.FAULT: ServoState.FAULT, Event.EMERGENCY_STOP: ServoState.FAULT}

TRANSITIONS: dict[ServoState, dict[Event, ServoState]] = {
    ServoState.STARTING: {Event.READY: ServoState.HOLDING, Event.STOP: ServoState.RELEASED, **_ALWAYS},
    ServoState.HOLDING: {Event.CHUNK: ServoState.FOLLOWING, Event.STOP: ServoState.STOPPING, **_ALWAYS},
    ServoState.FOLLOWING: {
        Event.RUN_OUT: ServoState.SLOWING,
        Event.HOLD: ServoState.SLOWING,
        Event.STOP: ServoState.STOPPING,
        **_ALWAYS,
    },
    ServoState.SLOWING: {
        Event.CHUNK: ServoState.FOLLOWING,
        Event.STANDSTILL: ServoState.HOLDING,
        Event.STOP: ServoState.STOPPING,
        **_ALWAYS,
    },
    ServoState.STOPPING: {Event.AT_REST: ServoState.RELEASED, **_ALWAYS},
    ServoState.RELEASED: {Event.FAULT: ServoState.FAULT},
    ServoState.FAULT: {},
}


def next_state(state: ServoState, event: Event) -> ServoState:
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
    before: ServoState
    after: ServoState
    reason: str


class StateMachine:
    """The present state, how it came about, and the fault that latched. ``clock`` is CLOCK_MONOTONIC ns."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self.state = ServoState.STARTING
        self.fault: str | None = None
        """What went wrong, in one line."""
        self.on_transition: Callable[[Transition], None] = lambda _: None
        self.on_fault: Callable[[str], None] = lambda _: None
        """Told as it happens: the change of state, and each reason of a fault."""
        self.transitions: deque[Transition] = deque(maxlen=1000)
        """The last 1000: a chunk that runs out again and again must not fill the memory."""

    def go(self, event: Event, reason: str = "") -> None:
        """Moves along the table. Raises RuntimeFault where it has no such way."""
        after = next_state(self.state, event)
        change = Transition(self._clock(), self.state, after, reason or event.value)
        self.transitions.append(change)
        self.state = after
        self.on_transition(change)

    def fail(self, reason: str, event: Event = Event.FAULT) -> None:
        """Latches FAULT; a further reason is added to the first."""
        if self.state is not ServoState.FAULT:
            self.go(event, reason)
        self.fault = reason if self.fault is None else f"{self.fault}; then: {reason}"
        self.on_fault(reason)
