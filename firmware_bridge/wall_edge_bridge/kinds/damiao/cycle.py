"""A cycle of Damiao motors: a command or a refresh to each, one feedback from each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from wall_edge.errors import BusTimeout, ConfigError, DriveError
from wall_edge_bridge.drives import BusCounters, Drive, Feedback, Setpoints
from wall_edge_bridge.drives.values import JointReadings
from wall_edge_bridge.kinds.damiao.bus import DamiaoBus
from wall_edge_bridge.kinds.damiao.codec import is_echo
from wall_edge_bridge.kinds.damiao.motor import Motor
from wall_edge_bridge.kinds.damiao.registers import ENABLED, FAULTS_BY_STATE, MODELS
from wall_edge_bridge.kinds.damiao.settings import CAPABILITIES, DamiaoJoint, DamiaoSettings
from wall_edge_bridge.kinds.exchange import count_health
from wall_edge_bridge.transport import Frame, FrameTransport


class DamiaoCycle(Drive):
    """Feedback carries nothing that tells its request.

    What lies in the input when a cycle starts is dropped; a reply that is late into the next cycle passes as
    that one's: what is believed is one cycle older than it seems, no more, as each cycle begins by dropping.
    """

    capabilities = CAPABILITIES

    def __init__(
        self,
        settings: DamiaoSettings,
        joints: Sequence[DamiaoJoint],
        wire: FrameTransport,
        clock: Callable[[], int],
    ) -> None:
        super().__init__(joints)
        require_apart(joints)
        self._wire, self._clock = wire, clock
        self._timeout_ns = round(settings.timeout_ms * 1e6)
        self._bus = DamiaoBus(wire, clock, fd=settings.data_bitrate is not None)
        usual = MODELS["DM4310"][0]  # until the motors' own are read
        self._motors = [Motor(joint, usual) for joint in joints]
        self._by_reply = {(joint.reply_id, joint.id): index for index, joint in enumerate(joints)}
        self._refreshes = [self._bus.refresh_frame(joint.id) for joint in joints]
        self._readings = JointReadings(tuple(joint.name for joint in joints))
        self._states = [-1] * len(joints)
        """The last that each reported; -1: none yet."""
        self._pending: set[int] = set()
        self._enabled = False

    @property
    def counters(self) -> BusCounters:
        return count_health(self._counters, self._wire)

    def start_cycle(self, setpoints: Setpoints | None, deadline_ns: int) -> None:
        frames = self._refreshes
        if setpoints is not None:
            commands = self._commands(setpoints)
            # A motor without torque might keep a goal, and jump to it when it is enabled.
            frames = commands if self._enabled else frames
        self._drop_late()
        self._counters.cycles += 1
        self._pending = set(range(len(frames)))
        self._wire.send(frames, deadline_ns)

    def finish_cycle(self, deadline_ns: int) -> Feedback:
        self._await(deadline_ns)
        if silent := self._pending:
            self._counters.timeouts += len(silent)
            if len(silent) == self.dof:
                raise BusTimeout(
                    f"no answer from {self._names(silent)} on {self._wire.description}",
                    fix="check the supply and the cable",
                )
        return self._readings.snapshot()

    def close(self) -> None:
        self._wire.close()

    def _commands(self, setpoints: Setpoints) -> list[Frame]:
        position = self.allowed(setpoints.position).tolist()
        frame, frames = self._bus.frame, []
        velocity, effort = setpoints.velocity.tolist(), setpoints.effort.tolist()
        for motor, p, v, t in zip(self._motors, position, velocity, effort, strict=True):
            try:
                frames.append(frame(motor.id, motor.command(p, v, t)))
            except ValueError:
                raise DriveError(
                    f"joint {motor.joint.name}: feed-forward {v} rad/s, {t} Nm",
                    expected="numbers",
                    fix="mend what sends it; nothing was sent",
                ) from None
        return frames

    def _drop_late(self) -> None:
        if frames := self._wire.receive(0):
            self._pending = set()
            self._take(frames)

    def _await(self, deadline_ns: int) -> None:
        while self._pending:
            frames = self._wire.receive(deadline_ns)
            self._take(frames)
            if not frames or (self._pending and self._clock() >= deadline_ns):
                return

    def _take(self, frames: Iterable[Frame]) -> None:
        counters, pending, motors, by_reply = self._counters, self._pending, self._motors, self._by_reply
        for frame in frames:
            data = frame.data
            if len(data) != 8 or frame.extended or frame.remote:
                counters.foreign += 1
                continue
            index = by_reply.get((frame.id, data[0] & 0xF))
            if index is None or is_echo(data, motors[index].id):
                counters.foreign += 1
            elif index not in pending:
                counters.late += 1
            else:
                pending.discard(index)
                self._read(index, data, frame.received_ns)

    def _read(self, index: int, data: bytes, received_ns: int) -> None:
        readings, motor = self._readings, self._motors[index]
        state, position, velocity, effort, mos, rotor = motor.codec.parse_feedback(data)
        direction = motor.direction
        readings.position[index] = direction * (position - motor.zero)
        readings.velocity[index] = direction * velocity
        readings.effort[index] = direction * effort
        readings.temperature[index] = mos if mos > rotor else rotor
        readings.received_ns[index] = received_ns
        readings.faults[index] = FAULTS_BY_STATE[state]
        self._states[index] = state
        if self._enabled and state != ENABLED:
            readings.limp.add(index)
        elif readings.limp:
            readings.limp.discard(index)

    def _exchange(self, data: dict[int, Frame], attempts: int = 1) -> set[int]:
        """Frames to joints by index, again where no feedback came; who never answered."""
        silent = set(data)
        for _ in range(attempts):
            self._drop_late()
            self._pending = silent
            deadline_ns = self._clock() + self._timeout_ns
            self._wire.send([data[index] for index in sorted(silent)], deadline_ns)
            self._await(deadline_ns)
            silent, self._pending = self._pending, set()
            if not silent:
                break
        return silent

    def _names(self, indices: Iterable[int]) -> str:
        return ", ".join(f"{self.joints[i]}" for i in sorted(indices))


def require_apart(joints: Sequence[DamiaoJoint]) -> None:
    """Raises ConfigError where one motor's answers would be another's commands."""
    ids = {joint.id: joint.name for joint in joints}
    for joint in joints:
        if joint.reply_id in ids:
            raise ConfigError(
                f"joint {joint.name}: feedback_id {joint.reply_id}",
                expected="no motor's id",
                fix=f"{ids[joint.reply_id]} would take what this motor says for a command",
            )
