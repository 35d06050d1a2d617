"""CiA 402 drives as a drive: commands, one SYNC, and what it makes the drives say."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from wall_edge.errors import BusTimeout, ConfigError
from wall_edge_bridge.drives import BusCounters, Drive, Feedback, Setpoints
from wall_edge_bridge.drives.values import Floats
from wall_edge_bridge.kinds.cia402 import codec
from wall_edge_bridge.kinds.cia402 import objects as obj
from wall_edge_bridge.kinds.cia402.bus import CycleBus
from wall_edge_bridge.kinds.cia402.checks import require_identity
from wall_edge_bridge.kinds.cia402.network import Nodes, WireNetwork
from wall_edge_bridge.kinds.cia402.objects import State
from wall_edge_bridge.kinds.cia402.power import Power
from wall_edge_bridge.kinds.cia402.readings import DriveReadings
from wall_edge_bridge.kinds.cia402.settings import CAPABILITIES, Cia402Joint, Cia402Settings
from wall_edge_bridge.kinds.cia402.setup import require_csp
from wall_edge_bridge.kinds.exchange import count_health
from wall_edge_bridge.transport import Frame, FrameTransport

_COMMAND = codec.COMMAND.pack


class Cia402Drive(Drive):
    """Cyclic synchronous position: targets as counts, followed within the drives' own limits.

    Nothing is written to a drive before ``arm_watchdog`` or ``enable``, and nothing into its permanent
    memory; until then cycles ask by SDO. A PDO does not say which cycle it belongs to: one that comes late,
    but before the next SYNC, is dropped; one that comes after it passes as that cycle's, a period old.
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
        if settings.host_node in (joint.id for joint in joints):
            raise ConfigError(f"host_node {settings.host_node} is a joint's id", expected="one of its own")
        self._settings, self._specs, self._clock = settings, tuple(joints), clock
        self._scale = np.array([joint.direction * joint.counts_per_rad for joint in joints])
        self._zero = np.array([joint.zero_rad * joint.counts_per_rad for joint in joints])
        self._start_slack = max(start_slack_rad, float((1 / np.abs(self._scale)).max()))
        self._rpdos = [codec.RPDO1 + joint.id for joint in joints]
        self._readings = DriveReadings(joints)
        self._bus = CycleBus(wire, joints, self._readings, self._counters, clock)
        network = WireNetwork(wire, clock, self._bus.observe, settings.sdo_timeout_ms / 1000)
        self._nodes = Nodes(network, joints)
        self._power = Power(settings, joints, self._nodes, self._bus, self._readings)
        self._enabled = False

    @property
    def counters(self) -> BusCounters:
        return count_health(self._counters, self._bus.wire)

    def connect(self) -> None:
        require_identity(self._bus.wire, self._specs, self._settings, self._clock)
        self._power.read_all()

    def check(self) -> None:
        """Modes and position limits of the drives. Raises DriveError, BusError."""
        for index, joint in enumerate(self._specs):
            require_csp(self._nodes, index, joint)

    def arm_watchdog(self, timeout_s: float) -> float | None:
        """Objects 1016, 6007 and 605E; in steps of 1 ms. None where a drive has none of the first two."""
        armed_s = self._power.arm_watchdog(timeout_s)
        self.watchdog_note = self._power.heartbeat.note
        return armed_s

    def enable(self) -> None:
        self._power.clear_faults()
        here = self._readings.values.position
        fix = "move it inside by hand, or calibrate again"
        self.limits.require_inside(here, self._start_slack, "position", fix)
        self._power.start()
        self._enabled = True
        self._readings.values.limp.clear()

    def let_go_at_once(self) -> None:
        self._power.let_go_at_once()

    def disable(self) -> None:
        self._enabled = False
        self._readings.values.limp.clear()
        self._power.stop()

    def torque(self) -> tuple[bool | None, ...]:
        values: list[bool | None] = []
        for index in range(self.dof):
            try:
                values.append(self._power.powered(index))
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
        self._bus.drop_late()
        self._counters.cycles += 1
        self._bus.wire.send([*frames, *self._bus.begin()], deadline_ns)

    def _commands(self, position: Floats) -> list[Frame]:
        """A drive that lost its power is told to stay without, until ``enable``.

        One that has stopped quickly by itself is left to brake or hold as its object 605A says: "disable
        voltage" would cut its torque in the middle.
        """
        targets = np.rint(position * self._scale + self._zero).astype(np.int64).tolist()
        limp = self._readings.values.limp
        words = [obj.ENABLE_OPERATION] * self.dof
        for index in limp:
            stopping = self._readings.states[index] is State.QUICK_STOP
            words[index] = obj.QUICK_STOP if stopping else obj.DISABLE_VOLTAGE
        frames = [
            Frame(cob, _COMMAND(word, target))
            for cob, word, target in zip(self._rpdos, words, targets, strict=True)
        ]
        return frames + self._power.heartbeat.due()

    def finish_cycle(self, deadline_ns: int) -> Feedback:
        bus, readings = self._bus, self._readings
        bus.collect(deadline_ns)
        bus.end()
        if len(bus.missing) == self.dof:
            raise self._power.no_answer(bus.missing)
        if self._enabled:
            for index, state in enumerate(readings.states):
                if state is not State.ENABLED or index in bus.restarted:
                    readings.values.limp.add(index)
        return readings.values.snapshot()

    def close(self) -> None:
        self._bus.wire.close()


open_drive = Cia402Drive
