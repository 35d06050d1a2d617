"""What a servo process did, computed by whoever reads its rings, while it lives or after its death."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt

from wall_edge.runtime.ipc.mailbox_types import ServoState
from wall_edge.runtime.telemetry.servo.latency import LatencyRecorder
from wall_edge.runtime.telemetry.servo.latency_batch import record_many, ticker_lateness
from wall_edge.runtime.telemetry.servo.rings import ServoReader, ServoRings
from wall_edge.runtime.telemetry.servo.trace import ServoTrace
from wall_edge.runtime.telemetry.servo.types import EventKind, ServoEvent, counts, drive_counts

Rows = npt.NDArray[Any]

_LATENCIES = ("lateness", "pickup", "first_setpoint")
_FAULT_CHARACTERS, _WORDS_BYTES = 4000, 32 << 10


class ServoSummary:
    """Adds up one servo process's statuses and events in bounded memory; :meth:`as_dict` at any time.

    :meth:`follow` takes what a reader has. Rows come with the number of the last of them, so that what was
    added before is not added twice. ``lost`` statuses and events were overwritten unread: what counts is
    right all the same, as it counts since the start; the latencies miss the lost ones. Of a process that was
    killed, refusals, the bus in detail and the limits are up to a second old.
    """

    def __init__(self, rings: ServoRings) -> None:
        self._rings = rings
        self.life = 0
        """Which process: rows of another are not added."""
        self.ended = False
        """Whether the process said its last word."""
        self.lost = 0
        self.status_sequence = self.event_sequence = 0
        self.fault: str | None = None
        self.trace = ServoTrace(rings.status.dtype)
        self.last: np.void = np.zeros(1, rings.status.dtype)[0]
        """The last status, all zeros before the first; and so the counters."""
        self.counters: np.void = np.zeros(1, rings.counters.dtype)[0]
        self.lateness, self.pickup, self.first_setpoint = (LatencyRecorder() for _ in _LATENCIES)
        self._reason = self._stop_reason = ""
        self._touched = False
        self._changed_ns, self._after = -1, int(ServoState.STARTING)
        self._realtime: dict[str, dict[str, object]] = {}
        self._watchdogs: dict[str, float | None] = {}
        self._watchdog_notes: dict[str, str] = {}
        self._limited_by: dict[str, list[str]] = {}
        self._workspace_stops = 0

    # --- feeding ----------------------------------------------------------------------------------------

    def successor(self, life: int) -> ServoSummary:
        """Of the next process that writes into the same rings, from here on."""
        summary = ServoSummary(self._rings)
        summary.life = life
        summary.status_sequence, summary.event_sequence = self.status_sequence, self.event_sequence
        return summary

    def follow(self, reader: ServoReader) -> None:
        """Adds all that is new to a reader."""
        batches = []
        while len(rows := reader.event.take()):  # first: before its last event a process told its last status
            batches.append((rows, reader.event.sequence))
        while len(rows := reader.status.take()):
            self.add_statuses(rows, reader.status.sequence)
        for rows, sequence in batches:
            self.add_events(rows, sequence)
        self.add_counters(self._rings.counters.read())

    def add_counters(self, row: np.void | None) -> None:
        """The newest; those of another process are left."""
        if row is not None and row["life"] == self.life:
            self.counters = row

    def add_statuses(self, rows: Rows, last_sequence: int) -> None:
        """Rows [n] of :func:`~wall_edge.runtime.telemetry.servo.types.status_dtype`, in order."""
        rows = self._new(rows, last_sequence, "status_sequence")
        if not len(rows):
            return
        period = int(rows["period_ns"][-1])
        record_many(self.lateness, ticker_lateness(rows["lateness_ns"], rows["overrun_ns"], period))
        for recorder, name in ((self.pickup, "pickup_ns"), (self.first_setpoint, "first_setpoint_ns")):
            record_many(recorder, rows[name][rows[name] >= 0])
        self.trace.add(rows)
        self.last = rows[-1:].copy()[0]

    def add_events(self, rows: Rows, last_sequence: int) -> None:
        """Rows [n] of :func:`~wall_edge.runtime.telemetry.servo.types.event_dtype`, in order."""
        for row in self._new(rows, last_sequence, "event_sequence"):
            self._add_event(ServoEvent.of(row))

    def _new(self, rows: Rows, last_sequence: int, cursor: str) -> Rows:
        """Those of this process that were not added before; what is missing between them is counted."""
        before: int = getattr(self, cursor)
        if last_sequence <= before or not len(rows):
            return rows[:0]
        rows = rows[max(0, before + len(rows) - last_sequence) :]
        self.lost += last_sequence - len(rows) - before
        setattr(self, cursor, last_sequence)
        self.life = self.life or int(rows["life"][0])
        ours: Rows = rows[rows["life"] == self.life]
        return ours

    def _add_event(self, event: ServoEvent) -> None:
        if event.kind is EventKind.STATE:
            self._reason, self._changed_ns, self._after = event.text, event.time_ns, event.after
            if event.after == ServoState.STOPPING:
                self._stop_reason = event.text
        elif event.kind is EventKind.FAULT:
            fault = event.text if self.fault is None else f"{self.fault}; then: {event.text}"
            self.fault = fault[:_FAULT_CHARACTERS]
        elif event.kind is EventKind.REALTIME:
            granted = bool(event.values[0])
            self._realtime[event.name] = {"name": event.name, "granted": granted, "detail": event.text}
        elif event.kind is EventKind.WATCHDOG:
            microseconds = event.values[0]
            self._watchdogs[event.name] = microseconds / 1e6 if microseconds >= 0 else None
            self._watchdog_notes[event.name] = event.text
        elif event.kind is EventKind.LIMITER:
            self._limited_by.setdefault(event.name, []).append(event.text)
        elif event.kind is EventKind.WORKSPACE:
            self._workspace_stops += 1
        elif event.kind is EventKind.TORQUE_ON:
            self._touched = True
        elif event.kind is EventKind.ENDED:
            self.ended = True

    # --- reading ----------------------------------------------------------------------------------------

    @property
    def state(self) -> ServoState:
        """The last known."""
        newer = self._changed_ns > self.last["time_ns"]
        return ServoState(self._after if newer else int(self.last["state"]))

    @property
    def reason(self) -> str:
        """Why the arm stopped: what sent it to rest, not that it came there."""
        return self._stop_reason or self._reason

    @property
    def touched(self) -> bool:
        """Whether torque was, or may have been, switched on by the process."""
        return self._touched or bool(self.last["touched"])

    def as_dict(self, trace: bool = True) -> dict[str, Any]:
        """Plain data, but for ``trace`` (name → array, see :meth:`ServoTrace.columns`)."""
        last = self.last
        ticks, seconds = int(last["served_ticks"]), float(last["last_tick_ns"] - last["first_tick_ns"]) / 1e9
        return {
            "state": self.state.name,
            "fault": self.fault or self._lost_fault(),
            "reason": self.reason,
            "touched": self.touched,
            "ticks": ticks,
            "seconds": seconds,
            "rate_hz": (ticks - 1) / seconds if seconds > 0 else 0.0,
            "lateness_us": self.lateness.summary_us(),
            "starved_ticks": int(last["starved_ticks"]),
            "waiting_ticks": int(last["waiting_ticks"]),
            "pickup_us": self.pickup.summary_us(),
            "first_setpoint_us": self.first_setpoint.summary_us(),
            "overruns": int(last["overruns"]),
            "skipped": int(last["skipped"]),
            "chunks": {"taken": int(last["chunks_taken"]), "refused": counts(self.counters["refused"])},
            "bus": self._bus(seconds),
            "limiter": {**self._limits(), "refused": int(self.counters["limiter_refused"])},
            "workspace": {"stops": self._workspace_stops},
            "realtime": self._realtime,
            **({"trace": self.trace.columns()} if trace else {}),
        }

    def _lost_fault(self) -> str | None:
        """Of a process whose state says that it faulted, though the ring has lost why."""
        lost = self.state is ServoState.FAULT
        return "a fault, of which telemetry lost the reason (see the latch)" if lost else None

    def _bus(self, seconds: float) -> dict[str, object]:
        detail = counts(self.counters["bus"])
        has_drive = self.counters["life"] and min(detail.values(), default=0) >= 0
        return {
            "cycles_hz": (int(self.last["bus_cycles"]) - 1) / seconds if seconds > 0 else 0.0,
            "errors": int(self.last["bus_errors"]),
            "detail": detail if has_drive else {},
            "drives": self.drives(),
            "limited_cycles": int(self.counters["limited_cycles"]),
            "limited_by": self._limited_by,
        }

    def drives(self) -> dict[str, dict[str, object]]:
        """By name: the kind, the watchdog's time [s] or why it has none, and each counter that is not 0."""
        told = drive_counts(self.counters)
        return {
            name: {
                "kind": kind,
                **({"watchdog_s": self._watchdogs[name]} if name in self._watchdogs else {}),
                **({"watchdog_note": note} if (note := self._watchdog_notes.get(name)) else {}),
                **{counter: count for counter, count in told.get(name, {}).items() if count > 0},
            }
            for name, kind in self._rings.kinds.items()
        }

    def _limits(self) -> dict[str, object]:
        limits = self.counters["limits"]
        return {name: limits[name].tolist() for name in limits.dtype.names or ()}

    # --- a reader that takes over from a dead one ---------------------------------------------------------

    def checkpoint(self) -> np.void:
        """All but the trace as one record of :func:`checkpoint_dtype`: another process can go on from it."""
        row = np.zeros(1, checkpoint_dtype(self._rings))
        row["last"], row["counters"] = self.last, self.counters
        for name in _LATENCIES:
            recorder: LatencyRecorder = getattr(self, name)
            row[name], row[f"{name}_max_ns"] = recorder.counts, recorder.max_ns
        words = self._words(_FAULT_CHARACTERS)
        if len(words) > _WORDS_BYTES:  # JSON spells a control character in six
            words = self._words(_FAULT_CHARACTERS // 8)
        row["length"], row["words"][0, : len(words)] = len(words), np.frombuffer(words, np.uint8)
        record: np.void = row[0]
        return record

    def _words(self, longest: int) -> bytes:
        """What is no number, as JSON; no text of more than ``longest`` characters."""
        words = {name: getattr(self, name) for name in _WORDS}
        short = {name: text[:longest] if isinstance(text, str) else text for name, text in words.items()}
        return json.dumps(short, ensure_ascii=False).encode("utf-8", "replace")

    def restore(self, record: np.void) -> None:
        """Goes on from a checkpoint."""
        self.last, self.counters = record["last"].copy(), record["counters"].copy()
        for name in _LATENCIES:
            recorder: LatencyRecorder = getattr(self, name)
            recorder.counts[:] = record[name]
            recorder.count, recorder.max_ns = int(recorder.counts.sum()), int(record[f"{name}_max_ns"])
        words = record["words"][: int(record["length"])].tobytes()
        vars(self).update(json.loads(words))


_WORDS = (
    "life",
    "ended",
    "lost",
    "status_sequence",
    "event_sequence",
    "fault",
    "_reason",
    "_stop_reason",
    "_touched",
    "_changed_ns",
    "_after",
    "_realtime",
    "_watchdogs",
    "_watchdog_notes",
    "_limited_by",
    "_workspace_stops",
)


def checkpoint_dtype(rings: ServoRings) -> np.dtype[Any]:
    """Of a summary of what comes through ``rings``: fixed size, for a mailbox."""
    bins = len(LatencyRecorder().counts)
    return np.dtype(
        [
            ("last", rings.status.dtype),
            ("counters", rings.counters.dtype),
            *((name, np.int64, (bins,)) for name in _LATENCIES),
            *((f"{name}_max_ns", np.int64) for name in _LATENCIES),
            ("length", np.int64),
            ("words", np.uint8, (_WORDS_BYTES,)),
        ]
    )
