"""moteus controllers as a drive: one CAN FD frame a joint that commands and asks, one that answers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import numpy as np

from wall_edge.errors import BusError, BusTimeout, DriveError, WallEdgeError
from wall_edge_bridge.drives.base import Drive
from wall_edge_bridge.drives.recovery import FaultRecovery
from wall_edge_bridge.drives.values import BusCounters, Fault, Feedback, Floats, Setpoints
from wall_edge_bridge.kinds.moteus import CAPABILITIES, MoteusJoint, MoteusSettings
from wall_edge_bridge.kinds.moteus import registers as reg
from wall_edge_bridge.kinds.moteus.bus import ATTEMPTS, MoteusBus
from wall_edge_bridge.kinds.moteus.codec import FLOAT, INT16, pad, read, write
from wall_edge_bridge.kinds.moteus.frames import JointFrames
from wall_edge_bridge.kinds.moteus.identity import require_identity
from wall_edge_bridge.kinds.moteus.readings import MoteusReadings
from wall_edge_bridge.kinds.moteus.scan import values
from wall_edge_bridge.transport.base import FrameTransport

_MS = 1_000_000
_START_NS = 300 * _MS
"""A motor calibrates its current sensors before it moves: some 10 ms."""
_POLL_NS = 2 * _MS
_WATCHDOG_MAX_S = 32.767
_TURN = 2 * math.pi


class MoteusDrive(Drive):
    """Position mode with velocity and torque as feed-forward; the controllers' own gains and limits apply.

    Every command carries the watchdog's time, and restarts it. A motor that has stopped by itself is not
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
        self._settings, self._clock = settings, clock
        self._specs = tuple(joints)
        self._start_slack = max(start_slack_rad, self.slack_rad)
        self._timeout_ns = round(settings.timeout_ms * _MS)
        self._bus = MoteusBus(wire, joints, self._counters, clock)
        self._readings = MoteusReadings(joints)
        self._recovery = FaultRecovery(joints)
        self._direction = np.array([joint.direction / _TURN for joint in joints])
        self._zero = np.array([joint.zero_rad / _TURN for joint in joints])
        self._max_effort = np.array([joint.max_effort or math.inf for joint in joints])
        self._enabled = False
        self._timeout_s = 0.0
        self._set_watchdog(0.0)

    def _set_watchdog(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._frames = [JointFrames(joint, timeout_s) for joint in self._specs]
        self._queries = dict(enumerate(each.query for each in self._frames))

    @property
    def counters(self) -> BusCounters:
        health = self._bus.wire.health()
        counters = self._counters
        counters.checksum_errors, counters.full = health.error_frames, health.full
        counters.error_passive, counters.bus_off = health.error_passive, health.bus_off
        return counters

    def connect(self) -> None:
        require_identity(self._bus, self._specs, self._timeout_ns)
        self._read_all()

    def arm_watchdog(self, timeout_s: float) -> float | None:
        """Written alone, it starts nothing; each command from then on carries it. Steps of 1 ms.

        Without it a motor's own default applies (0.1 s, unless its configuration says otherwise).
        """
        if not 0.001 <= timeout_s <= _WATCHDOG_MAX_S:
            raise DriveError(f"a watchdog of {timeout_s:g} s", expected=f"0.001 to {_WATCHDOG_MAX_S} s")
        steps = round(timeout_s / reg.SECONDS.int16)
        data = pad(write(INT16, reg.COMMAND_TIMEOUT, [steps]) + read(FLOAT, reg.COMMAND_TIMEOUT))
        armed = self._require_watchdog(self._ask_all(dict.fromkeys(range(self.dof), data)), steps / 1000)
        self._set_watchdog(steps / 1000)
        return armed

    def _require_watchdog(self, answers: Sequence[Mapping[int, float]], timeout_s: float) -> float:
        armed = [answer.get(reg.COMMAND_TIMEOUT, math.nan) for answer in answers]
        for joint, each in zip(self.joints, armed, strict=True):
            if not abs(each - timeout_s) < reg.SECONDS.int16 / 2:
                raise DriveError(
                    f"joint {joint.name} (id {joint.id}) has a watchdog of {each:g} s",
                    expected=f"{timeout_s:g} s, as written",
                    fix="update the controller's firmware",
                )
        return round(min(armed), 6)

    def enable(self) -> None:
        self._read_all()
        readings = self._readings
        self._recovery.prepare(readings.values.faults, self._remaining_cause, self._clear)
        self._require_known(readings.values.position)
        self.limits.require_inside(
            readings.values.position,
            self._start_slack,
            "position",
            "move it inside by hand, or calibrate again",
        )
        before = list(readings.modes)
        try:
            self._start()
        except WallEdgeError:
            self._stop_quietly([index for index, mode in enumerate(before) if mode != reg.POSITION_MODE])
            raise
        self._enabled = True
        readings.values.limp.clear()

    def _start(self) -> None:
        """Hold here, until all do."""
        hold = dict(enumerate(each.hold for each in self._frames))
        end_ns = self._clock() + _START_NS
        while True:
            answers = self._ask_all(hold)
            for index, joint in enumerate(self.joints):
                if faults := self._readings.values.faults[index]:
                    raise DriveError(
                        f"joint {joint.name} (id {joint.id}) reports {faults[0].name} as it starts",
                        expected="position mode",
                        fix="remove the cause, then enable again",
                    )
            waiting = [i for i, mode in enumerate(self._readings.modes) if mode != reg.POSITION_MODE]
            if not waiting:
                break
            if self._clock() > end_ns:
                joint, mode = self.joints[waiting[0]], self._readings.modes[waiting[0]]
                raise DriveError(
                    f"joint {joint.name} (id {joint.id}) stays in mode {mode}",
                    expected=f"mode {reg.POSITION_MODE} after enable",
                    fix="check the motor's supply and its calibration",
                )
            self._bus.pause(self._clock() + _POLL_NS)
        if self._timeout_s:
            self._require_watchdog(answers, self._timeout_s)

    def _require_known(self, position: Floats) -> None:
        for joint, each in zip(self.joints, position, strict=True):
            if math.isnan(each):
                raise DriveError(
                    f"joint {joint.name} (id {joint.id}) does not know its position",
                    expected="an output position",
                    fix="check the encoder and its configuration",
                )

    def _remaining_cause(self, index: int, fault: Fault) -> str:
        now, settings = self._readings.values, self._settings
        if fault.name == "under_voltage" and now.voltage[index] < settings.min_voltage:
            return f"bus at {now.voltage[index]:g} V, it needs {settings.min_voltage:g} V"
        if fault.name == "over_voltage" and now.voltage[index] > settings.max_voltage:
            return f"bus at {now.voltage[index]:g} V, at most {settings.max_voltage:g} V"
        if fault.name == "over_temperature" and now.temperature[index] > settings.restart_temperature:
            return f"{now.temperature[index]:g} °C, at most {settings.restart_temperature:g} °C"
        return ""

    def _clear(self, indices: Sequence[int]) -> None:
        self._ask_all({index: self._frames[index].stop for index in indices})
        self._read_all()
        for index in indices:
            if faults := self._readings.values.faults[index]:
                joint = self.joints[index]
                raise DriveError(
                    f"joint {joint.name} (id {joint.id}) reports {faults[0].name} again",
                    expected="no fault after a stop",
                    fix="remove the cause, then power-cycle the motor",
                )

    def disable(self) -> None:
        """A stop, and the mode read back. A motor in a fault has no torque and keeps its fault."""
        self._enabled = False
        self._readings.values.limp.clear()
        answers = self._ask_some(self._queries, attempts=1)
        powered = [i for i in range(self.dof) if i not in answers or self._readings.powered(i)]
        self._stop_quietly(powered)
        silent = set(range(self.dof)) - self._ask_some(self._queries).keys()
        for index, joint in enumerate(self.joints):
            if index not in silent and self._readings.powered(index):
                raise DriveError(
                    f"joint {joint.name} (id {joint.id}) still is in mode {self._readings.modes[index]}",
                    expected="mode 0 after disable",
                    fix="cut the arm's power",
                )
        self._require_none(silent)

    def torque(self) -> tuple[bool | None, ...]:
        """[dof] False in mode 0 and in a fault; a motor whose watchdog has expired damps, and counts as on."""
        answers = self._ask_some(self._queries)
        return tuple(self._readings.powered(i) if i in answers else None for i in range(self.dof))

    def start_cycle(self, setpoints: Setpoints | None, deadline_ns: int) -> None:
        data: Mapping[int, bytes] = self._queries
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
        frames = self._frames
        data = {i: frames[i].command(turns[i], speeds[i], efforts[i]) for i in range(self.dof)}
        for index in self._readings.values.limp:
            data[index] = self._limp_data(index)
        return data

    def _limp_data(self, index: int) -> bytes:
        """A stop would clear a fault that nobody has seen to."""
        mode = self._readings.modes[index]
        settled = mode in (reg.STOPPED, reg.FAULTED, reg.TIMED_OUT)
        return self._frames[index].query if settled else self._frames[index].stop

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
        counters.timeouts += len(missing)
        if len(missing) == self.dof:
            raise self._no_answer(missing)
        if self._enabled:
            self._watch()
        return readings.values.snapshot()

    def _watch(self) -> None:
        """A motor that just stopped has taken a command since, but needs some ms to start: stop it first."""
        readings = self._readings
        fallen = [
            index
            for index, mode in enumerate(readings.modes)
            if mode != reg.POSITION_MODE and index not in readings.values.limp
        ]
        readings.values.limp.update(fallen)
        if stopped := [i for i in fallen if readings.modes[i] not in (reg.FAULTED, reg.TIMED_OUT)]:
            with suppress(BusError):
                self._bus.send(((i, self._frames[i].stop) for i in stopped), self._clock() + _MS)

    def look(self, deadline_ns: int) -> Feedback:
        """With the motors' own temperatures, where they have a sensor; commands nothing."""
        self._counters.cycles += 1
        self._bus.send(enumerate(each.look for each in self._frames), deadline_ns)
        return self.finish_cycle(deadline_ns)

    def close(self) -> None:
        self._bus.wire.close()

    def _ask_some(
        self, data: Mapping[int, bytes], attempts: int = ATTEMPTS
    ) -> dict[int, Mapping[int, float]]:
        answers = {}
        for index, frame in self._bus.ask_patiently(data, self._timeout_ns, attempts).items():
            answers[index] = values(frame.data)
            self._readings.take(index, frame)
        return answers

    def _ask_all(self, data: Mapping[int, bytes]) -> list[Mapping[int, float]]:
        answers = self._ask_some(data)
        self._require_none(data.keys() - answers.keys())
        return [answers[index] for index in data]

    def _read_all(self) -> None:
        self._ask_all(self._queries)

    def _stop_quietly(self, indices: Sequence[int]) -> None:
        for _ in range(ATTEMPTS):
            with suppress(BusError):
                rest = {index: self._frames[index].stop for index in indices}
                if len(self._bus.ask(rest, self._timeout_ns)) == len(rest):
                    return

    def _require_none(self, silent: set[int]) -> None:
        if silent:
            raise self._no_answer(silent)

    def _no_answer(self, silent: set[int]) -> BusTimeout:
        names = ", ".join(f"{self.joints[i].name} (id {self.joints[i].id})" for i in sorted(silent))
        return BusTimeout(
            f"no answer from {names} on {self._bus.wire.description}",
            fix="check the motor's power, cable, termination and id, and both bit rates",
        )
