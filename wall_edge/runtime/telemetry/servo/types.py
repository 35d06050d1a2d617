"""What the servo process tells: a status each tick, counters each second, an event when something happens.

Times are CLOCK_MONOTONIC nanoseconds. Whatever counts is int64 and counts since the process began, so that a
reader who missed some still knows how many there were. The names of counters (refusals, the bus, the limits)
are those of the objects that count: the types say them all, and a reader needs nothing else.

The counters are apart from the status because they are half of all numbers and nobody needs them by the tick:
packing and summing them in every one of 500 ticks a second took as long as all the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

NAME_BYTES, TEXT_BYTES, VALUES = 40, 960, 4
NEVER = -1
"""Of a time that did not come about, or an index of nothing."""


class EventKind(IntEnum):
    """What happened; the words say which fields of a :class:`ServoEvent` tell of it."""

    STARTED = 0
    """``values``: process id."""
    REALTIME = 1
    """A setting asked of the kernel: ``name``, granted or not (``values``), ``text``."""
    STATE = 2
    """From ``before`` to ``after``; ``text``: why."""
    FAULT = 3
    """``text``; a further one adds to those before."""
    EPOCH = 4
    """``epoch`` begins."""
    CHUNK_REFUSED = 5
    """``chunk_index``; ``name``: why."""
    OVERRUN = 6
    """``values``: how many since the last such event, and how many ticks were left out."""
    BUS_ERROR = 7
    """``values``: errors counted until now, and how many of them since the last such event."""
    TORQUE_ON = 8
    """Asked for: from now on it may be on by our doing."""
    TORQUE_OFF = 9
    """Tried; ``values``: which try; ``text``: what went wrong, empty for nothing."""
    ENDED = 10
    """The last: nothing follows."""
    WATCHDOG = 11
    """Of the drive ``name``: after what time without setpoints its motors stop [µs] (``values``), -1 for
    never; ``text``: why never."""
    LIMITER = 12
    """The motor of joint ``name`` bounds itself, by the limiter ``text``: told once, and no fault."""
    WORKSPACE = 13
    """The arm brakes, as ``name`` (a pose) leaves its workspace; ``text``: how. A fault follows."""


def status_dtype(dof: int) -> np.dtype[Any]:
    """A :class:`ServoStatus` of ``dof`` joints; every field has eight bytes, integers first."""
    return np.dtype(
        [
            *((name, np.int64) for name in INTEGERS),
            ("setpoint", np.float64, (dof,)),
            ("position", np.float64, (dof,)),
        ]
    )


def counters_dtype(
    dof: int,
    refusals: Sequence[str],
    bus_counters: Sequence[str],
    limits: Sequence[str],
    drives: Sequence[str] = (),
) -> np.dtype[Any]:
    """A :class:`ServoCounters`: why chunks are refused, what is counted on all buses together and on that of
    each of ``drives``, the limiter's bounds."""
    each = [(name, [(counter, np.int64) for counter in bus_counters]) for name in drives]
    return np.dtype(
        [
            *((name, np.int64) for name in COUNTER_INTEGERS),
            ("refused", [(name, np.int64) for name in refusals]),
            ("bus", [(name, np.int64) for name in bus_counters]),
            *([("drives", each)] if each else []),
            ("limits", [(name, np.int64, (dof,)) for name in limits]),
        ]
    )


def event_dtype() -> np.dtype[Any]:
    """A :class:`ServoEvent`; ``name`` and ``text`` are UTF-8, padded with zeros."""
    return np.dtype(
        [
            *((name, np.int64) for name in EVENT_INTEGERS),
            ("values", np.int64, (VALUES,)),
            ("name", f"S{NAME_BYTES}"),
            ("text", f"S{TEXT_BYTES}"),
        ]
    )


