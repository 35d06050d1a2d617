"""CiA 402 drives as a drive: commands, one SYNC, and what it makes the drives say."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np

from wall_edge.errors import BusError, BusTimeout, ConfigError, DriveError, WallEdgeError
from wall_edge_bridge.drives.base import Drive
from wall_edge_bridge.drives.recovery import FaultRecovery
from wall_edge_bridge.drives.values import BusCounters, Feedback, Floats, Setpoints
from wall_edge_bridge.kinds.cia402 import CAPABILITIES, Cia402Joint, Cia402Settings, codec
from wall_edge_bridge.kinds.cia402 import objects as obj
from wall_edge_bridge.kinds.cia402.bus import CycleBus
from wall_edge_bridge.kinds.cia402.identity import require_identity
from wall_edge_bridge.kinds.cia402.network import MissingObject, Nodes, WireNetwork
from wall_edge_bridge.kinds.cia402.objects import State
from wall_edge_bridge.kinds.cia402.readings import DriveReadings
from wall_edge_bridge.kinds.cia402.setup import arm, map_pdos, require_csp, select_csp
from wall_edge_bridge.transport.base import Frame, FrameTransport

_MS = 1_000_000
_STEP_NS = 500 * _MS
"""How long a drive may take from one state to the next: brakes and relays."""
_POLL_NS = 2 * _MS
_WATCHDOG_MAX_MS = 0xFFFF
_STEPS = (
    (obj.SHUTDOWN, (State.READY, State.SWITCHED_ON, State.ENABLED)),
    (obj.SWITCH_ON, (State.SWITCHED_ON, State.ENABLED)),
    (obj.ENABLE_OPERATION, (State.ENABLED,)),
)
_COMMAND = codec.COMMAND.pack


class Cia402Drive(Drive):
    """Cyclic synchronous position: targets as counts, followed within the drives' own limits.

    Nothing is written to a drive before ``arm_watchdog`` or ``enable``, and nothing into its permanent memory;
    until then cycles ask by SDO. A PDO does not say which cycle it belongs to: one that comes late, but before
    the next SYNC, is dropped; one that comes after it passes as that cycle's, a period old at most.
    Raises ConfigError for joints that are no such drives.
    """

    capabilities = CAPABILITIES

    def __init__(
        self,
        settings: Cia402Settings,
        joints: Sequence[Cia402Joint],
        wire: FrameTransport,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
        start_slack_rad: float = 0.0,
    ) -> None:
        super().__init__(joints)
        self._settings, self._wire, self._clock = settings, wire, clock
        self._specs = tuple(joints)
        if settings.host_node in (joint.id for joint in joints):
            raise ConfigError(f"host_node {settings.host_node} is a joint's id", expected="one of its own")
        self._scale = np.array([joint.direction * joint.counts_per_rad for joint in joints])
        self._zero = np.array([joint.zero_rad * joint.counts_per_rad for joint in joints])
        self._start_slack = max(start_slack_rad, float((1 / np.abs(self._scale)).max()))
        self._rpdos = [codec.RPDO1 + joint.id for joint in joints]
        self._readings = DriveReadings(joints)
        self._bus = CycleBus(joints, self._readings, self._counters)
        network = WireNetwork(wire, clock, self._observe, settings.sdo_timeout_ms / 1000)
        self._nodes = Nodes(network, joints)
        self._recovery = FaultRecovery(joints)
        self._enabled = False
        self._watchdog_ns: int | None = None
        self._heartbeat = codec.heartbeat(settings.host_node, obj.OPERATIONAL)
        self._heartbeat_ns = 0

    @property
    def counters(self) -> BusCounters:
        health, counters = self._wire.health(), self._counters
        counters.checksum_errors, counters.full = health.error_frames, health.full
        counters.error_passive, counters.bus_off = health.error_passive, health.bus_off
        return counters

    def connect(self) -> None:
        require_identity(self._wire, self._specs, self._settings, self._clock)
        self._read_all()

    def check(self) -> None:
        """Modes and position limits of the drives. Raises DriveError, BusError."""
        for index, joint in enumerate(self._specs):
            require_csp(self._nodes, index, joint)

    def arm_watchdog(self, timeout_s: float) -> float | None:
        """The drives watch a heartbeat that goes out with commands. Steps of 1 ms; None where one cannot."""
        if not 0.001 <= timeout_s <= _WATCHDOG_MAX_MS / 1000:
            raise DriveError(
                f"a watchdog of {timeout_s:g} s", expected=f"0.001 to {_WATCHDOG_MAX_MS / 1000} s"
            )
        timeout_ms = round(timeout_s * 1000)
        armed = [
            arm(self._nodes, index, joint, self._settings.host_node, timeout_ms)
            for index, joint in enumerate(self._specs)
        ]
        self._watchdog_ns = timeout_ms * _MS if any(armed) else None
        return timeout_ms / 1000 if all(armed) else None

    def enable(self) -> None:
        self._read_all()
        readings = self._readings
        self._recovery.prepare(readings.values.faults, lambda _, __: "", self._clear)
        self.limits.require_inside(
            readings.values.position, self._start_slack, "position", "move it inside by hand, or calibrate again"
        )
        before = list(readings.states)
        try:
            self._start(before)
        except WallEdgeError:
            self._bus.set_synchronous(False)
            for index, state in enumerate(before):
                if state is not State.ENABLED:
                    with suppress(WallEdgeError):
                        self._nodes.write(index, obj.CONTROL, 0, "H", obj.DISABLE_VOLTAGE)
            raise
        self._enabled = True
        readings.values.limp.clear()

    def _start(self, before: Sequence[State | None]) -> None:
        for index, joint in enumerate(self._specs):
            if before[index] is not State.ENABLED:
                self._nodes.command(index, obj.NMT_PREPARE)
            map_pdos(self._nodes, index, joint.id)
            select_csp(self._nodes, index, joint, self._settings.sync_ms)
            # A drive that is enabled without a target goes to count 0.
            self._nodes.write(index, obj.TARGET, 0, "i", self._nodes.read(index, obj.POSITION, 0, "i"))
            self._nodes.command(index, obj.NMT_START)
        self._bus.set_synchronous(True)
        for word, states in _STEPS:
            self._step(word, states, before)

    def _step(self, word: int, states: Sequence[State], before: Sequence[State | None]) -> None:
        """Until every drive is in one of ``states``; those that were enabled before are kept so."""
        words = [obj.ENABLE_OPERATION if state is State.ENABLED else word for state in before]
        targets = list(self._readings.counts)
        end_ns = self._clock() + _STEP_NS
        while True:
            self._exchange(words, targets)
            waiting = [i for i, state in enumerate(self._readings.states) if state not in states]
            if not waiting and not self._bus.missing:
                return
            if self._clock() > end_ns:
                break
            self._pause(self._clock() + _POLL_NS)
        if self._bus.missing:
            raise self._no_answer(self._bus.missing)
        joint, state = self.joints[waiting[0]], self._readings.states[waiting[0]]
        faults = ", ".join(fault.name for fault in self._readings.values.faults[waiting[0]])
        raise DriveError(
            f"joint {joint.name} (id {joint.id}) stays in {state.value if state else 'no state'}"
            + (f" with {faults}" if faults else ""),
            expected=states[-1].value,
            fix="check the drive's supply, its enable input and its brake",
        )

    def _exchange(self, words: Sequence[int], targets: Sequence[int]) -> None:
        frames = [
            Frame(cob, _COMMAND(word, target))
            for cob, word, target in zip(self._rpdos, words, targets, strict=True)
        ]
        deadline_ns = self._clock() + round(self._settings.timeout_ms * _MS)
        self._wire.send([*frames, *self._due_heartbeat(), *self._bus.begin()], deadline_ns)
        self._collect(deadline_ns)

    def _pause(self, until_ns: int) -> None:
        while self._clock() < until_ns:
            for frame in self._wire.receive(until_ns):
                self._bus.take(frame)

    def _clear(self, indices: Sequence[int]) -> None:
        for index in indices:
            for word in (obj.DISABLE_VOLTAGE, obj.FAULT_RESET):
                self._nodes.write(index, obj.CONTROL, 0, "H", word)
        self._read_all()
        for index in indices:
            if faults := self._readings.values.faults[index]:
                raise DriveError(
                    f"joint {self.joints[index].name} (id {self.joints[index].id}) keeps {faults[0].name}",
                    expected="no fault after a reset",
                    fix="remove the cause, then power-cycle the drive",
                )

    def disable(self) -> None:
        """Disable voltage, on all at once and then one by one; the statusword is read back."""
        was_synchronous = self._bus.synchronous
        self._enabled = False
        self._bus.set_synchronous(False)
        self._readings.values.limp.clear()
        if was_synchronous:
            frames = [Frame(cob, _COMMAND(obj.DISABLE_VOLTAGE, 0)) for cob in self._rpdos]
            with suppress(BusError):
                self._wire.send([*frames, codec.SYNC], self._clock() + _POLL_NS)
        silent = {index for index in range(self.dof) if not self._let_go(index)}
        if silent:
            raise self._no_answer(silent)

    def _let_go(self, index: int) -> bool:
        """False of a silent drive. One that brakes after a fault is powered until it stands."""
        try:
            self._nodes.write(index, obj.CONTROL, 0, "H", obj.DISABLE_VOLTAGE)
            end_ns = self._clock() + _STEP_NS
            while obj.state_of(self._nodes.read(index, obj.STATUS, 0, "H")) in obj.POWERED:
                if self._clock() > end_ns:
                    raise DriveError(
                        f"joint {self.joints[index].name} (id {self.joints[index].id}) still is powered",
                        expected="switch on disabled after disable",
                        fix="cut the arm's power",
                    )
                self._pause(self._clock() + _POLL_NS)
        except BusTimeout:
            return False
        return True

    def torque(self) -> tuple[bool | None, ...]:
        values: list[bool | None] = []
        for index in range(self.dof):
            try:
                values.append(obj.state_of(self._nodes.read(index, obj.STATUS, 0, "H")) in obj.POWERED)
            except BusTimeout:
                values.append(None)
        return tuple(values)

    def ticks(self, position: Floats) -> tuple[int | None, ...]:
        """Counts of object 6064."""
        counts = np.rint(position * self._scale + self._zero)
        return tuple(None if np.isnan(each) else int(each) for each in counts)

    def start_cycle(self, setpoints: Setpoints | None, deadline_ns: int) -> None:
        frames: list[Frame] = []
        if setpoints is not None:
            position = self.allowed(setpoints.position)
            if self._enabled:
                frames = self._commands(position)
        self._drop_late()
        self._counters.cycles += 1
        self._wire.send([*frames, *self._bus.begin()], deadline_ns)

    def _drop_late(self) -> None:
        """What arrived between cycles is older than this one; emergencies and restarts count all the same."""
        self._bus.missing = set()
        for frame in self._wire.receive(0):
            self._bus.take(frame)

    def _commands(self, position: Floats) -> list[Frame]:
        targets = np.rint(position * self._scale + self._zero).astype(np.int64).tolist()
        limp = self._readings.values.limp
        frames = [
            Frame(cob, _COMMAND(obj.DISABLE_VOLTAGE if index in limp else obj.ENABLE_OPERATION, target))
            for index, (cob, target) in enumerate(zip(self._rpdos, targets, strict=True))
        ]
        return frames + self._due_heartbeat()

    def _due_heartbeat(self) -> list[Frame]:
        """Three times within the watchdog's time."""
        now_ns = self._clock()
        if self._watchdog_ns is None or now_ns < self._heartbeat_ns:
            return []
        self._heartbeat_ns = now_ns + self._watchdog_ns // 3
        return [self._heartbeat]

    def finish_cycle(self, deadline_ns: int) -> Feedback:
        self._collect(deadline_ns)
        bus, readings = self._bus, self._readings
        bus.end()
        if len(bus.missing) == self.dof:
            raise self._no_answer(bus.missing)
        if self._enabled:
            fallen = {i for i, state in enumerate(readings.states) if state is not State.ENABLED}
            readings.values.limp |= fallen | bus.restarted
        return readings.values.snapshot()

    def _collect(self, deadline_ns: int) -> None:
        bus = self._bus
        while bus.missing and (frames := self._wire.receive(deadline_ns)):
            questions = [question for frame in frames if (question := bus.take(frame))]
            if questions:
                self._wire.send(questions, deadline_ns)

    def close(self) -> None:
        self._wire.close()

    def _observe(self, frame: Frame) -> None:
        self._bus.missing = set()
        self._bus.take(frame)

    def _read_all(self) -> None:
        """By SDO. Raises BusTimeout naming the silent ones."""
        silent = set()
        for index in range(self.dof):
            try:
                counts = self._nodes.read(index, obj.POSITION, 0, "i")
                status = self._nodes.read(index, obj.STATUS, 0, "H")
                self._readings.codes[index] = None
                if not self._readings.take(index, status, counts, self._clock()):
                    self._readings.know(index, self._error_code(index))
            except BusTimeout:
                silent.add(index)
        if silent:
            raise self._no_answer(silent)

    def _error_code(self, index: int) -> int:
        try:
            return self._nodes.read(index, obj.ERROR_CODE, 0, "H")
        except MissingObject:
            return 0

    def _no_answer(self, silent: set[int]) -> BusTimeout:
        names = ", ".join(f"{self.joints[i].name} (id {self.joints[i].id})" for i in sorted(silent))
        return BusTimeout(
            f"no answer from {names} on {self._wire.description}",
            fix="check the drive's power, cable, termination, id and bit rate",
        )
