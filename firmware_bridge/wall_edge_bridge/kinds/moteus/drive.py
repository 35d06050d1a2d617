"""moteus controllers as a drive: one CAN FD frame a joint that commands and asks, one that answers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import numpy as np

from wall_edge.errors import BusError, DriveError
from wall_edge_bridge.drives import BusCounters, Drive, Feedback, Setpoints
from wall_edge_bridge.drives.values import Floats
from wall_edge_bridge.kinds.exchange import count_health
from wall_edge_bridge.kinds.moteus import registers as reg
from wall_edge_bridge.kinds.moteus.checks import require_identity
from wall_edge_bridge.kinds.moteus.motors import Motors
from wall_edge_bridge.kinds.moteus.power import Power
from wall_edge_bridge.kinds.moteus.settings import CAPABILITIES, MoteusJoint, MoteusSettings
from wall_edge_bridge.transport import FrameTransport

_STOP_NS = 1_000_000
_TURN = 2 * math.pi
_SETTLED = (reg.STOPPED, reg.FAULTED, reg.TIMED_OUT)


class MoteusDrive(Drive):
    """Position mode with velocity and torque as feed-forward; the controllers' own gains and limits apply.

    Every command carries the watchdog's time, and restarts it; unless one was armed that is the motor's own
    default (0.1 s, if its configuration does not say otherwise). A motor that has stopped by itself is not
    started again by a setpoint: it is told to stay stopped, until :meth:`enable`.
    Raises ConfigError for joints that a moteus cannot be.
    """

    capabilities = CAPABILITIES

    def __init__(
        self,
        settings: MoteusSettings,
        joints: Sequence[MoteusJoint],
        wire: FrameTransport,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
        start_slack_rad: float = 0.0,
    ) -> None:
        super().__init__(joints)
        self._start_slack = max(start_slack_rad, self.slack_rad)
        self._motors = Motors(settings, joints, wire, self._counters, clock)
        self._readings, self._bus = self._motors.readings, self._motors.bus
        self._power = Power(self._motors, settings)
        self._direction = np.array([joint.direction / _TURN for joint in joints])
        self._zero = np.array([joint.zero_rad / _TURN for joint in joints])
        self._max_effort = np.array([joint.max_effort or math.inf for joint in joints])
        self._enabled = False

    @property
    def counters(self) -> BusCounters:
        return count_health(self._counters, self._bus.wire)

    def connect(self) -> None:
        require_identity(self._bus, self._motors.joints, self._motors.timeout_ns)
        self._motors.read_all()

    def arm_watchdog(self, timeout_s: float) -> float | None:
        """In steps of 1 ms."""
        return self._power.arm_watchdog(timeout_s)

    def enable(self) -> None:
        self._power.clear_faults()
        here = self._readings.values.position
        fix = "move it inside by hand, or calibrate again"
        self.limits.require_inside(here, self._start_slack, "position", fix)
        self._power.start()
        self._enabled = True
        self._readings.values.limp.clear()

    def let_go_at_once(self) -> None:
        stops = [(i, each.stop) for i, each in enumerate(self._motors.frames) if self._readings.powered(i)]
        self._bus.send(stops, self._motors.clock() + _STOP_NS)

    def disable(self) -> None:
        self._enabled = False
        self._readings.values.limp.clear()
        self._power.stop()

    def torque(self) -> tuple[bool | None, ...]:
        """[dof] False in mode 0 and in a fault; a motor that damps after its watchdog counts as on."""
        answers = self._motors.ask_some(self._motors.queries)
        return tuple(self._readings.powered(i) if i in answers else None for i in range(self.dof))

    def start_cycle(self, setpoints: Setpoints | None, deadline_ns: int) -> None:
        data: Mapping[int, bytes] = self._motors.queries
        if setpoints is not None:
            position = self.allowed(setpoints.position)
            self._require_finite(setpoints)
            if self._enabled:
                data = self._commands(position, setpoints)
        self._counters.cycles += 1
        self._bus.send(data.items(), deadline_ns)

    def _require_finite(self, setpoints: Setpoints) -> None:
        for what, each in (("velocity", setpoints.velocity), ("effort", setpoints.effort)):
            finite = np.isfinite(each)
            if not finite.all():
                index = int(np.argmin(finite))
                raise DriveError(
                    f"joint {self.joints[index].name}: feed-forward {what} {each[index]:g}",
                    expected="a number",
                    fix="mend what sends it; nothing was sent",
                )

    def _commands(self, position: Floats, setpoints: Setpoints) -> dict[int, bytes]:
        turns = (position * self._direction + self._zero).tolist()
        speeds = (setpoints.velocity * self._direction).tolist()
        bounded = np.minimum(np.maximum(setpoints.effort, -self._max_effort), self._max_effort)
        efforts = (bounded * self._direction * _TURN).tolist()
        frames = self._motors.frames
        data = {i: frames[i].command(turns[i], speeds[i], efforts[i]) for i in range(self.dof)}
        for index in self._readings.values.limp:
            # A stop would clear a fault that nobody has seen to.
            settled = self._readings.modes[index] in _SETTLED
            data[index] = frames[index].query if settled else frames[index].stop
        return data

    def finish_cycle(self, deadline_ns: int) -> Feedback:
        missing = set(range(self.dof))
        bus, readings, counters = self._bus, self._readings, self._counters
        while missing and (frames := bus.wire.receive(deadline_ns)):
            for frame in frames:
                if (index := bus.owner(frame)) is None:
                    continue
                if index not in missing:
                    counters.late += 1
                elif readings.take(index, frame):
                    missing.discard(index)
                else:
                    counters.foreign += 1
            if self._motors.clock() >= deadline_ns:  # else a device that never stops talking keeps us here
                break
        counters.timeouts += len(missing)
        if len(missing) == self.dof:
            raise self._motors.no_answer(missing)
        if self._enabled:
            self._watch()
        return readings.values.snapshot()

    def _watch(self) -> None:
        """A motor that has just stopped took a command since, but needs some ms to start: stop it first."""
        modes, limp = self._readings.modes, self._readings.values.limp
        fallen = [i for i, mode in enumerate(modes) if mode != reg.POSITION_MODE and i not in limp]
        if not fallen:
            return
        limp.update(fallen)
        stops = [(i, self._motors.frames[i].stop) for i in fallen if modes[i] not in _SETTLED[1:]]
        with suppress(BusError):
            self._bus.send(stops, self._motors.clock() + _STOP_NS)

    def look(self, deadline_ns: int) -> Feedback:
        """With the motors' own temperatures, where they have a sensor; commands nothing."""
        self._counters.cycles += 1
        self._bus.send(enumerate(each.look for each in self._motors.frames), deadline_ns)
        return self.finish_cycle(deadline_ns)

    def close(self) -> None:
        self._bus.wire.close()


open_drive = MoteusDrive
