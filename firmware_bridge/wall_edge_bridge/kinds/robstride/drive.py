"""RobStride motors as a drive: one control frame and one feedback a joint and cycle."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from wall_edge.errors import WallEdgeError
from wall_edge_bridge.drives import BusCounters, Drive, Feedback, Setpoints
from wall_edge_bridge.kinds.exchange import count_health
from wall_edge_bridge.kinds.robstride import codec
from wall_edge_bridge.kinds.robstride.checks import require_torque_limit
from wall_edge_bridge.kinds.robstride.codec import Mode, Type
from wall_edge_bridge.kinds.robstride.motors import RobStrideMotors
from wall_edge_bridge.kinds.robstride.power import RobStridePower
from wall_edge_bridge.kinds.robstride.readings import RobStrideReadings
from wall_edge_bridge.kinds.robstride.registers import LIMIT_TORQUE, MECH_POS
from wall_edge_bridge.kinds.robstride.scale import RobStrideScale
from wall_edge_bridge.kinds.robstride.settings import CAPABILITIES, RobStrideJoint, RobStrideSettings
from wall_edge_bridge.transport import Frame, FrameTransport

_SEND_NS = 5_000_000


class RobStrideDrive(Drive):
    """RobStride motors in operation control mode on one CAN channel.

    These motors answer a control frame with all they know, and nothing else does so without commanding them.
    So an arm that this drive did not enable is read by its position parameter: velocity is then that between
    two reads, and temperature and effort come with ``look``. ``cycle(None)`` of an enabled arm repeats the
    last setpoints.

    A feedback does not say to which frame it is the answer. One that arrives before the next control frames
    are sent is dropped; one that is late by more may pass for the next, and is then one cycle old.
    """

    capabilities = CAPABILITIES

    def __init__(
        self,
        settings: RobStrideSettings,
        joints: Sequence[RobStrideJoint],
        wire: FrameTransport,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
        start_slack_rad: float = 0.0,
    ) -> None:
        super().__init__(joints)
        self._wire, self._clock = wire, clock
        self._scale = RobStrideScale(joints)
        host = settings.host_id
        self._readings = RobStrideReadings(joints, self._scale, host, self._counters)
        self._motors = RobStrideMotors(joints, wire, host, self._counters, clock, self._readings)
        slack = max(start_slack_rad, float(self._scale.resolution.max()))
        self._power = RobStridePower(self._motors, settings, self.limits, slack)
        self._polls = [codec.read(MECH_POS, host, joint.id) for joint in joints]
        self._commands: list[Frame] = []
        """The last control frames, of an enabled arm."""
        self._pending: set[int] = set()
        self._kind = Type.READ

    @property
    def counters(self) -> BusCounters:
        return count_health(self._counters, self._wire)

    def connect(self) -> None:
        self._motors.connect()

    def check(self) -> None:
        """Compares the motors' torque limits with the joints' ranges."""
        limits = self._motors.read_all(LIMIT_TORQUE)
        for joint, limit in zip(self._motors.joints, limits, strict=True):
            require_torque_limit(joint, limit)

    def arm_watchdog(self, timeout_s: float) -> float:
        """Parameter 0x7028; on expiry a motor goes limp, and can be enabled again."""
        return self._motors.arm_watchdog(timeout_s)

    def enable(self) -> None:
        powered = self._power.require_ready()
        commands = self._scale.holds(self._readings.raw_positions)
        try:
            self._power.power(powered, commands)
        except WallEdgeError:
            self._power.restore(powered)
            raise
        self._commands, self._readings.enabled = commands, True

    def let_go_at_once(self) -> None:
        frames = [codec.stop(self._motors.host, motor) for motor in self._motors.ids]
        self._wire.send(frames, self._clock() + _SEND_NS)

    def disable(self) -> None:
        self._readings.enabled, self._commands = False, []
        self._readings.limp.clear()
        self._motors.stop(self._motors.ids)

    def torque(self) -> tuple[bool | None, ...]:
        """By repeating the last setpoints; None of an arm that this drive did not enable."""
        if not self._commands:
            return (None,) * self.dof
        answered = self._motors.try_command(dict(zip(self._motors.ids, self._commands, strict=True)))
        modes = zip(self._motors.ids, self._readings.modes, strict=True)
        return tuple(mode == Mode.RUN if motor in answered else None for motor, mode in modes)

    def start_cycle(self, setpoints: Setpoints | None, deadline_ns: int) -> None:
        if setpoints is not None:
            frames = self._scale.controls(setpoints, self.allowed(setpoints.position))
            if self._readings.enabled:
                self._commands = frames
        frames = self._commands or self._polls  # an arm that another program powered must not follow
        for frame in self._wire.receive(0):
            self._readings.late(frame)
        self._counters.cycles += 1
        self._kind = Type.READ if frames is self._polls else Type.FEEDBACK
        self._pending = set(range(self.dof))
        if self._clock() <= deadline_ns:  # else nothing could be answered in time
            self._wire.send(frames, deadline_ns)

    def finish_cycle(self, deadline_ns: int) -> Feedback:
        pending, take = self._pending, self._readings.take
        while pending:
            frames = self._wire.receive(deadline_ns)
            if not frames:
                break
            for frame in frames:
                take(frame, self._kind, pending)
            if self._clock() >= deadline_ns:
                break  # something may never stop talking
        self._counters.timeouts += len(pending)
        if len(pending) == self.dof:
            raise self._motors.no_answer(self._motors.joints)
        return self._readings.snapshot()

    def look(self, deadline_ns: int) -> Feedback:  # noqa: ARG002 - parameters are read one after the other
        """Reads position, velocity, effort, temperature and voltage parameters; commands nothing."""
        self._counters.cycles += 1
        self._motors.look()
        return self._readings.snapshot()

    def close(self) -> None:
        self._wire.close()


open_drive = RobStrideDrive
