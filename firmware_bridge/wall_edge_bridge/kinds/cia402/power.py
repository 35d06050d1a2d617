"""Power on and off, and the watchdog: what a CiA 402 drive is told beyond a cycle's targets."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from wall_edge.errors import BusError, BusTimeout, DriveError, WallEdgeError
from wall_edge_bridge.drives.recovery import FaultRecovery
from wall_edge_bridge.kinds.cia402 import codec
from wall_edge_bridge.kinds.cia402 import objects as obj
from wall_edge_bridge.kinds.cia402.bus import CycleBus
from wall_edge_bridge.kinds.cia402.network import MissingObject, Nodes
from wall_edge_bridge.kinds.cia402.objects import State
from wall_edge_bridge.kinds.cia402.readings import DriveReadings
from wall_edge_bridge.kinds.cia402.settings import Cia402Joint, Cia402Settings
from wall_edge_bridge.kinds.cia402.setup import map_pdos, select_csp
from wall_edge_bridge.kinds.cia402.watchdog import HostHeartbeat

_MS = 1_000_000
_STEP_NS = 500 * _MS
"""How long a drive may take from one state to the next: ramps, brakes and relays."""
_POLL_NS = 2 * _MS
_STEPS = (
    (obj.SHUTDOWN, (State.READY, State.SWITCHED_ON, State.ENABLED)),
    (obj.SWITCH_ON, (State.SWITCHED_ON, State.ENABLED)),
    (obj.ENABLE_OPERATION, (State.ENABLED,)),
)


class Power:
    """Joints are named by their index. Raises DriveError, BusError throughout."""

    def __init__(
        self,
        settings: Cia402Settings,
        joints: Sequence[Cia402Joint],
        nodes: Nodes,
        bus: CycleBus,
        readings: DriveReadings,
    ) -> None:
        self._settings, self._joints = settings, tuple(joints)
        self._nodes, self._bus, self._readings = nodes, bus, readings
        self._clock = nodes.network.clock
        self._recovery = FaultRecovery(joints)
        self.heartbeat = HostHeartbeat(settings.host_node, self._clock)
        self.every = range(len(joints))

    def arm_watchdog(self, timeout_s: float) -> float | None:
        """What every drive has, read back [s]; None where one of them cannot watch."""
        return self.heartbeat.arm(self._nodes, self._joints, timeout_s)

    def read_all(self) -> None:
        """By SDO. Raises BusTimeout naming the silent ones."""
        silent = {index for index in self.every if not self._read(index)}
        if silent:
            raise self.no_answer(silent)

    def _read(self, index: int) -> bool:
        readings = self._readings
        try:
            counts = self._nodes.read(index, obj.POSITION, 0, "i")
            status = self._nodes.read(index, obj.STATUS, 0, "H")
            readings.codes[index] = None
            if not readings.take(index, status, counts, self._clock()):
                readings.know(index, self._error_code(index))
        except BusTimeout:
            return False
        return True

    def _error_code(self, index: int) -> int:
        try:
            return self._nodes.read(index, obj.ERROR_CODE, 0, "H")
        except MissingObject:
            return 0

    def clear_faults(self) -> None:
        """Those that may be cleared: a drive itself refuses a reset while the cause is there."""
        self.read_all()
        self._recovery.prepare(self._readings.values.faults, lambda _, __: "", self._clear)

    def _clear(self, indices: Sequence[int]) -> None:
        for index in indices:
            for word in (obj.DISABLE_VOLTAGE, obj.FAULT_RESET):
                self._nodes.write(index, obj.CONTROL, 0, "H", word)
        self.read_all()
        for index in indices:
            if faults := self._readings.values.faults[index]:
                raise DriveError(
                    f"{self._name(index)} keeps {faults[0].name}",
                    expected="no fault after a reset",
                    fix="remove the cause, then power-cycle the drive",
                )

    def start(self) -> None:
        """Map, preload, and up to operation enabled; when one refuses, the others are let go again."""
        before = list(self._readings.states)
        try:
            for index in self.every:
                self._configure(index, before[index] is State.ENABLED)
            self._bus.set_synchronous(True)
            for word, states in _STEPS:
                self._step(word, states, before)
        except WallEdgeError:
            self._bus.set_synchronous(False)
            for index, state in enumerate(before):
                if state is not State.ENABLED:
                    with suppress(WallEdgeError):
                        self._nodes.write(index, obj.CONTROL, 0, "H", obj.DISABLE_VOLTAGE)
            raise

    def _configure(self, index: int, enabled: bool) -> None:
        nodes, joint = self._nodes, self._joints[index]
        if not enabled:
            nodes.command(index, obj.NMT_PREPARE)
        map_pdos(nodes, index, joint.id)
        select_csp(nodes, index, joint, self._settings.sync_ms)
        if not enabled:
            # A drive that is enabled without a target goes to count 0.
            nodes.write(index, obj.TARGET, 0, "i", nodes.read(index, obj.POSITION, 0, "i"))
        nodes.command(index, obj.NMT_START)

    def _step(self, word: int, states: Sequence[State], before: Sequence[State | None]) -> None:
        """Until every drive is in one of ``states``; those that were enabled before are kept so."""
        words = [obj.ENABLE_OPERATION if state is State.ENABLED else word for state in before]
        targets = list(self._readings.counts)
        end_ns = self._clock() + _STEP_NS
        while True:
            self._exchange(words, targets)
            waiting = [i for i in self.every if self._readings.states[i] not in states]
            if not waiting and not self._bus.missing:
                return
            if self._clock() > end_ns:
                break
            self._pause(self._clock() + _POLL_NS)
        if self._bus.missing:
            raise self.no_answer(self._bus.missing)
        raise self._stuck(waiting[0], states[-1])

    def _exchange(self, words: Sequence[int], targets: Sequence[int]) -> None:
        self._bus.drop_late()
        frames = [
            codec.command(joint.id, word, target)
            for joint, word, target in zip(self._joints, words, targets, strict=True)
        ]
        deadline_ns = self._clock() + round(self._settings.timeout_ms * _MS)
        self._bus.wire.send([*frames, *self.heartbeat.due(), *self._bus.begin()], deadline_ns)
        self._bus.collect(deadline_ns)

    def _pause(self, until_ns: int) -> None:
        while self._clock() < until_ns:
            for frame in self._bus.wire.receive(until_ns):
                self._bus.observe(frame)

    def let_go_at_once(self) -> None:
        """Disable voltage on all that have it in their PDO, where they are: a target may be obeyed first."""
        if self._bus.synchronous:
            there = zip(self._joints, self._readings.counts, strict=True)
            frames = [codec.command(joint.id, obj.DISABLE_VOLTAGE, counts) for joint, counts in there]
            self._bus.wire.send([*frames, codec.SYNC], self._clock() + _POLL_NS)

    def stop(self) -> None:
        """Disable voltage, on all at once and then one by one; the statusword is read back."""
        with suppress(BusError):
            self.let_go_at_once()
        if self._bus.synchronous:
            self._bus.set_synchronous(False)
        silent = {index for index in self.every if not self._let_go(index)}
        if silent:
            raise self.no_answer(silent)

    def _let_go(self, index: int) -> bool:
        """False of a silent drive. One that brakes after a fault is powered until it stands."""
        try:
            self._nodes.write(index, obj.CONTROL, 0, "H", obj.DISABLE_VOLTAGE)
            end_ns = self._clock() + _STEP_NS
            while self.powered(index):
                if self._clock() > end_ns:
                    raise DriveError(
                        f"{self._name(index)} still is powered",
                        expected="switch on disabled after disable",
                        fix="cut the arm's power",
                    )
                self._pause(self._clock() + _POLL_NS)
        except BusTimeout:
            return False
        return True

    def powered(self, index: int) -> bool:
        """Read now."""
        return obj.state_of(self._nodes.read(index, obj.STATUS, 0, "H")) in obj.POWERED

    def _name(self, index: int) -> str:
        return f"joint {self._joints[index]}"

    def _stuck(self, index: int, state: State) -> DriveError:
        present = self._readings.states[index]
        faults = "".join(f", {fault.name}" for fault in self._readings.values.faults[index])
        return DriveError(
            f"{self._name(index)} stays in {present.value if present else 'no state'}{faults}",
            expected=state.value,
            fix="check the drive's supply, its enable input and its brake",
        )

    def no_answer(self, silent: set[int]) -> BusTimeout:
        """From those."""
        names = ", ".join(f"{self._joints[i]}" for i in sorted(silent))
        return BusTimeout(
            f"no answer from {names} on {self._bus.wire.description}",
            fix="check the drive's power, cable, termination, id and bit rate",
        )
