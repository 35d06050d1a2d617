"""Which setpoint is due: along a chunk, to a standstill, or to rest."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from wall_edge.array_types import Floats
from wall_edge.config import RobotConfig
from wall_edge.errors import RuntimeFault
from wall_edge.runtime.ipc.mailbox import Mailbox
from wall_edge.runtime.ipc.mailbox_types import Chunk, ServoState
from wall_edge.runtime.motion.chunk_track import ChunkTrack, Refusal
from wall_edge.runtime.motion.homing import Homing
from wall_edge.runtime.motion.limits import Limiter
from wall_edge.runtime.motion.workspace import WorkspaceWatch
from wall_edge.runtime.servo.command import Command
from wall_edge.runtime.servo.joints import Joints
from wall_edge.runtime.servo.states import Event, StateMachine


class Pilot:
    """Moves along the state table and keeps to the limits. Times are CLOCK_MONOTONIC ns."""

    def __init__(
        self,
        config: RobotConfig,
        joints: Joints,
        machine: StateMachine,
        command: Command,
        chunks: Mailbox,
        clock: Callable[[], int],
    ) -> None:
        control = config.control
        self._config, self._control, self._clock = config, control, clock
        self._joints, self._machine, self._command = joints, machine, command
        self._chunks = chunks.reader()
        self.track = ChunkTrack(
            joints.lower,
            joints.upper,
            period_ns=round(1e9 / control.rate_hz),
            max_age_ns=round(config.policy.max_chunk_age_ms * 1e6),
            blend_ns=round(control.blend_ms * 1e6),
        )
        self._bounds = config.bounds()
        self.limiter = Limiter(self._bounds, 1.0 / control.rate_hz)
        self.starved_ticks = 0
        """Asked to follow, but the newest chunk of the epoch had run out."""
        self.waiting_ticks = 0
        """Asked to follow, but the epoch had no chunk yet."""
        self.pickup_ns = -1
        """Of the chunk that this tick took, if any: from its publication until then."""
        self.published_ns = 0
        """When that chunk was published; 0 for none."""
        self.on_epoch: Callable[[int], None] = lambda _: None
        self.on_chunk: Callable[[int, Refusal | None], None] = lambda *_: None
        self.on_leave: Callable[[str, str], None] = lambda *_: None
        """Told as it happens: an epoch that begins; a chunk's index, and why it was refused; who left the
        workspace, and how."""
        self.watch: WorkspaceWatch | None = None
        """Of robots with a workspace, from the start on."""
        self.rested = False
        """Whether the way to rest is over."""
        self._idle_since_ns = 0
        self._homing: Homing | None = None
        self._homing_ticks = 0
        self._rested_ns = 0
        self._now, self._then = np.zeros((3, config.dof)), np.zeros((3, config.dof))

    def require_start(self) -> None:
        """Begins to watch the workspace, if there is one.

        Raises RuntimeFault where the arm stands outside, ConfigError and KinematicsError for a workspace that
        does not fit the robot.
        """
        self.watch = WorkspaceWatch.of(self._config)
        if self.watch is not None:
            self.watch.on_leave = self.on_leave
            self.watch.require_start(self._joints.position.tolist())

    def begin(self) -> None:
        """The arm is powered where it stands."""
        self._idle_since_ns = self._clock()

    @property
    def epoch(self) -> int:
        """Of the command that holds; -1 before the first."""
        return self._command.epoch

    def begin_tick(self) -> None:
        """No chunk was taken in this tick yet."""
        self.pickup_ns, self.published_ns = -1, 0

    def take(self) -> None:
        """Read the command and the chunk mailbox."""
        self.begin_tick()
        new_epoch = self._command.take()
        if new_epoch:
            self.track.start_epoch(self._command.epoch)
            self._idle_since_ns = self._clock()
            self.on_epoch(self._command.epoch)
        # A chunk of the new epoch may have been read, and refused, before the command that announced it.
        record = self._chunks.latest() if new_epoch else self._chunks.newer()
        if record is None:
            return
        refusal = self.track.offer(Chunk.of(record), self._clock())
        if refusal is None:
            self.published_ns = int(record["published_time_ns"])
            self.pickup_ns = self._clock() - self.published_ns
        self.on_chunk(int(record["index"]), refusal)

    def decide(self, now: int) -> Floats:
        """The next setpoint [dof, rad], within limits.

        Raises RuntimeFault when no chunks come, or when that setpoint would leave the workspace.
        """
        if self._command.emergency:
            self._machine.fail("emergency stop", Event.EMERGENCY_STOP)
            return self.limiter.stop()
        state = self._machine.state
        if state is not ServoState.STOPPING and (reason := self._command.reason_to_stop(now)):
            self._machine.go(Event.STOP, reason)
            self._homing = self._way_to_rest()
        setpoint = self._follow(now) if self._homing is None else self._toward_rest(now, self._homing)
        if self.watch is not None:
            self._require_inside(self.watch)
        return setpoint

    def require_measured(self) -> None:
        """Raises RuntimeFault where the joints are outside the workspace, as they were last measured."""
        if self.watch is not None:
            arrived_ns = self._joints.readings.arrived_ns
            oldest_ns, newest_ns = int(arrived_ns.min()), int(arrived_ns.max())
            self.watch.require_measured(self._joints.position.tolist(), oldest_ns, newest_ns)

    def _require_inside(self, watch: WorkspaceWatch) -> None:
        """Instead of a step that makes a tip too fast, one that slows all joints down."""
        try:
            if not watch.require_setpoint(self.limiter.joints):
                self.limiter.revoke()
                self.limiter.slow()
                watch.require_setpoint(self.limiter.joints, slowed=True)
        except RuntimeFault:
            self.limiter.revoke()  # the stop is safe from where the last setpoint was
            raise

    def _way_to_rest(self) -> Homing:
        rest, speed = self._control.rest, self._control.rest_velocity
        if self.watch is not None:
            speed = self.watch.rest_velocity(self.limiter.position.tolist(), rest, speed)
        return Homing(self.limiter.state, rest, speed, self._bounds)

    def _follow(self, now: int) -> Floats:
        machine, follow = self._machine, self._command.follow
        status = self.track.tick(self.limiter.state) if follow else "held"
        if status == "following":
            if machine.state is not ServoState.FOLLOWING:
                machine.go(Event.CHUNK)
            self._idle_since_ns = now
            return self.limiter.follow(self.track.now, self.track.then)
        self.starved_ticks += status == "ended"
        self.waiting_ticks += status == "empty"
        if machine.state is ServoState.FOLLOWING:
            machine.go(Event.RUN_OUT if follow else Event.HOLD, f"chunk {status}" if follow else "")
        if machine.state is ServoState.SLOWING and self.limiter.at_rest:
            machine.go(Event.STANDSTILL)
        if not follow:
            self._idle_since_ns = now
        elif machine.state is ServoState.HOLDING:
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
            trailing = float(np.abs(self._joints.position - self._control.rest).max())
            waited = now - self._rested_ns > self._control.settle_ms * 1e6
            self.rested = trailing <= self._control.settled_rad or waited
        homing.at(elapsed, self._now)
        homing.at(elapsed + dt, self._then)
        self._homing_ticks += 1
        return self.limiter.follow(self._now, self._then)
