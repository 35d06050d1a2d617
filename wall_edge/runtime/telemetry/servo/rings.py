"""The rings of the servo process and its counters, and the reader of all."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import get_args

from wall_edge_bridge.drives import BusCounters

from wall_edge.runtime.ipc.mailbox import Mailbox
from wall_edge.runtime.motion.chunk_track import Refusal
from wall_edge.runtime.telemetry.ring.ring import Ring
from wall_edge.runtime.telemetry.servo.types import (
    ServoCounters,
    ServoEvent,
    ServoStatus,
    counters_dtype,
    event_dtype,
    events,
    status_dtype,
    statuses,
)

REFUSALS: tuple[str, ...] = get_args(Refusal)
BUS_COUNTERS = tuple(field.name for field in fields(BusCounters))
LIMITS = ("position", "velocity", "acceleration", "jerk", "brake")
"""As :attr:`wall_edge.runtime.motion.limits.Limiter.hits` names them."""

_SECONDS, _EVENTS = 8.0, 2048


@dataclass(frozen=True)
class ServoRings:
    """Give it to a spawned Process as an argument: to the servo process, and to every reader."""

    status: Ring
    """Rows of :func:`~wall_edge.runtime.telemetry.servo.types.status_dtype`, one a tick."""
    events: Ring
    """Rows of :func:`~wall_edge.runtime.telemetry.servo.types.event_dtype`."""
    counters: Mailbox
    """Of :func:`~wall_edge.runtime.telemetry.servo.types.counters_dtype`: the newest counts."""
    kinds: Mapping[str, str]
    """Of the drives that are told apart, by name."""

    @classmethod
    def of(
        cls, dof: int, rate_hz: float, seconds: float = _SECONDS, kinds: Mapping[str, str] | None = None
    ) -> ServoRings:
        """Rings that hold the last ``seconds`` of a servo loop: so long may a reader stay away.

        ``kinds``: of the drives that are to be told apart, by name.
        """
        kinds = dict(kinds or {})
        slots = max(64, math.ceil(rate_hz * seconds))
        counters = Mailbox(counters_dtype(dof, REFUSALS, BUS_COUNTERS, LIMITS, tuple(kinds)))
        return cls(Ring(status_dtype(dof), slots), Ring(event_dtype(), _EVENTS), counters, kinds)

    def reader(self) -> ServoReader:
        """Reads from the oldest on."""
        return ServoReader(self)

    def newcomer(self) -> ServoReader:
        """Reads what comes from now on: for a reader that starts late and has no use for the past."""
        return ServoReader(self, self.status.newest(), self.events.newest())


class ServoReader:
    """A cursor in each ring of the servo process, and its counters."""

    def __init__(self, rings: ServoRings, after_status: int = 0, after_event: int = 0) -> None:
        self.status, self.event = rings.status.reader(after_status), rings.events.reader(after_event)
        self._counters = rings.counters

    def statuses(self) -> Iterator[ServoStatus]:
        """Those not returned yet, oldest first. For arithmetic on many take the rows: ``status.take()``."""
        while len(rows := self.status.take()):
            yield from statuses(rows)

    def events(self) -> Iterator[ServoEvent]:
        """Those not returned yet, oldest first."""
        while len(rows := self.event.take()):
            yield from events(rows)

    def counters(self) -> ServoCounters | None:
        """The newest; None before the first."""
        row = self._counters.read()
        return None if row is None else ServoCounters.of(row)

    @property
    def lost(self) -> int:
        """Statuses and events overwritten before they were read here."""
        return self.status.lost + self.event.lost
