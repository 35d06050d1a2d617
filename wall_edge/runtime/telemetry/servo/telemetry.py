"""The servo process's voice: a status each tick, an event when something happens, never a wait."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable, Mapping, Sequence

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

_EVENT = struct.Struct(f"={len(EVENT_INTEGERS) + VALUES}q{NAME_BYTES}s{TEXT_BYTES}s")


class ServoTelemetry:
    """Writes both rings; for one thread. ``clock`` is CLOCK_MONOTONIC ns, ``period_ns`` a tick's.

    A status is packed into memory that exists, and copied into its slot: no lock, no system call. What it
    costs a tick: ``benchmarks/telemetry_cost.py``.
    """

    def __init__(
        self, rings: ServoRings, period_ns: int, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._rings, self._period_ns, self._clock = rings, period_ns, clock
        dtype = rings.status.dtype
        self._staging = bytearray(dtype.itemsize)
        rows = np.frombuffer(self._staging, dtype)
        self._setpoint, self._position = rows["setpoint"][0], rows["position"][0]
        floats = self._setpoint.nbytes + self._position.nbytes
        self._struct = struct.Struct(f"={(dtype.itemsize - floats) // 8}q")
        self._no_bus = (NEVER,) * len(dtype["bus"].names or ())
        self._limits = dtype["limits"].names or ()
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
        limiter_refused: int = 0,
        refused: Sequence[int],
        bus: Sequence[int] | None,
        limits: Mapping[str, Sequence[int]],
    ) -> None:
        """One tick, as a :class:`~wall_edge.runtime.telemetry.servo.types.ServoStatus` tells it.

        ``refused`` and ``bus`` in the order of the ring's type (``tuple(track.refused.values())``,
        ``tuple(vars(drive.counters).values())``; None for no drive); ``limits``: the limiter's ``hits``.
        """
        self._tick, self._epoch = tick, epoch
        by_joint = [count for name in self._limits for count in limits[name]]
        self._struct.pack_into(  # in the order of the type's fields
            self._staging,
            0,
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
            limiter_refused,
            *refused,
            *(self._no_bus if bus is None else bus),
            *by_joint,
        )
        self._setpoint[:], self._position[:] = setpoint, position
        self._rings.status.write_bytes(self._staging)

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
        self._rings.events.write_bytes(
            _EVENT.pack(
                self._clock() if time_ns is None else time_ns,
                self._life,
                self._tick,
                kind,
                before,
                after,
                self._epoch if epoch is None else epoch,
                chunk_index,
                *(*values, 0, 0, 0, 0)[:VALUES],
                encoded(name, NAME_BYTES),
                encoded(text, TEXT_BYTES),
            )
        )

    def end(self) -> None:
        """The last word: readers need not wait for more."""
        self.event(EventKind.ENDED)
        self._rings.events.close()
        self._rings.status.close()
