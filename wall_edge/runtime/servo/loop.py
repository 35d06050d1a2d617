"""The servo loop: each tick asks the pilot what is due, sends it on all buses and takes what comes back.

What feedback says takes effect at once in the state, and with the next tick in the setpoints. Nothing here
logs, prints, locks or waits for another process; what happens leaves through shared memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from wall_edge_bridge.drives.group import DriveGroup

from wall_edge.config import RobotConfig
from wall_edge.errors import RuntimeFault, WallEdgeError
from wall_edge.runtime.ipc.mailbox import Mailbox
from wall_edge.runtime.ipc.mailbox_types import ServoState
from wall_edge.runtime.servo.command import Command
from wall_edge.runtime.servo.joints import Joints
from wall_edge.runtime.servo.pilot import Pilot
from wall_edge.runtime.servo.publication import Publication
from wall_edge.runtime.servo.states import Event, StateMachine
from wall_edge.runtime.servo.timing import Ticker, sleep_until
from wall_edge.runtime.servo.torque_off import TorqueOff
from wall_edge.runtime.telemetry.servo.telemetry import ServoTelemetry

_MOVING = (ServoState.HOLDING, ServoState.FOLLOWING, ServoState.SLOWING, ServoState.STOPPING)
_REHEARSALS = 16


class ServoLoop:
    """One arm from STARTING to RELEASED or FAULT (:mod:`wall_edge.runtime.servo.states`).

    ``open_drives`` is called in :meth:`run`, so that a missing port is a fault like any other. ``clock`` and
    ``sleep`` (to an absolute time) are CLOCK_MONOTONIC ns. ``stop_requested`` and ``emergency_requested`` are
    asked every tick.
    """

    def __init__(
        self,
        config: RobotConfig,
        open_drives: Callable[[], DriveGroup],
        chunks: Mailbox,
        command: Mailbox,
        feedback: Mailbox,
        *,
        telemetry: ServoTelemetry | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[int], None] = sleep_until,
        stop_requested: Callable[[], bool] = lambda: False,
        emergency_requested: Callable[[], bool] = lambda: False,
    ) -> None:
        self._control, self._clock = config.control, clock
        self.command = Command(command, config.control, clock, stop_requested, emergency_requested)
        self.machine = StateMachine(clock)
        self.joints = Joints(config, open_drives, clock)
        self.ticker = Ticker(round(1e9 / config.control.rate_hz), clock, sleep)
        self.pilot = Pilot(config, self.joints, self.machine, self.command, chunks, clock)
        self._torque_off = TorqueOff(self.joints, open_drives, clock, sleep)
        self._publication = Publication(
            feedback, telemetry, self.machine, self.joints, self.ticker, self.pilot
        )
        self.served_ticks = 0
        self._still_ns = 0
        self.touched = False
        """Whether torque was, or may have been, switched on here: if not, it stays as it was found."""

    @property
    def state(self) -> ServoState:
        return self.machine.state

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
            self._publish_moment()
            self.joints.open()
            self.pilot.take()
            if self.command.emergency:
                self.touched = True  # it means limp, however the arm was found
                self.machine.fail("emergency stop", Event.EMERGENCY_STOP)
                return
            if reason := self.command.reason_to_stop(self._clock()):
                self.machine.go(Event.STOP, reason)
                return
            self.pilot.require_start()
            self.pilot.limiter.reset(self.joints.position)
            self._require_rate()
            armed = self.joints.arm_watchdogs()
            self._publication.watchdogs(armed, self.joints.watchdog_notes)
            self.joints.look(self._clock())
            self.pilot.limiter.reset(self.joints.position)  # a limp arm may have sunk meanwhile
            self.touched = True
            self._publication.torque_on()
            self.joints.enable()
            self.pilot.limiter.reset(self.joints.position)  # and while torque went on, bus by bus
            self.pilot.begin()
            self.machine.go(Event.READY)
        except (WallEdgeError, OSError) as error:
            after = "; torque had been asked for and goes off again" if self.touched else ""
            self.machine.fail(f"{error}{after}")

    def finish(self) -> None:
        """Torque off, unless it was never switched on here, and the bus let go, in whatever state."""
        if self.touched:
            self._release()
        self._publish_moment()
        self.joints.close()

    def advance(self) -> bool:
        """Waits for the next tick and does it; False, at once, when the arm is to be released."""
        if self.state in _MOVING and not self.pilot.rested:
            self.tick(self.ticker.wait())
            return True
        if self.state is not ServoState.FAULT or not self.joints.enabled:
            return False
        return not self._held_long_enough() and self._brake(self.ticker.wait())

    def tick(self, now: int) -> None:
        """One cycle, begun at ``now`` [ns]."""
        self.served_ticks += 1
        self._publication.served(now)
        self.pilot.begin_tick()
        first_setpoint_ns = -1
        self._decide(now)
        try:
            self.joints.send(self.pilot.limiter.state, now, self.ticker.next_ns)
            if published_ns := self.pilot.published_ns:
                first_setpoint_ns = self._clock() - published_ns
            self.joints.collect(now)
            if self.state is not ServoState.STOPPING:  # what trails on the way to rest is let go all the same
                self.joints.require_following()
            if self.state is not ServoState.FAULT:
                self.pilot.require_measured()
        except WallEdgeError as error:
            self.machine.fail(str(error))
        self._publish(now, first_setpoint_ns)

    def _decide(self, now: int) -> None:
        """Moves the limiter to what is due; to the fastest stop from the very tick that finds a fault."""
        try:
            self.pilot.take()
            self.pilot.decide(now)
        except WallEdgeError as error:
            self.machine.fail(str(error))
            self.pilot.limiter.stop()

    def _require_rate(self) -> None:
        """Refuses a rate at which even the fastest quarter of rehearsed ticks takes longer than a period."""
        limiter, durations = self.pilot.limiter, []
        for _ in range(_REHEARSALS):
            start_ns = self._clock()
            self.joints.look(start_ns)
            limiter.follow(limiter.state.copy(), limiter.state.copy())
            durations.append(self._clock() - start_ns)
        quick, period = sorted(durations)[_REHEARSALS // 4], self.ticker.period_ns
        if quick > period:
            raise RuntimeFault(
                f"control.rate_hz is {1e9 / period:g}: a tick may take {period / 1e6:.2f} ms, but reading "
                f"the joints and limiting alone took {quick / 1e6:.2f} ms in the fastest quarter of "
                f"{_REHEARSALS} tries",
                expected=f"at most {1e9 / quick:.0f} Hz with this bus and machine",
                fix="lower control.rate_hz, or raise the baudrate or bitrate of drives.NAME",
            )

    def _held_long_enough(self) -> bool:
        """Of a faulted arm; a stop ends the hold, but nothing ends the braking: it would fall at speed."""
        if not self.pilot.limiter.at_rest:
            return False
        self._still_ns = self._still_ns or self._clock()
        hold_ns = self._clock() - self._still_ns
        return self.command.stop_signalled or hold_ns > self._control.fault_hold_ms * 1e6

    def _brake(self, now: int) -> bool:
        """One tick of a faulted arm: the fastest stop, then stillness. False when the bus is gone.

        Feedback no longer matters: the motors hold where they are told to as long as a bus takes it.
        """
        try:
            self.pilot.begin_tick()
            self.pilot.limiter.stop()
            self.joints.brake(self.pilot.limiter.state, now, self.ticker.next_ns)
        except (WallEdgeError, OSError):
            return False
        self._publish(now)
        return True

    def _release(self) -> None:
        """Nothing is said before the end is known."""
        trouble = self._torque_off.run(self._publication.torque_off, self._publish_moment)
        if trouble:
            self.machine.fail(f"torque may still be on: {trouble}")
        elif self._torque_off.tries > 1 and self.state is ServoState.FAULT:
            tries, late_s = self._torque_off.tries, self._torque_off.late_ns / 1e9
            self.machine.fail(f"torque went off at the {tries}th try, {late_s:.1f} s later than it should")
        if not trouble and self.pilot.rested and self.state is ServoState.STOPPING:
            self.machine.go(Event.AT_REST)

    def _publish(self, now: int, first_setpoint_ns: int = -1) -> None:
        touched, served = self.touched, self.served_ticks
        self._publication.tick(now, touched=touched, served_ticks=served, first_setpoint_ns=first_setpoint_ns)

    def _publish_moment(self) -> None:
        self._publication.moment(self._clock(), touched=self.touched, served_ticks=self.served_ticks)
