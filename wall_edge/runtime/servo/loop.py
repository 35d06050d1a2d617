"""The servo loop: each tick reads the joints, asks the chunk what is due, limits it and writes it.

Nothing here logs, prints, locks or waits for another process; what happened is counted and told at the end.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from wall_edge_bridge.drives import Drive

from wall_edge.config import RobotConfig
from wall_edge.errors import RuntimeFault, WallEdgeError
from wall_edge.runtime.ipc.mailbox import Mailbox
from wall_edge.runtime.ipc.mailbox_types import Chunk, ServoCommand, feedback_dtype
from wall_edge.runtime.motion.chunk_track import ChunkTrack
from wall_edge.runtime.motion.limits import Limiter
from wall_edge.runtime.servo.homing import Homing
from wall_edge.runtime.servo.joints import Joints
from wall_edge.runtime.servo.states import Event, ServoState, StateMachine
from wall_edge.runtime.servo.timing import LatencyRecorder, Ticker, sleep_until
from wall_edge.runtime.servo.trace import Trace

Floats = npt.NDArray[np.float64]

_MOVING = (ServoState.HOLDING, ServoState.FOLLOWING, ServoState.SLOWING, ServoState.STOPPING)
_REHEARSALS = 16
_RELEASE_NS, _RETRY_NS = 5_000_000_000, 100_000_000
"""How long torque-off is tried, and how often: a USB adapter may be away for a moment."""


class ServoLoop:
    """One arm from STARTING to RELEASED or FAULT (:mod:`wall_edge.runtime.servo.states`).

    ``open_drive`` is called in :meth:`run`, so that a missing port is a fault like any other. ``clock`` and
    ``sleep`` (to an absolute time) are CLOCK_MONOTONIC ns. ``stop_requested`` and ``emergency_requested`` are
    asked every tick.
    """

    def __init__(
        self,
        config: RobotConfig,
        open_drive: Callable[[], Drive],
        chunks: Mailbox,
        command: Mailbox,
        feedback: Mailbox,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[int], None] = sleep_until,
        stop_requested: Callable[[], bool] = lambda: False,
        emergency_requested: Callable[[], bool] = lambda: False,
    ) -> None:
        control, dof = config.control, config.dof
        self._control, self._clock, self._stop_requested = control, clock, stop_requested
        self._emergency_requested, self._open_drive, self._sleep = emergency_requested, open_drive, sleep
        self._chunks, self._command, self._feedback = chunks.reader(), command.reader(), feedback
        self.machine = StateMachine(clock)
        self.joints = Joints(config, open_drive, clock)
        self.ticker = Ticker(round(1e9 / control.rate_hz), clock, sleep)
        self.track = ChunkTrack(
            self.joints.lower,
            self.joints.upper,
            period_ns=self.ticker.period_ns,
            max_age_ns=round(config.policy.max_chunk_age_ms * 1e6),
            blend_ns=round(control.blend_ms * 1e6),
        )
        self._bounds = config.bounds()
        self.limiter = Limiter(self._bounds, 1.0 / control.rate_hz)
        self.trace = Trace(dof, control.rate_hz)
        self.starved_ticks = 0
        """Wanted to follow, but the newest chunk of the epoch had run out."""
        self.waiting_ticks = 0
        """Wanted to follow, but the epoch had no chunk yet."""
        self.pickup = LatencyRecorder()
        """From a chunk's publication until a tick took it."""
        self.first_setpoint = LatencyRecorder()
        """From a chunk's publication until the setpoint of that tick had gone out."""
        self.first_tick_ns = self.last_tick_ns = self.served_ticks = 0
        self._wanted, self._epoch, self._heartbeat_ns = int(ServoCommand.HOLD), -1, clock()
        self._published_ns = 0
        self._idle_since_ns = self._still_ns = 0
        self._homing: Homing | None = None
        self._homing_ticks = 0
        self._rested_ns = 0
        self._at_rest = self._closed = False
        self.touched = False
        """Whether torque was, or may have been, switched on here: if not, it stays as it was found."""
        self._now, self._then = np.zeros((3, dof)), np.zeros((3, dof))
        self._record: np.void = np.zeros(1, feedback_dtype(dof))[0]

    @property
    def state(self) -> ServoState:
        return self.machine.state

    # --- the life of the arm ----------------------------------------------------------------------------

    def run(self) -> None:
        """Until RELEASED or FAULT. Whatever happens, torque-off is tried last. Only bugs raise."""
        try:
            self.start()
            while self.advance():
                pass
        except Exception as bug:
            self.machine.fail(f"bug in the servo loop: {bug!r}")
            raise
        finally:
            self.finish()

    def start(self) -> None:
        """From STARTING to HOLDING, to RELEASED when a stop was asked for, or to FAULT."""
        try:
            self._publish(self._clock())
            self.joints.open()
            self._take_command()
            if self._emergency():
                self.touched = True  # it means limp, however the arm was found
                self.machine.fail("emergency stop", Event.EMERGENCY_STOP)
                return
            if reason := self._reason_to_stop(self._clock()):
                self.machine.go(Event.STOP, reason)
                return
            self.limiter.reset(self.joints.position)
            self._require_rate()
            self.limiter.reset(self.joints.position)  # a limp arm may have sunk meanwhile
            self.touched = True
            self.joints.enable()
            self._idle_since_ns = self._clock()
            self.machine.go(Event.READY)
        except (WallEdgeError, OSError) as error:
            after = "; torque had been asked for and goes off again" if self.touched else ""
            self.machine.fail(f"{error}{after}")

    def finish(self) -> None:
        """Torque off, unless it was never switched on here, and the bus let go, in whatever state."""
        if self.touched:
            self._release()
        self._publish(self._clock())
        self.joints.close()

    def _require_rate(self) -> None:
        """Refuses a rate at which even the fastest quarter of rehearsed ticks takes longer than a period."""
        took = []
        for _ in range(_REHEARSALS):
            begun = self._clock()
            self.joints.read(begun)
            self.limiter.follow(self.limiter.state.copy(), self.limiter.state.copy())
            took.append(self._clock() - begun)
        quick, period = sorted(took)[_REHEARSALS // 4], self.ticker.period_ns
        if quick > period:
            raise RuntimeFault(
                f"control.rate_hz is {1e9 / period:g}: a tick may take {period / 1e6:.2f} ms, but reading "
                f"the joints and limiting alone took {quick / 1e6:.2f} ms in the fastest quarter of "
                f"{_REHEARSALS} tries",
                expected=f"at most {1e9 / quick:.0f} Hz with this bus and machine",
                fix="lower control.rate_hz, or raise drive.baudrate",
            )

    def advance(self) -> bool:
        """Waits for the next tick and does it; False, at once, when the arm is to be released."""
        if self.state in _MOVING and not self._at_rest:
            self.tick(self.ticker.wait())
            return True
        if self.state is not ServoState.FAULT or not self.joints.enabled:
            return False
        return not self._held_long_enough() and self._brake(self.ticker.wait())

    def _held_long_enough(self) -> bool:
        """Of a faulted arm; a stop ends the hold, but nothing ends the braking: it would fall at speed."""
        if not self.limiter.at_rest:
            return False
        self._still_ns = self._still_ns or self._clock()
        held_ns = self._clock() - self._still_ns
        return self._stop_requested() or held_ns > self._control.fault_hold_ms * 1e6

    def _brake(self, now: int) -> bool:
        """One tick of a faulted arm: the fastest stop, then stillness. False when the bus is gone.

        Feedback no longer matters: the motors hold where they are told to as long as the bus takes it.
        """
        try:
            self.joints.write(self.limiter.stop(), now)
        except (WallEdgeError, OSError):
            return False
        self._publish(now)
        return True

    def _release(self) -> None:
        """Tried again for seconds, on a port that came back too; nothing is said before the end is known."""
        begun, tries = self._clock(), 1
        while trouble := self._try_release():
            if self._clock() - begun > _RELEASE_NS:
                self.machine.fail(f"torque may still be on: {trouble}")
                return
            self._sleep(self._clock() + _RETRY_NS)
            self._publish(self._clock())
            tries += 1
        if tries > 1 and self.state is ServoState.FAULT:
            late_s = (self._clock() - begun) / 1e9
            self.machine.fail(f"torque went off at the {tries}th try, {late_s:.1f} s later than it should")
        if self._at_rest and self.state is ServoState.STOPPING:
            self.machine.go(Event.AT_REST)

    def _try_release(self) -> str:
        """What went wrong; the port is closed then, to be opened anew by its name."""
        try:
            if self._closed:
                self._reopen()
            self.joints.disable()
        except Exception as error:  # noqa: BLE001 - whatever it is, the arm must be let go
            with contextlib.suppress(Exception):
                self.joints.close()
            self._closed = True
            return str(error) if isinstance(error, WallEdgeError | OSError) else f"bug: {error!r}"
        return ""

    def _reopen(self) -> None:
        before = self.joints.drive
        drive = self._open_drive()
        if before is not None:
            vars(drive.counters).update(vars(before.counters))
        self.joints.drive, self._closed = drive, False

    # --- one tick ---------------------------------------------------------------------------------------

    def tick(self, now: int) -> None:
        """One cycle, begun at ``now`` [ns]."""
        self.first_tick_ns, self.last_tick_ns = self.first_tick_ns or now, now
        self.served_ticks += 1
        try:
            self.joints.write(self._setpoint(now), now)
            self._picked_up()
        except WallEdgeError as error:
            self.machine.fail(str(error))
        self._publish(now)

    def _setpoint(self, now: int) -> Floats:
        """What is due; the fastest stop from the very tick that finds a fault: a tick left out is a jolt."""
        try:
            self.joints.read(now)
            if self.state is not ServoState.STOPPING:  # what trails on the way to rest is let go all the same
                self.joints.require_following()
            self._take_command()
            return self._decide(now)
        except WallEdgeError as error:
            self.machine.fail(str(error))
            return self.limiter.stop()

    def _take_command(self) -> None:
        command, new_epoch = self._command.newer(), False
        if command is not None:
            self._wanted, self._heartbeat_ns = int(command["wanted"]), int(command["heartbeat_ns"])
            new_epoch = int(command["epoch"]) != self._epoch
            self._epoch = int(command["epoch"])
        if new_epoch:
            self.track.start_epoch(self._epoch)
            self._idle_since_ns = self._clock()
        # A chunk of the new epoch may have been read, and refused, before the command that announced it.
        record = self._chunks.latest() if new_epoch else self._chunks.newer()
        if record is not None and self.track.offer(Chunk.of(record), self._clock()) is None:
            self._published_ns = int(record["published_time_ns"])
            self.pickup.record(self._clock() - self._published_ns)

    def _picked_up(self) -> None:
        if self._published_ns:
            self.first_setpoint.record(self._clock() - self._published_ns)
            self._published_ns = 0

    def _reason_to_stop(self, now: int) -> str:
        if self._stop_requested():
            return "signal"
        if self._wanted == ServoCommand.STOP:
            return "command"
        silent_ns = now - self._heartbeat_ns
        return "supervisor silent" if silent_ns > self._control.heartbeat_timeout_ms * 1e6 else ""

    def _emergency(self) -> bool:
        return self._wanted == ServoCommand.EMERGENCY_STOP or self._emergency_requested()

    def _decide(self, now: int) -> Floats:
        """Moves along the state table and returns the next setpoint [dof, rad], within limits."""
        if self._emergency():
            self.machine.fail("emergency stop", Event.EMERGENCY_STOP)
            return self.limiter.stop()
        if self.state is not ServoState.STOPPING and (reason := self._reason_to_stop(now)):
            self.machine.go(Event.STOP, reason)
            self._homing = Homing(
                self.limiter.state, self._control.rest, self._control.rest_velocity, self._bounds
            )
        if self._homing is not None:
            return self._toward_rest(now, self._homing)
        return self._follow(now)

    def _follow(self, now: int) -> Floats:
        wanted = self._wanted == ServoCommand.FOLLOW
        status = self.track.tick(self.limiter.state) if wanted else "held"
        if status == "following":
            if self.state is not ServoState.FOLLOWING:
                self.machine.go(Event.CHUNK)
            self._idle_since_ns = now
            return self.limiter.follow(self.track.now, self.track.then)
        self.starved_ticks += status == "ended"
        self.waiting_ticks += status == "empty"
        if self.state is ServoState.FOLLOWING:
            self.machine.go(Event.RUN_OUT if wanted else Event.HOLD, f"chunk {status}" if wanted else "")
        if self.state is ServoState.SLOWING and self.limiter.at_rest:
            self.machine.go(Event.STANDSTILL)
        if not wanted:
            self._idle_since_ns = now
        elif self.state is ServoState.HOLDING:
            self._require_chunks(now - self._idle_since_ns, status)
        return self.limiter.stop()

    def _require_chunks(self, idle_ns: int, status: str) -> None:
        key = "starved_fault_ms" if status == "ended" else "first_chunk_ms"
        allowed_ms: float = getattr(self._control, key)
        if idle_ns > allowed_ms * 1e6:
            raise RuntimeFault(
                f"no chunk to follow for {idle_ns / 1e6:.0f} ms",
                expected=f"one within {allowed_ms:g} ms (control.{key})",
                fix="see what the policy process says, or allow it more time",
            )

    def _toward_rest(self, now: int, homing: Homing) -> Floats:
        dt = 1.0 / self._control.rate_hz
        elapsed = self._homing_ticks * dt
        if elapsed >= homing.duration_s:
            self._rested_ns = self._rested_ns or now
            trailing = float(np.abs(self.joints.position - self._control.rest).max())
            waited = now - self._rested_ns > self._control.settle_ms * 1e6
            self._at_rest = trailing <= self._control.settled_rad or waited
        homing.at(elapsed, self._now)
        homing.at(elapsed + dt, self._then)
        self._homing_ticks += 1
        return self.limiter.follow(self._now, self._then)

    def _publish(self, now: int) -> None:
        chunk = self.track.chunk if self.state is ServoState.FOLLOWING else None
        index, observed = (chunk.index, chunk.observation_time_ns) if chunk is not None else (-1, 0)
        record, joints, setpoint = self._record, self.joints, self.limiter.position
        record["time_ns"], record["measured_ns"], record["tick"] = now, joints.measured_ns, self.ticker.ticks
        record["state"], record["epoch"], record["chunk_index"] = self.state, self._epoch, index
        record["last_index"], record["plan_ns"] = self.track.last_index, self.track.plan_ns
        record["position"], record["setpoint"] = joints.position, setpoint
        self._feedback.write(record)
        if self.ticker.ticks % self.trace.every == 0:
            self.trace.add(now, self.state, self._epoch, (index, observed), setpoint, joints.position)