@dataclass(frozen=True)
class ServoStatus:
    """One tick, or one of the moments before the first and after the last (``lateness_ns`` is -1 then)."""

    time_ns: int
    """When the tick began."""
    deadline_ns: int
    """When it was due."""
    lateness_ns: int
    """From when it was due until it began."""
    overrun_ns: int
    """How far the work before it ran past the next deadline; -1 for not."""
    work_ns: int
    """From when it began until this was told."""
    period_ns: int
    life: int
    """Which servo process: 1 is the first that wrote into the ring."""
    tick: int
    """Of the ticker, from 1 on; braking ticks count."""
    state: int
    """A :class:`wall_edge.runtime.ipc.mailbox_types.ServoState`."""
    epoch: int
    chunk_index: int
    """The chunk followed; -1 for none."""
    chunk_observation_ns: int
    """When it was observed; 0 for none."""
    served_ticks: int
    """Ticks that read the joints and wrote a setpoint, or tried to."""
    first_tick_ns: int
    last_tick_ns: int
    touched: int
    """Whether torque was, or may have been, switched on by this process."""
    starved_ticks: int
    """Wanted to follow, but the newest chunk had run out."""
    waiting_ticks: int
    """Wanted to follow, but the epoch had no chunk yet."""
    overruns: int
    skipped: int
    """Ticks that never ran."""
    bus_cycles: int
    bus_errors: int
    pickup_ns: int
    """From a chunk's publication until this tick took it; -1 for no chunk taken."""
    first_setpoint_ns: int
    """From a chunk's publication until this tick's setpoint had gone out; -1 for no chunk taken."""
    chunks_taken: int
    setpoint: npt.NDArray[np.float64]
    """[dof] rad, last sent."""
    position: npt.NDArray[np.float64]
    """[dof] rad, last measured."""

    @classmethod
    def of(cls, row: np.void) -> ServoStatus:
        """A copy of a row of :func:`status_dtype`."""
        plain: dict[str, Any] = {name: int(row[name]) for name in INTEGERS}
        return cls(**plain, setpoint=row["setpoint"].copy(), position=row["position"].copy())


@dataclass(frozen=True)
class ServoCounters:
    """What was counted until ``time_ns``: told once a second, and when the arm is released."""

    time_ns: int
    life: int
    limiter_refused: int
    """References that were not finite."""
    limited_cycles: int
    """Cycles in which a motor bounded itself."""
    refused: Mapping[str, int]
    """Chunks refused, by reason."""
    bus: Mapping[str, int]
    """What happened on all buses together; -1 before there was one."""
    drives: Mapping[str, Mapping[str, int]]
    """The same on each, by the drive's name."""
    limits: Mapping[str, Sequence[int]]
    """[dof] how often each bound acted."""

    @classmethod
    def of(cls, row: np.void) -> ServoCounters:
        """A copy of a row of :func:`counters_dtype`."""
        limits = row["limits"]
        plain: dict[str, Any] = {name: int(row[name]) for name in COUNTER_INTEGERS}
        by_joint = {name: limits[name].tolist() for name in limits.dtype.names or ()}
        return cls(
            **plain,
            refused=counts(row["refused"]),
            bus=counts(row["bus"]),
            drives=drive_counts(row),
            limits=by_joint,
        )


@dataclass(frozen=True)
class ServoEvent:
    """Something that happened at ``time_ns``; :class:`EventKind` says what each kind tells beside that."""

    time_ns: int
    life: int
    tick: int
    kind: EventKind
    before: int
    after: int
    """States: a :class:`wall_edge.runtime.ipc.mailbox_types.ServoState`; -1 where there is no change."""
    epoch: int
    chunk_index: int
    values: tuple[int, ...]
    name: str
    text: str

    @classmethod
    def of(cls, row: np.void) -> ServoEvent:
        """A copy of a row of :func:`event_dtype`."""
        plain: dict[str, Any] = {name: int(row[name]) for name in EVENT_INTEGERS}
        return cls(
            **{**plain, "kind": EventKind(plain["kind"])},
            values=tuple(row["values"].tolist()),
            name=decoded(row["name"]),
            text=decoded(row["text"]),
        )


INTEGERS = tuple(field.name for field in fields(ServoStatus))[:-2]
"""The fields of a status that are one integer each, in order."""
COUNTER_INTEGERS = tuple(field.name for field in fields(ServoCounters))[:-4]
EVENT_INTEGERS = tuple(field.name for field in fields(ServoEvent))[:-3]


def counts(row: np.void) -> dict[str, int]:
    """Name → count, of a part of a status."""
    return {name: int(row[name]) for name in row.dtype.names or ()}


def drive_counts(row: np.void) -> dict[str, dict[str, int]]:
    """Of each drive, of a row of :func:`counters_dtype`."""
    if "drives" not in (row.dtype.names or ()):
        return {}
    return {name: counts(row["drives"][name]) for name in row["drives"].dtype.names or ()}


def encoded(text: str, size: int) -> bytes:
    """UTF-8 of at most ``size`` bytes, cut between characters and ended by … when there is more."""
    raw = text.encode("utf-8", "backslashreplace")
    if len(raw) <= size:
        return raw
    return raw[: size - 3].decode("utf-8", "ignore").encode() + "…".encode()


def decoded(raw: bytes) -> str:
    """The text of a field that was filled with :func:`encoded`."""
    return raw.decode("utf-8", "replace")


def statuses(rows: npt.NDArray[Any]) -> Iterator[ServoStatus]:
    """Typed, of what a ring's reader took."""
    return (ServoStatus.of(row) for row in rows)


def events(rows: npt.NDArray[Any]) -> Iterator[ServoEvent]:
    """Typed, of what a ring's reader took."""
    return (ServoEvent.of(row) for row in rows)
