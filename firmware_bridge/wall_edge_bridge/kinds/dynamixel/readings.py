"""What motors report, in the joints' units; and what their hardware errors are called.

Source: ROBOTIS e-Manual, "Hardware Error Status (70)" and "Bus Watchdog (98)". A latched hardware error that
is in the mask of register 63 has taken the torque; only a reboot clears it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wall_edge_bridge.drives import Fault, Feedback, Reaction
from wall_edge_bridge.drives.values import JointReadings
from wall_edge_bridge.kinds.dynamixel.codec import ALERT
from wall_edge_bridge.kinds.dynamixel.models import MODELS
from wall_edge_bridge.kinds.dynamixel.registers import RAD_S_PER_COUNT, RADIANS_PER_TICK
from wall_edge_bridge.kinds.dynamixel.replies import Answer
from wall_edge_bridge.kinds.dynamixel.settings import DynamixelJoint
from wall_edge_bridge.kinds.dynamixel.timing import POSITION

VOLTAGE = Fault("input voltage", Reaction.CHECK)
OVERHEATING = Fault("overheating", Reaction.CHECK)
WATCHDOG = Fault("bus watchdog", Reaction.ONCE)
UNNAMED = Fault("hardware error")
"""Told by the alert bit of every status, before register 70 has said which."""
HARDWARE: Mapping[int, Fault] = {
    0: VOLTAGE,
    1: Fault("hall sensor"),
    2: OVERHEATING,
    3: Fault("encoder"),
    4: Fault("electrical shock"),
    5: Fault("overload"),
}
"""By the bit of register 70."""


def hardware_faults(bits: int) -> tuple[Fault, ...]:
    """Of register 70, lowest bit first."""
    return tuple(HARDWARE.get(bit, Fault(f"hardware error bit {bit}")) for bit in range(8) if bits >> bit & 1)


class Readings:
    """The last of each joint. Answers are by the motors' ids."""

    def __init__(self, joints: Sequence[DynamixelJoint]) -> None:
        self._joints = tuple(joints)
        self._values = JointReadings(tuple(joint.name for joint in joints))
        self._index = {joint.id: index for index, joint in enumerate(joints)}
        self._zeros = [joint.zero_ticks for joint in joints]
        self._radians = [joint.direction * RADIANS_PER_TICK for joint in joints]
        self._efforts = [float("nan")] * len(joints)
        self._hardware = [0] * len(joints)
        self._expired = [False] * len(joints)
        self.enabled = False
        """Whether joints are to have torque: one without is limp then."""

    def scale_effort(self, joint: DynamixelJoint, number: int) -> None:
        """By the torque constant of its model ``number``, or the joint's own."""
        model = MODELS[number]
        constant = model.torque_constant if joint.torque_constant is None else joint.torque_constant
        if constant is not None:
            self._efforts[self._index[joint.id]] = joint.direction * model.effort_unit * constant

    def restart(self, *, enabled: bool) -> None:
        """Torque was switched on or off for all; when on, no fault was left."""
        self.enabled = enabled
        self._values.limp.clear()
        if enabled:
            self._hardware, self._expired = [0] * len(self._joints), [False] * len(self._joints)
            self._values.faults[:] = [()] * len(self._joints)

    def snapshot(self) -> Feedback:
        """A copy that later readings do not change."""
        return self._values.snapshot()

    def store(self, answers: Mapping[int, Answer]) -> bool:
        """Positions, velocities and efforts where they were asked for; whether a new alert is among them."""
        values, news = self._values, False
        for motor_id, answer in answers.items():
            index = self._index[motor_id]
            data, start = answer.data, POSITION.address - answer.block.address
            ticks = int.from_bytes(data[start : start + 4], "little", signed=True)
            values.position[index] = (ticks - self._zeros[index]) * self._radians[index]
            values.received_ns[index] = answer.received_ns
            if start:
                counts = answer.value("present_velocity")
                values.velocity[index] = counts * RAD_S_PER_COUNT * self._joints[index].direction
                values.effort[index] = answer.value("present_current") * self._efforts[index]
            if answer.error & ALERT and not self._hardware[index]:
                news = True
                values.faults[index] = (UNNAMED,)
        return news

    def store_status(self, answers: Mapping[int, Answer]) -> None:
        for motor_id, answer in answers.items():
            index = self._index[motor_id]
            self._hardware[index] = answer.value("hardware_error")
            self._name_faults(index)
            if self.enabled:
                limp = self._values.limp
                (limp.discard if answer.value("torque_enable") == 1 else limp.add)(index)

    def store_watchdog(self, answers: Mapping[int, Answer]) -> None:
        for motor_id, answer in answers.items():
            index = self._index[motor_id]
            self._expired[index] = answer.value("bus_watchdog") < 0
            self._name_faults(index)

    def store_health(self, answers: Mapping[int, Answer]) -> None:
        for motor_id, answer in answers.items():
            index = self._index[motor_id]
            self._values.voltage[index] = answer.value("present_voltage") / 10
            self._values.temperature[index] = answer.value("present_temperature")

    def _name_faults(self, index: int) -> None:
        expired = (WATCHDOG,) if self._expired[index] else ()
        self._values.faults[index] = hardware_faults(self._hardware[index]) + expired
