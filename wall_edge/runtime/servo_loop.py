"""The servo loop: each tick reads the joints, asks the chunk what is due, limits it and writes it.

Nothing here logs, prints, locks or waits for another process; what happened is counted and told at the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from wall_edge_bridge.drives import Drive

from wall_edge.config import RobotConfig
from wall_edge.errors import WallEdgeError
from wall_edge.runtime.joints import Joints
from wall_edge.runtime.limits import Limiter
from wall_edge.runtime.records import Wanted, feedback_dtype
from wall_edge.runtime.schedule import Chunk, ChunkTrack
from wall_edge.runtime.shared import SharedRecord
from wall_edge.runtime.states import Event, State, StateMachine
from wall_edge.runtime.timing import Ticker, sleep_until
from wall_edge.runtime.trace import Trace

__all__ = ["ServoLoop"]

Floats = npt.NDArray[np.float64]

HEARTBEAT_TIMEOUT_NS = 1_000_000_000
"""A supervisor silent for longer is dead: the arm goes to rest by itself."""
SETTLE_NS = 1_000_000_000
"""How long the joints may trail behind ``rest`` before torque goes off anyway."""
SETTLED_RAD = 0.05
FAULT_HOLD_NS = 1_000_000_000
"""How long a faulted arm is held, so that a person sees it stop before it goes limp."""


class ServoLoop:
    """One arm from STARTING to RELEASED or FAULT (:mod:`wall_edge.runtime.states`).

    ``open_drive`` is called in :meth:`run`, so that a missing port is a fault like any other. ``clock`` and
    ``sleep`` (to an absolute time) are CLOCK_MONOTONIC ns. ``stop_requested`` is asked every tick.
    """

    def __init__(
        self,
        config: RobotConfig,
        open_drive: Callable[[], Drive],
        chunks: SharedRecord,
        command: SharedRecord,
        feedback: SharedRecord,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[int], None] = sleep_until,
        stop_requested: Callable[[], bool] = lambda: False,
    ) -> None:
        control, dof = config.control, config.dof
        self._clock, self._stop_requested = clock, stop_requested
        self._chunks, self._command, self._feedback = chunks.reader(), command.reader(), feedback
        self.machine = StateMachine(clock)
        self.joints = Joints(config, open_drive, clock)
        self.ticker = Ticker(round(1e9 / control.rate_hz), clock, sleep)
        self.track = ChunkTrack(dof, round(config.policy.max_chunk_age_ms * 1e6))
        velocity = config.per_joint(lambda joint: joint.max_velocity)
        self.limiter = Limiter(self.joints.lower, self.joints.upper, velocity, 1.0 / control.rate_hz)
        self.trace = Trace(dof, control.rate_hz)
        self.starved_ticks = 0
        """Wanted to follow, but the newest chunk of the epoch had run out."""
        self.waiting_ticks = 0
        """Wanted to follow, but the epoch had no chunk yet."""
        self.first_tick_ns = self.last_tick_ns = self.served_ticks = 0
        self._wanted, self._epoch, self._heartbeat_ns = int(Wanted.HOLD), -1, clock()
        self._rest, self._rest_step = np.array(control.rest), control.rest_velocity / control.rate_hz
        self._rested_ns = 0
        self._at_rest = False
        self._setpoint: Floats = np.zeros(dof)
        self._record: np.void = np.zeros(1, feedback_dtype(dof))[0]

    @property
    def state(self) -> State:
        return self.machine.state

    # --- the life of the arm ----------------------------------------------------------------------------

    def run(self) -> None:
        """Until RELEASED or FAULT. Whatever happens, torque-off is tried last. Only bugs raise."""
        try:
            self._start()
            while self.state in (State.HOLDING, State.FOLLOWING, State.STOPPING) and not self._at_rest:
                self.tick(self.ticker.wait())
            if self.state is State.FAULT:
                self._hold_after_fault()
        except Exception as bug:
            self.machine.fail(f"bug in the servo loop: {bug!r}")
            raise
        finally:
            self._release()
            self._publish(self._clock())
            self.joints.close()

    def _start(self) -> None:
        try:
            self._publish(self._clock())
            self.joints.open()
            self._take_command()
            if reason := self._reason_to_stop(self._clock()):
                self.machine.go(Event.STOP, reason)
                return
            self.limiter.reset(np.clip(self.joints.position, self.joints.lower, self.joints.upper))
            self._setpoint[:] = self.limiter.previous
            self.joints.enable()
            self.machine.go(Event.READY)
        except (WallEdgeError, OSError) as error:
            self.machine.fail(str(error))

    def _hold_after_fault(self) -> None:
        """Repeats the last setpoint for as long as the bus takes it; feedback no longer matters."""
        until = self._clock() + FAULT_HOLD_NS
        while self.joints.enabled and self._clock() < until and not self._stop_requested():
            now = self.ticker.wait()
            try:
                self.joints.write(self._setpoint, now)
            except (WallEdgeError, OSError):
                return
            self._publish(now)

    def _release(self) -> None:
        try:
            self.joints.disable()
            if self._at_rest and self.state is State.STOPPING:
                self.machine.go(Event.AT_REST)
        except (WallEdgeError, OSError) as error:
            self.machine.fail(f"torque may still be on: {error}")

    # --- one tick ---------------------------------------------------------------------------------------

    def tick(self, now: int) -> None:
        """One cycle, begun at ``now`` [ns]."""
        self.first_tick_ns, self.last_tick_ns = self.first_tick_ns or now, now
        self.served_ticks += 1
        try:
            self.joints.read(now)
            self._take_command()
            self._setpoint[:] = self.limiter.limit(self._decide(now))
            self.joints.write(self._setpoint, now)
        except WallEdgeError as error:
            self.machine.fail(str(error))
        self._publish(now)

    def _take_command(self) -> None:
        command, new_epoch = self._command.newer(), False
        if command is not None:
            self._wanted, self._heartbeat_ns = int(command["wanted"]), int(command["heartbeat_ns"])
            new_epoch = int(command["epoch"]) != self._epoch
            self._epoch = int(command["epoch"])
        if new_epoch:
            self.track.start_epoch(self._epoch)
        # A chunk of the new epoch may have been read, and refused, before the command that announced it.
        record = self._chunks.latest() if new_epoch else self._chunks.newer()
        if record is not None:
            self.track.offer(Chunk.of(record), self._clock())

    def _reason_to_stop(self, now: int) -> str:
        if self._stop_requested():
            return "signal"
        if self._wanted == Wanted.STOP:
            return "command"
        return "supervisor silent" if now - self._heartbeat_ns > HEARTBEAT_TIMEOUT_NS else ""

    def _decide(self, now: int) -> Floats:
        """Moves along the state table and returns where the joints should be, before limits."""
        if self.state is not State.STOPPING and (reason := self._reason_to_stop(now)):
            self.machine.go(Event.STOP, reason)
        if self.state is State.STOPPING:
            return self._toward_rest(now)
        due, status = self.track.setpoint(now)
        follow = self._wanted == Wanted.FOLLOW
        if follow and status in ("early", "following"):
            if self.state is State.HOLDING:
                self.machine.go(Event.CHUNK)
            return due
        self.starved_ticks += follow and status == "ended"
        self.waiting_ticks += follow and status == "empty"
        if self.state is State.FOLLOWING:
            self.machine.go(Event.RUN_OUT if follow else Event.HOLD, f"chunk {status}" if follow else "")
        return self._setpoint

    def _toward_rest(self, now: int) -> Floats:
        if np.array_equal(self._setpoint, self._rest):
            self._rested_ns = self._rested_ns or now
            settled = float(np.abs(self.joints.position - self._rest).max()) <= SETTLED_RAD
            self._at_rest = settled or now - self._rested_ns > SETTLE_NS
        step: Floats = np.clip(self._rest - self._setpoint, -self._rest_step, self._rest_step)
        near = np.abs(self._rest - self._setpoint) <= self._rest_step  # exactly there, not a rounding away
        return np.where(near, self._rest, self._setpoint + step)

    def _publish(self, now: int) -> None:
        chunk = self.track.chunk if self.state is State.FOLLOWING else None
        index, observed = (chunk.index, chunk.observation_time_ns) if chunk is not None else (-1, 0)
        record, joints = self._record, self.joints
        record["time_ns"], record["measured_ns"], record["tick"] = now, joints.measured_ns, self.ticker.ticks
        record["state"], record["epoch"], record["chunk_index"] = self.state, self._epoch, index
        record["position"], record["setpoint"] = joints.position, self._setpoint
        self._feedback.write(record)
        if self.ticker.ticks % self.trace.every == 0:
            self.trace.add(now, self.state, self._epoch, (index, observed), self._setpoint, joints.position)
