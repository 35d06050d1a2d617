"""ODrives as a drive: a setpoint a joint and cycle, and encoder estimates that they send or are asked for."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from wall_edge.errors import DriveError, WallEdgeError
from wall_edge_bridge.drives import BusCounters, Drive, Feedback, Setpoints
from wall_edge_bridge.kinds.exchange import count_health
from wall_edge_bridge.kinds.odrive import codec
from wall_edge_bridge.kinds.odrive.codec import Command
from wall_edge_bridge.kinds.odrive.errors import State
from wall_edge_bridge.kinds.odrive.motors import ODriveMotors
from wall_edge_bridge.kinds.odrive.power import ODrivePower
from wall_edge_bridge.kinds.odrive.readings import ODriveReadings
from wall_edge_bridge.kinds.odrive.scale import ODriveScale
from wall_edge_bridge.kinds.odrive.settings import CAPABILITIES, ODriveJoint, ODriveSettings
from wall_edge_bridge.transport import Frame, FrameTransport

_SLACK_RAD = 1e-4
_MAX_WATCHDOG_S = 3600.0
_PROBES = 40
"""Over how many estimates their period is measured."""


class ODriveDrive(Drive):
    """ODrives in position control on one CAN channel.

    With ``estimates_ms`` motors send their estimates by themselves. A cycle takes those that came since the
    one before it; it waits for the missing ones, except when cycles are further apart than estimates are and
    the last is younger than one and a half of their periods: ``received_ns`` tells how old each is. Faults
    and lost torque come with heartbeats, every 0.1 s from the factory.
    """

    capabilities = CAPABILITIES
    enable_s = 0.3  # an axis tells its state every 100 ms

    def __init__(
        self,
        settings: ODriveSettings,
        joints: Sequence[ODriveJoint],
        wire: FrameTransport,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
        start_slack_rad: float = 0.0,
    ) -> None:
        super().__init__(joints)
        self._settings, self._wire, self._clock = settings, wire, clock
        self._scale = ODriveScale(joints)
        self._readings = ODriveReadings(joints, self._scale, self._counters, old=settings.firmware == "0.5")
        self._motors = ODriveMotors(settings, joints, wire, self._counters, clock, self._readings)
        self._power = ODrivePower(self._motors, self.limits, max(start_slack_rad, _SLACK_RAD))
        self._requests: list[Frame] = []
        if settings.estimates_ms is None:
            self._requests = [codec.request(joint.id, Command.ESTIMATES) for joint in joints]
        self._period_ns = (settings.estimates_ms or 0) * 1_000_000
        self._everyone = frozenset(range(self.dof))
        self._commands: list[Frame] = []
        """The last setpoints, of an enabled arm."""
        self._paced, self._finished_ns = False, 0
        self._missed: set[int] = set()
        """Joints whose last request has no answer yet."""
        self._watchdog = False

    @property
    def counters(self) -> BusCounters:
        return count_health(self._counters, self._wire)

    def connect(self) -> None:
        self._motors.introduce()
        if self._requests:
            self._motors.require(self._motors.ask(Command.ESTIMATES), "encoder estimates")

    def check(self) -> None:
        """Compares how often estimates come with ``estimates_ms``."""
        if not self._period_ns:
            return
        counts, seconds = [0] * self.dof, _PROBES * self._period_ns * 1e-9
        since_ns = self._clock()

        def tally() -> bool:
            for index in self._readings.fresh:
                counts[index] += 1
            self._readings.fresh.clear()
            return False

        self._readings.fresh.clear()
        self._motors.pump(seconds, tally)
        passed_ms = (self._clock() - since_ns) * 1e-6
        for joint, count in zip(self._motors.joints, counts, strict=True):
            if not 0.7 <= count / _PROBES <= 1.4:
                often = f"every {passed_ms / count:.1f} ms" if count else "not by itself"
                raise DriveError(
                    f"joint {joint.name} (node {joint.id}) sends its encoder estimates {often}",
                    expected=f"every {self._settings.estimates_ms} ms, as estimates_ms says",
                    fix="set axis0.config.can.encoder_msg_rate_ms, or estimates_ms (null: ask for them)",
                )

    def arm_watchdog(self, timeout_s: float) -> float | None:
        """Sets axis0.config.watchdog_timeout and reads it back; ``enable`` arms it, ``disable`` disarms it.

        None without ``endpoints``.
        """
        endpoints = self._settings.endpoints
        if endpoints is None:
            self.watchdog_note = "an ODrive's watchdog is armed through endpoints, and none are configured"
            return None
        if not (math.isfinite(timeout_s) and 0 < timeout_s <= _MAX_WATCHDOG_S):
            raise DriveError(
                f"watchdog of {timeout_s:g} s", expected=f"more than 0, to {_MAX_WATCHDOG_S:g} s"
            )
        for joint in self._motors.joints:
            if (version := str(self._motors.versions.get(joint.id))) != endpoints.firmware:
                raise DriveError(
                    f"joint {joint.name} (node {joint.id}) has firmware {version}",
                    expected=f"{endpoints.firmware}, of which endpoints are",
                    fix="take endpoints from the flat_endpoints.json of its firmware",
                )
        self._motors.write(endpoints.watchdog_timeout, "f", timeout_s)
        self._watchdog = True
        return min(self._motors.read(endpoints.watchdog_timeout, "f"))

    def enable(self) -> None:
        powered = self._power.require_ready()
        commands = self._scale.inputs(Setpoints.hold(self._readings.position), self._readings.position)
        try:
            self._power.power(commands, watchdog=self._watchdog)
        except WallEdgeError:
            self._power.restore(powered)
            raise
        self._commands, self._readings.enabled = commands, True

    def let_go_at_once(self) -> None:
        self._motors.send(*(codec.set_state(node, State.IDLE) for node in self._motors.ids))

    def disable(self) -> None:
        self._readings.enabled, self._commands = False, []
        self._readings.limp.clear()
        self._power.release(self._motors.ids)

    def torque(self) -> tuple[bool | None, ...]:
        """By each axis's next heartbeat."""
        silent = self._motors.try_heartbeats(self._commands)
        states = zip(self._motors.joints, self._readings.states, strict=True)
        return tuple(None if joint in silent else state == State.CLOSED_LOOP for joint, state in states)

    def start_cycle(self, setpoints: Setpoints | None, deadline_ns: int) -> None:
        frames: list[Frame] = []
        if setpoints is not None:
            frames = self._scale.inputs(setpoints, self.allowed(setpoints.position))
            if self._readings.enabled:
                self._commands = frames
            else:
                frames = []  # an arm that another program powered must not follow
        for frame in self._wire.receive(0):
            self._take_early(frame)
        now_ns = self._clock()
        self._counters.cycles += 1
        self._paced = now_ns - self._finished_ns > self._period_ns / 4
        if self._requests:
            self._readings.fresh.clear()
            self._missed = set(self._everyone)
            frames = frames + self._requests
        if frames and now_ns <= deadline_ns:
            self._wire.send(frames, deadline_ns)

    def finish_cycle(self, deadline_ns: int) -> Feedback:
        readings, fresh = self._readings, self._readings.fresh
        while self._missing() and (frames := self._wire.receive(deadline_ns)):
            for frame in frames:
                index = readings.take(frame)
                if index is not None:
                    self._missed.discard(index)
            if self._clock() >= deadline_ns:
                break  # something may never stop talking
        missing = self._missing()
        self._counters.timeouts += len(missing)
        self._finished_ns = self._clock()
        fresh.clear()
        if len(missing) == self.dof:
            raise self._motors.no_answer(self._motors.joints)
        return readings.snapshot()

    def look(self, deadline_ns: int) -> Feedback:
        """Asks for temperature, voltage and torque too, where the firmware has them."""
        asked = (Command.BUS, Command.TEMPERATURE, Command.TORQUES)
        for command in asked if self._settings.firmware == "0.6" else asked[:1]:
            self._motors.ask(command, attempts=1)
        late_ns = self._clock() + round(self._settings.timeout_ms * 1e6)
        return self.cycle(None, max(deadline_ns, late_ns))

    def close(self) -> None:
        self._wire.close()

    def _missing(self) -> frozenset[int]:
        """Joints that this cycle still waits for."""
        missing = self._everyone - self._readings.fresh
        if not missing or not self._period_ns or not self._paced:
            return missing
        young_ns = self._clock() - self._period_ns * 3 // 2
        return frozenset(index for index in missing if self._readings.received_ns[index] < young_ns)

    def _take_early(self, frame: Frame) -> None:
        """A frame that came before this cycle: estimates asked for are the last cycle's, too late."""
        asked = self._requests and not frame.extended and frame.id & 0x1F == Command.ESTIMATES
        index = self._motors.index_of(frame) if asked else None
        if index is None:
            self._readings.take(frame)
        elif index in self._missed:
            self._missed.discard(index)
            self._counters.late += 1


open_drive = ODriveDrive
