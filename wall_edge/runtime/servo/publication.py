"""What leaves the servo loop while it runs: the feedback record, and telemetry where it is asked for.

Nothing here waits for a reader.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Mapping

from wall_edge.runtime.ipc.mailbox import Mailbox
from wall_edge.runtime.ipc.mailbox_types import Chunk, ServoState
from wall_edge.runtime.servo.joints import Joints
from wall_edge.runtime.servo.pilot import Pilot
from wall_edge.runtime.servo.states import StateMachine, Transition
from wall_edge.runtime.servo.timing import Ticker
from wall_edge.runtime.telemetry.servo.telemetry import ServoTelemetry
from wall_edge.runtime.telemetry.servo.types import NEVER, EventKind

_TROUBLES_NS = 100_000_000


class Publication:
    """Sees the parts of one loop; ``telemetry`` None tells nobody but those who read the feedback record."""

    def __init__(
        self,
        feedback: Mailbox,
        telemetry: ServoTelemetry | None,
        machine: StateMachine,
        joints: Joints,
        ticker: Ticker,
        pilot: Pilot,
    ) -> None:
        self._feedback, self._telemetry = feedback, telemetry
        self._machine, self._joints, self._ticker, self._pilot = machine, joints, ticker, pilot
        angles = feedback.dtype["position"].itemsize
        self._packed = struct.Struct(f"={(feedback.dtype.itemsize - 2 * angles) // 8}q{angles}s{angles}s")
        self._first_tick_ns = self._last_tick_ns = 0
        self._bus_errors = self._overruns = self._skipped = 0
        self._troubles_ns = -_TROUBLES_NS
        if telemetry is not None:
            joints.readings.on_limiter = self._limiter
            machine.on_transition, machine.on_fault = self._transition, self._fault
            pilot.on_epoch, pilot.on_chunk, pilot.on_leave = self._epoch, self._chunk, self._leave

    def moment(self, now: int, *, touched: bool, served_ticks: int) -> None:
        """Before the first tick, after the last, or between them: ``now`` [ns] is no tick's begin."""
        self._publish(now, touched, served_ticks, first_setpoint_ns=-1, ticked=False)

    def tick(self, now: int, *, touched: bool, served_ticks: int, first_setpoint_ns: int = -1) -> None:
        """A tick that began at ``now`` [ns]; ``first_setpoint_ns``: from the publication of the chunk that it
        took until its setpoint had gone out."""
        self._publish(now, touched, served_ticks, first_setpoint_ns, ticked=True)

    def served(self, now: int) -> None:
        """A tick that reads and writes begins."""
        self._first_tick_ns, self._last_tick_ns = self._first_tick_ns or now, now

    def watchdogs(self, armed: Mapping[str, float | None], notes: Mapping[str, str]) -> None:
        """By the drive's name, after what time without setpoints its motors stop [s]; None for never.

        ``notes``: why never.
        """
        for name, seconds in armed.items():
            microseconds = NEVER if seconds is None else round(1e6 * seconds)
            self._tell(EventKind.WATCHDOG, name=name, values=(microseconds,), text=notes.get(name, ""))

    def torque_on(self) -> None:
        """Asked for: from now on it may be on."""
        self._tell(EventKind.TORQUE_ON)

    def torque_off(self, attempt: int, trouble: str) -> None:
        """Tried."""
        self._tell(EventKind.TORQUE_OFF, values=(attempt,), text=trouble)

    def _publish(
        self, now: int, touched: bool, served_ticks: int, first_setpoint_ns: int, *, ticked: bool
    ) -> None:
        chunk = self._pilot.track.chunk if self._machine.state is ServoState.FOLLOWING else None
        self._feed_back(now, chunk)
        with contextlib.suppress(Exception):  # no trouble with telemetry may take the arm down
            self._tell_status(now, chunk, touched, served_ticks, first_setpoint_ns, ticked=ticked)

    def _tell_status(
        self,
        now: int,
        chunk: Chunk | None,
        touched: bool,
        served_ticks: int,
        first_setpoint_ns: int,
        *,
        ticked: bool,
    ) -> None:
        if self._telemetry is None:
            return
        ticker, pilot, drive = self._ticker, self._pilot, self._joints.drive
        self._tell_troubles(now, final=not ticked)
        self._telemetry.status(
            time_ns=now,
            tick=ticker.ticks,
            state=self._machine.state,
            epoch=pilot.epoch,
            setpoint=pilot.limiter.position,
            position=self._joints.position,
            deadline_ns=ticker.deadline_ns if ticked else -1,
            lateness_ns=max(0, now - ticker.deadline_ns) if ticked else -1,
            overrun_ns=ticker.overrun_ns if ticked else -1,
            chunk_index=-1 if chunk is None else chunk.index,
            chunk_observation_ns=0 if chunk is None else chunk.observation_time_ns,
            served_ticks=served_ticks,
            first_tick_ns=self._first_tick_ns,
            last_tick_ns=self._last_tick_ns,
            touched=touched,
            starved_ticks=pilot.starved_ticks,
            waiting_ticks=pilot.waiting_ticks,
            overruns=ticker.overruns,
            skipped=ticker.skipped,
            bus_cycles=self._joints.cycles,
            bus_errors=0 if drive is None else drive.errors,
            pickup_ns=pilot.pickup_ns if ticked else -1,
            first_setpoint_ns=first_setpoint_ns,
            chunks_taken=pilot.track.taken,
        )
        if not ticked or now >= self._telemetry.counters_due_ns:
            self._telemetry.counters(
                time_ns=now,
                refused=pilot.track.refused.values(),
                bus=None if drive is None else vars(drive.counters).values(),
                drives=() if drive is None else (vars(each.counters) for each in drive.drives.values()),
                limits=pilot.limiter.hits.values(),
                limiter_refused=pilot.limiter.refused,
                limited_cycles=self._joints.readings.limited,
            )

    def _tell_troubles(self, now: int, *, final: bool) -> None:
        """Bus errors and overruns, summed up over a tenth of a second: a bad bus must not fill the log."""
        if now - self._troubles_ns < _TROUBLES_NS and not final:
            return
        ticker, drive = self._ticker, self._joints.drive
        errors = 0 if drive is None else drive.errors
        if errors != self._bus_errors:
            self._tell(EventKind.BUS_ERROR, values=(errors, errors - self._bus_errors))
        if ticker.overruns != self._overruns:
            skipped = ticker.skipped - self._skipped
            self._tell(EventKind.OVERRUN, values=(ticker.overruns - self._overruns, skipped))
        if (errors, ticker.overruns) != (self._bus_errors, self._overruns):
            self._troubles_ns = now
        self._bus_errors, self._overruns, self._skipped = errors, ticker.overruns, ticker.skipped

    def _feed_back(self, now: int, chunk: Chunk | None) -> None:
        joints, track = self._joints, self._pilot.track
        self._feedback.write_bytes(
            self._packed.pack(  # in the order of feedback_dtype's fields
                now,
                joints.measured_ns,
                self._ticker.ticks,
                self._machine.state,
                self._pilot.epoch,
                -1 if chunk is None else chunk.index,
                track.last_index,
                track.plan_ns,
                joints.position.tobytes(),
                self._pilot.limiter.position.tobytes(),
            )
        )

    def _transition(self, change: Transition) -> None:
        before, after = change.before, change.after
        self._tell(EventKind.STATE, time_ns=change.time_ns, before=before, after=after, text=change.reason)

    def _fault(self, reason: str) -> None:
        self._tell(EventKind.FAULT, text=reason)

    def _limiter(self, joint: str, limiter: str) -> None:
        self._tell(EventKind.LIMITER, name=joint, text=limiter)

    def _epoch(self, epoch: int) -> None:
        self._tell(EventKind.EPOCH, epoch=epoch)

    def _chunk(self, index: int, refusal: str | None) -> None:
        if refusal is not None:  # of one that was taken, the status of the tick says so
            self._tell(EventKind.CHUNK_REFUSED, chunk_index=index, name=refusal)

    def _leave(self, who: str, how: str) -> None:
        self._tell(EventKind.WORKSPACE, name=who, text=how)

    def _tell(self, kind: EventKind, **fields: object) -> None:
        if self._telemetry is not None:
            with contextlib.suppress(Exception):  # no trouble with telemetry may keep the torque on
                self._telemetry.event(kind, **fields)  # type: ignore[arg-type]
