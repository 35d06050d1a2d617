"""The joints as the servo loop sees them: setpoints out, feedback back, and its verdict."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import numpy as np
from wall_edge_bridge.drives import Feedback, Setpoints
from wall_edge_bridge.drives.group import DriveGroup

from wall_edge.array_types import Floats
from wall_edge.config import RobotConfig
from wall_edge.errors import BusError, BusTimeout, RuntimeFault
from wall_edge.runtime.motion.weight import HoldingTorque
from wall_edge.runtime.servo.feedback.readings import Readings
from wall_edge.runtime.servo.feedback.watch import Watch

START_CYCLES = 10
_LOOKS_UNDER_TORQUE = 3
"""At where joints were powered, until all have answered; watchdogs await the first setpoint meanwhile."""


class Joints:
    """A cycle has two halves, :meth:`send` and :meth:`collect`; before torque goes on it is :meth:`look`.

    A cycle that was lost is only counted until it has lasted for ``control.feedback_timeout_ms``. What
    feedback says takes effect with the next setpoint. Times are CLOCK_MONOTONIC ns.
    """

    def __init__(
        self, config: RobotConfig, open_drives: Callable[[], DriveGroup], clock: Callable[[], int]
    ) -> None:
        self._config, self._open_drives, self._clock = config, open_drives, clock
        self.names = [joint.name for joint in config.joints]
        self.lower: Floats = np.array(config.per_joint(lambda joint: joint.lower))
        self.upper: Floats = np.array(config.per_joint(lambda joint: joint.upper))
        self._bus_timeout_ns = 0
        self._timeout_ns = round(config.control.feedback_timeout_ms * 1e6)
        self._slack = config.control.start_slack_rad
        self._glance_ns = round(0.5e9 / config.control.rate_hz)
        self._watchdog_s = config.control.watchdog_s
        self.readings, self._watch = Readings(config, clock), Watch(config)
        self.drive: DriveGroup | None = None
        self.position: Floats = self.readings.position
        """[dof] rad, last measured."""
        self.setpoint: Floats = np.zeros(config.dof)
        """[dof] rad, last sent; where the joints are until then."""
        self._no_effort: Floats = np.zeros(config.dof)
        self._weight: HoldingTorque | None = None
        self.written_ns = 0
        """When a setpoint last went out; 0 for never."""
        self._sent_ns = 0
        self.enabled = False
        """Whether torque may be on by our doing."""
        self.cycles = 0
        """Those in which setpoints went out and a fresh reading of every joint came back."""

    @property
    def measured_ns(self) -> int:
        """When the oldest of ``position`` arrived; 0 for never."""
        return self.readings.oldest_ns

    def open(self) -> None:
        """Torque stays as it is: the arm must answer, fresh and within its limits, before :meth:`enable`.

        Raises BusError, DriveError, RuntimeFault; ConfigError, KinematicsError for a URDF of another robot.
        """
        self._weight = HoldingTorque.of(self._config)
        drive = self.drive = self._open_drives()
        self._bus_timeout_ns = drive.timeout_ns  # the group keeps each bus to its own
        drive.connect()
        drive.check()
        for _ in range(START_CYCLES):
            now = self._clock()
            self._take(self._look(drive, now), now)
            if self.readings.fresh:
                break
        self._require_fresh(drive)
        outside = np.maximum(self.lower - self.position, self.position - self.upper)
        worst = int(np.argmax(outside))
        if not outside[worst] <= self._slack:  # also refuses NaN
            raise RuntimeFault(
                f"joint {self.names[worst]} starts at {self.position[worst]:.3f} rad",
                expected=f"{self.lower[worst]:g} to {self.upper[worst]:g}",
                fix="move it inside by hand, or calibrate again",
            )

    def arm_watchdogs(self) -> dict[str, float | None]:
        """By the drive's name, after what time without setpoints its motors stop [s]; None for never.

        Raises DriveError, BusError.
        """
        assert self.drive is not None
        return self.drive.arm_watchdogs(self._watchdog_s)

    @property
    def watchdog_notes(self) -> dict[str, str]:
        """By the drive's name, why its motors have none; of those without."""
        return {} if self.drive is None else self.drive.watchdog_notes

    def enable(self) -> None:
        """Torque on where the joints are, which is looked at anew: a limp arm sinks while it is powered.

        Raises DriveError, BusError.
        """
        assert self.drive is not None
        self.drive.enable()
        self.enabled = True
        begin_ns = self.written_ns = self._clock()
        for _ in range(_LOOKS_UNDER_TORQUE):
            now = self._clock()
            self._take(self._look(self.drive, now), now)
            if self.readings.oldest_ns >= begin_ns:
                break
        self.setpoint[:] = self.position
        self.readings.power()
        self._watch.restart(self.drive.drives, self.written_ns)

    def look(self, now: int) -> None:
        """Updates ``position`` and sends no setpoint. Raises as :meth:`collect`."""
        assert self.drive is not None
        self._take(self._look(self.drive, now), now)
        self._require_fresh(self.drive)

    def send(self, state: Floats, now: int, due_ns: int) -> None:
        """Setpoints for ``due_ns``, to all buses: rows of ``state`` [3, dof] as the limiter has them.

        Raises DriveError when refused, RuntimeFault when no bus has taken any for too long.
        """
        assert self.drive is not None
        self._sent_ns = 0
        try:
            self.drive.start_cycle(self._setpoints(state, due_ns), now + self._bus_timeout_ns)
        except (BusError, OSError) as error:
            silent_ns = self._clock() - self.written_ns
            if silent_ns > self._timeout_ns:
                failure = f"no setpoint reached the bus for {silent_ns / 1e6:.0f} ms: {error}"
                raise RuntimeFault(failure) from None
            return
        self._sent_ns = self.written_ns = now
        self.setpoint[:] = state[0]
        self.readings.sent(self.setpoint)

    def collect(self, now: int) -> None:
        """What comes back of what was sent; updates ``position``.

        Raises DriveError for a motor's fault or lost torque, RuntimeFault when a joint's word is too old or
        another program asks on the bus.
        """
        assert self.drive is not None
        if self._sent_ns:
            whole = self._take(self._finish(self.drive, now + self._bus_timeout_ns), now)
            self.cycles += whole and self.readings.oldest_ns >= self._sent_ns
        self._require_fresh(self.drive)
        if self.enabled:
            self._watch.require_one_program(self._clock())

    def brake(self, state: Floats, now: int, due_ns: int) -> None:
        """As :meth:`send`, with feedback that nobody needs: half a period is enough for it.

        A bus that answers no more must not slow down the braking on the others; nor does one tick whose
        setpoints found no room end it, as the arm would fall at speed. Raises DriveError when refused,
        BusError or OSError when no bus is there.
        """
        assert self.drive is not None
        with contextlib.suppress(BusTimeout):
            self.drive.start_cycle(self._setpoints(state, due_ns), now + self._glance_ns)
        self.setpoint[:] = state[0]
        with contextlib.suppress(Exception):  # not even a bug in what reads them may end the braking
            self.drive.finish_cycle(now + self._glance_ns)

    def require_following(self) -> None:
        """Raises RuntimeFault for a joint that has been far from its setpoint for too long."""
        self._watch.require_following(self.position, self.setpoint, self._clock())

    def _setpoints(self, state: Floats, due_ns: int) -> Setpoints:
        position, velocity, acceleration = state
        effort = self._no_effort if self._weight is None else self._weight.at(position.tolist())
        return Setpoints(position, velocity, acceleration, effort, due_ns)

    def _look(self, drive: DriveGroup, now: int) -> Feedback | None:
        try:
            drive.start_cycle(None, now + self._bus_timeout_ns)
        except (BusError, OSError):
            return None
        return self._finish(drive, now + self._bus_timeout_ns)

    def _finish(self, drive: DriveGroup, deadline_ns: int) -> Feedback | None:
        """None when nothing came: the drives count it."""
        try:
            return drive.finish_cycle(deadline_ns)
        except (BusError, OSError):
            return None

    def _take(self, feedback: Feedback | None, asked_ns: int) -> bool:
        return feedback is not None and self.readings.take(feedback, self.setpoint, asked_ns)

    def _require_fresh(self, drive: DriveGroup) -> None:
        if not self.readings.fresh:
            self.readings.require_fresh(drive.failures, drive.counters.late)

    def disable(self) -> None:
        """Torque off, if there is a drive. Raises BusError, OSError."""
        if self.drive is not None:
            self.drive.disable()
            self.enabled = False

    def close(self) -> None:
        """Lets go of the bus; torque stays as it is."""
        if self.drive is not None:
            self.drive.close()
