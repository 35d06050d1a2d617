"""The servo process's voice: a status each tick, counters each second, events; never a wait."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from itertools import chain

import numpy as np
import numpy.typing as npt

from wall_edge.runtime.telemetry.servo.rings import ServoRings
from wall_edge.runtime.telemetry.servo.types import (
    EVENT_INTEGERS,
    NAME_BYTES,
    NEVER,
    TEXT_BYTES,
    VALUES,
    EventKind,
    encoded,
)

_COUNTERS_NS = 1_000_000_000

_EVENT = struct.Struct(f"={len(EVENT_INTEGERS) + VALUES}q{NAME_BYTES}s")


class ServoTelemetry:
    """Writes both rings; for one thread. ``clock`` is CLOCK_MONOTONIC ns, ``period_ns`` a tick's.

    A status is packed into its slot as it is: no lock, no system call, no memory but for a moment. What it
    costs a tick: ``benchmarks/daemon/telemetry_cost.py``.
    """

    def __init__(
        self, rings: ServoRings, period_ns: int, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._status, self._events = rings.status, rings.events
        self._period_ns, self._clock = period_ns, clock
        dtype = rings.status.dtype
        floats = dtype["setpoint"].itemsize
        self._struct = struct.Struct(f"={(dtype.itemsize - 2 * floats) // 8}q{floats}s{floats}s")
        self._pack, self._append = self._struct.pack, rings.status.append
        counters = rings.counters.dtype
        self._counters, self._counts = rings.counters, np.zeros(1, counters)
        self._flat = self._counts.view(np.int64)
        self._bus_counters = counters["bus"].names or ()
        drives = counters["drives"].names or () if "drives" in (counters.names or ()) else ()
        self._no_bus = (NEVER,) * len(self._bus_counters)
        self._no_drives = (dict.fromkeys(self._bus_counters, NEVER),) * len(drives)
        self.counters_due_ns = 0
        """When the counters are to be told next."""
        self._tick, self._epoch = 0, NEVER
        self._life = rings.status.attach_writer()
        rings.events.attach_writer()
        self.event(EventKind.STARTED, values=(os.getpid(),))

    def status(
        self,
        *,
        time_ns: int,
        tick: int,
        state: int,
        epoch: int,
        setpoint: npt.NDArray[np.float64],
        position: npt.NDArray[np.float64],
        deadline_ns: int = NEVER,
        lateness_ns: int = NEVER,
        overrun_ns: int = NEVER,
        chunk_index: int = NEVER,
        chunk_observation_ns: int = 0,
        served_ticks: int = 0,
        first_tick_ns: int = 0,
        last_tick_ns: int = 0,
        touched: bool = False,
        starved_ticks: int = 0,
        waiting_ticks: int = 0,
        overruns: int = 0,
        skipped: int = 0,
        bus_cycles: int = 0,
        bus_errors: int = 0,
        pickup_ns: int = NEVER,
        first_setpoint_ns: int = NEVER,
        chunks_taken: int = 0,
    ) -> None:
        """One tick, as a :class:`~wall_edge.runtime.telemetry.servo.types.ServoStatus` tells it.

        ``setpoint`` and ``position``: [dof] float64.
        """
        self._tick, self._epoch = tick, epoch
        record = self._pack(  # in the order of the type's fields
            time_ns,
            deadline_ns,
            lateness_ns,
            overrun_ns,
            self._clock() - time_ns,
            self._period_ns,
            self._life,
            tick,
            state,
            epoch,
            chunk_index,
            chunk_observation_ns,
            served_ticks,
            first_tick_ns,
            last_tick_ns,
            touched,
            starved_ticks,
            waiting_ticks,
            overruns,
            skipped,
            bus_cycles,
            bus_errors,
            pickup_ns,
            first_setpoint_ns,
            chunks_taken,
            setpoint.tobytes(),
            position.tobytes(),
        )
        self._append(record)

    def counters(
        self,
        *,
        time_ns: int,
        refused: Iterable[int],
        bus: Iterable[int] | None,
        limits: Iterable[Iterable[int]],
        drives: Iterable[Mapping[str, int]] = (),
        limiter_refused: int = 0,
        limited_cycles: int = 0,
    ) -> None:
        """When they are due, and at last when all is over; in the order of their type.

        ``refused``: ``track.refused.values()``; ``bus``: ``vars(drive.counters).values()``, None for no
        drive; ``drives``: those of each, none before there are any; ``limits``: ``limiter.hits.values()``.
        """
        self.counters_due_ns = time_ns + _COUNTERS_NS
        bus = self._no_bus if bus is None else bus
        self._flat[:] = (
            *(time_ns, self._life, limiter_refused, limited_cycles),
            *refused,
            *bus,
            *chain.from_iterable(each.values() for each in tuple(drives) or self._no_drives),
            *chain.from_iterable(limits),
        )
        self._counters.write(self._counts[0])

    def event(
        self,
        kind: EventKind,
        *,
        time_ns: int | None = None,
        before: int = NEVER,
        after: int = NEVER,
        epoch: int | None = None,
        chunk_index: int = NEVER,
        values: tuple[int, ...] = (),
        name: str = "",
        text: str = "",
    ) -> None:
        """Something that happened, now by default; ``values``: up to four integers.

        ``name`` has 40 bytes of UTF-8, ``text`` 960: what is longer ends with an ellipsis.
        """
        words = encoded(text, TEXT_BYTES) if text else b""
        head = _EVENT.pack(
            self._clock() if time_ns is None else time_ns,
            self._life,
            self._tick,
            kind,
            before,
            after,
            self._epoch if epoch is None else epoch,
            chunk_index,
            *(*values, 0, 0, 0, 0)[:VALUES],
            encoded(name, NAME_BYTES) if name else b"",
        )
        self._events.append(head + words)

    def end(self) -> None:
        """The last word: readers need not wait for more."""
        self.event(EventKind.ENDED)
        self._events.close()
        self._status.close()
