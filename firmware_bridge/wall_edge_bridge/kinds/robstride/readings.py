"""What RobStride motors said last: from frames to the joints' values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from wall_edge_bridge.drives import BusCounters, Fault
from wall_edge_bridge.drives.values import JointReadings
from wall_edge_bridge.kinds.robstride import codec
from wall_edge_bridge.kinds.robstride.codec import ANY_HOST, STATE_WORDS, Mode, Type
from wall_edge_bridge.kinds.robstride.registers import (
    FEEDBACK_FAULTS,
    MECH_POS,
    MECH_VEL,
    MOTOR_TEMPERATURE,
    TORQUE,
    VBUS,
    Parameter,
)
from wall_edge_bridge.kinds.robstride.scale import RobStrideScale
from wall_edge_bridge.kinds.robstride.settings import RobStrideJoint
from wall_edge_bridge.transport import Frame

_NO_FAULTS: tuple[Fault, ...] = ()


class RobStrideReadings(JointReadings):
    """Of one drive's joints. ``enabled``: the drive gave them torque, so one without has lost it."""

    def __init__(
        self, joints: Sequence[RobStrideJoint], scale: RobStrideScale, host: int, counters: BusCounters
    ) -> None:
        super().__init__(tuple(joint.name for joint in joints))
        self._scale, self._host, self._counters = scale, host, counters
        self._index = {joint.id: index for index, joint in enumerate(joints)}
        self._ranges = [joint.ranges for joint in joints]
        self.enabled = False
        self.modes = [-1] * len(joints)
        """Of each motor, by its last feedback; -1 before one."""
        self.raw_positions = [0] * len(joints)
        self._raw_velocities = [0] * len(joints)
        self._reported = [_NO_FAULTS] * len(joints)
        """By fault reports, which tell more than the bits of feedback do."""
        self._bits = [0] * len(joints)

    def take(self, frame: Frame, kind: Type, pending: set[int]) -> None:
        """A frame within a cycle that waits for ``kind`` of ``pending`` joints."""
        index = self._index.get(frame.id >> 8 & 0xFF) if frame.extended and len(frame.data) == 8 else None
        said = frame.id >> 24
        if index is None or frame.id & 0xFF != self._host or said not in (kind, Type.FAULTS):
            self.late(frame)
        elif said == Type.FAULTS:
            self._report(index, frame)
        elif index not in pending:
            self._counters.late += 1
        elif kind is Type.FEEDBACK:
            self.feedback(index, frame)
            pending.discard(index)
        elif (angle := codec.value_of(frame, MECH_POS)) is not None and math.isfinite(angle):
            self._position(index, angle, frame.received_ns)
            pending.discard(index)

    def late(self, frame: Frame) -> None:
        """A frame that answers nothing of this cycle."""
        self.hear(frame)
        for kind in (Type.FEEDBACK, Type.READ):
            if codec.sender(frame, kind, self._host) in self._index:
                self._counters.late += 1
                return
        if codec.sender(frame, Type.FAULTS, self._host) is None:
            self._counters.foreign += codec.sender(frame, Type.GET_ID, ANY_HOST) is None

    def hear(self, frame: Frame) -> None:
        """A frame that nobody waits for: fault reports come so."""
        motor = codec.sender(frame, Type.FAULTS, self._host)
        if motor is not None and motor in self._index:
            self._report(self._index[motor], frame)

    def feedback(self, index: int, frame: Frame) -> None:
        """A joint's own, whole."""
        position, velocity, effort, temperature = STATE_WORDS.unpack(frame.data)
        self.position[index], self.velocity[index], self.effort[index] = self._scale.values(
            index, position, velocity, effort
        )
        self.raw_positions[index], self._raw_velocities[index] = position, velocity
        self.temperature[index] = temperature * 0.1
        self.received_ns[index] = frame.received_ns
        mode, bits = frame.id >> 22 & 3, frame.id >> 16 & 0x3F
        self.modes[index] = mode
        if bits != self._bits[index] or self._reported[index]:
            self._bits[index] = bits
            # A fault that feedback has a bit for is over when the bit is clear.
            told = FEEDBACK_FAULTS.values()
            self._reported[index] = tuple(fault for fault in self._reported[index] if fault not in told)
            self._combine(index)
        if self.enabled:
            (self.limp.discard if mode == Mode.RUN else self.limp.add)(index)

    def store(self, replies: Mapping[int, Frame]) -> None:
        """Feedback by the motors' ids."""
        for motor, frame in replies.items():
            self.feedback(self._index[motor], frame)

    def note(self, parameter: Parameter, values: Mapping[int, float | None], now_ns: int) -> None:
        """Parameters by the motors' ids; one that is not supported is no value."""
        for motor, value in values.items():
            index = self._index[motor]
            if value is None or not math.isfinite(value):
                continue
            if parameter is MECH_POS:
                self._position(index, value, now_ns)
            elif parameter is MECH_VEL:
                self.velocity[index] = self._scale.sign(index) * value
            elif parameter is TORQUE:
                self.effort[index] = self._scale.sign(index) * value
            elif parameter is MOTOR_TEMPERATURE:
                self.temperature[index] = value * 0.1
            elif parameter is VBUS:
                self.voltage[index] = value

    def motor_state(self, index: int) -> tuple[float, float]:
        """The motor's own angle and velocity by its last feedback [rad, rad/s]."""
        ranges = self._ranges[index]
        return (
            codec.dequantize(self.raw_positions[index], -ranges.position, ranges.position),
            codec.dequantize(self._raw_velocities[index], -ranges.velocity, ranges.velocity),
        )

    def forget_reports(self, indices: Iterable[int]) -> None:
        """What fault reports said; the motors are told to forget them too."""
        for index in indices:
            self._reported[index] = _NO_FAULTS
            self._combine(index)

    def _position(self, index: int, angle: float, now_ns: int) -> None:
        position, before_ns = self._scale.joint_angle(index, angle), int(self.received_ns[index])
        if 0 < before_ns < now_ns:
            seconds = (now_ns - before_ns) * 1e-9
            self.velocity[index] = (position - self.position[index]) / seconds
        self.position[index], self.received_ns[index] = position, now_ns

    def _report(self, index: int, frame: Frame) -> None:
        self._reported[index], self.limiters[index] = codec.parse_fault_report(frame.data)
        self._combine(index)

    def _combine(self, index: int) -> None:
        both = (*codec.feedback_faults(self._bits[index]), *self._reported[index])
        self.faults[index] = tuple(dict.fromkeys(both))
