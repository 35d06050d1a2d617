"""The last answer of each moteus, in the joints' units."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from wall_edge_bridge.drives.values import JointReadings
from wall_edge_bridge.kinds.moteus import registers as reg
from wall_edge_bridge.kinds.moteus.codec import INT8, from_raw
from wall_edge_bridge.kinds.moteus.frames import REPLY, REPLY_HEADS
from wall_edge_bridge.kinds.moteus.scan import values
from wall_edge_bridge.kinds.moteus.settings import MoteusJoint
from wall_edge_bridge.transport import Frame

_TURN = 2 * math.pi
_NEEDED = (reg.MODE, reg.POSITION, reg.VELOCITY, reg.TORQUE, reg.VOLTAGE, reg.TEMPERATURE, reg.FAULT)


class MoteusReadings:
    """``values`` and each joint's mode."""

    def __init__(self, joints: Sequence[MoteusJoint]) -> None:
        self.values = JointReadings(tuple(joint.name for joint in joints))
        self.modes = [reg.STOPPED] * len(joints)
        self._scales = [(joint.direction * _TURN, joint.zero_rad * joint.direction) for joint in joints]
        self._directions = [joint.direction for joint in joints]
        self._conditions: dict[tuple[int, int], reg.Condition] = {}

    def powered(self, index: int) -> bool:
        """A motor that damps after its watchdog has torque too."""
        return self.modes[index] not in (reg.STOPPED, reg.FAULTED)

    def take(self, index: int, frame: Frame) -> bool:
        """Whether it says all that an answer says; else nothing of it is believed."""
        data = frame.data
        if len(data) < REPLY.size:
            return False
        head, mode, second, position, velocity, torque, third, *more = REPLY.unpack_from(data)
        if (head, second, third) != REPLY_HEADS:
            return self._take_slowly(index, frame)
        volts, celsius, fault = more
        self._store(index, mode, fault, frame.received_ns, (position, velocity, torque))
        self.values.voltage[index] = from_raw(volts, INT8, reg.VOLTS)
        self.values.temperature[index] = from_raw(celsius, INT8, reg.CELSIUS)
        return True

    def _take_slowly(self, index: int, frame: Frame) -> bool:
        answer: Mapping[int, float] = values(frame.data)
        if any(register not in answer for register in _NEEDED):
            return False
        motion = (answer[reg.POSITION], answer[reg.VELOCITY], answer[reg.TORQUE])
        self._store(index, int(answer[reg.MODE]), int(answer[reg.FAULT]), frame.received_ns, motion)
        self.values.voltage[index] = answer[reg.VOLTAGE]
        both = (answer[reg.TEMPERATURE], answer.get(reg.MOTOR_TEMPERATURE, math.nan))
        numbers = [each for each in both if not math.isnan(each)]
        self.values.temperature[index] = max(numbers, default=math.nan)
        return True

    def _store(
        self, index: int, mode: int, fault: int, received_ns: int, motion: tuple[float, float, float]
    ) -> None:
        into = self.values
        condition = self._conditions.get((mode, fault))
        if condition is None:
            condition = self._conditions[mode, fault] = reg.condition(mode, fault)
        self.modes[index] = mode
        into.faults[index], into.limiters[index] = condition
        position, velocity, torque = motion
        scale, zero = self._scales[index]
        into.velocity[index] = velocity * scale
        into.effort[index] = torque * self._directions[index]
        if math.isfinite(position):  # else it has lost its encoder: what is known of it grows old
            into.position[index] = position * scale - zero
            into.received_ns[index] = received_ns
