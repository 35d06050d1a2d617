"""Joints in SI units, Feetech servos in ticks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from wall_edge.errors import ConfigError
from wall_edge_bridge.drives.values import Floats, JointReadings
from wall_edge_bridge.kinds.feetech.bus import Answer, Block
from wall_edge_bridge.kinds.feetech.codec import decode_sign_magnitude
from wall_edge_bridge.kinds.feetech.faults import FAULTS
from wall_edge_bridge.kinds.feetech.registers import (
    RADIANS_PER_TICK,
    STS3215,
    radians_to_ticks,
    ticks_to_radians,
)
from wall_edge_bridge.kinds.feetech.settings import MAX_TICK, FeetechJoint

_TORQUE, _PRESENT = STS3215["torque_enable"], STS3215["present_position"]
POSITION = Block.of(_PRESENT)
TORQUE_AND_POSITION = Block.of(_TORQUE, _PRESENT)
LOOK = Block.of(_TORQUE, STS3215["present_temperature"])
"""24 bytes: speed, load, voltage and temperature too."""


class JointScale:
    """Zeros, directions and torques of joints; arrays are [dof], in the order of ``joints``.

    Raises ConfigError for joints that these servos cannot be.
    """

    def __init__(self, joints: Sequence[FeetechJoint]) -> None:
        for joint in joints:
            _require_reach(joint)
        self._zero = np.array([joint.zero_ticks for joint in joints])
        self._direction = np.array([joint.direction for joint in joints])
        self._effort = np.array([joint.stall_torque * joint.direction for joint in joints]) / 1000

    def radians(self, ticks: npt.NDArray[Any]) -> Floats:
        """Joint angles of encoder readings; NaN stays NaN."""
        return ticks_to_radians(ticks, self._zero, self._direction)

    def velocity(self, ticks: npt.NDArray[Any]) -> Floats:
        """rad/s of speeds in tick/s."""
        there: Floats = ticks * self._direction * RADIANS_PER_TICK
        return there

    def effort(self, load: npt.NDArray[Any]) -> Floats:
        """Nm of loads in 0.1 % of the full drive voltage."""
        there: Floats = load * self._effort
        return there

    def ticks(self, positions: Floats) -> tuple[int | None, ...]:
        """Encoder readings at ``positions`` [rad], to the nearest; None for NaN."""
        ticks = radians_to_ticks(positions, self._zero, self._direction)
        return tuple(None if math.isnan(tick) else round(tick) for tick in ticks.tolist())

    def nearest_ticks(self, positions: Floats) -> list[int]:
        """Goals for ``positions`` [rad] inside the limits."""
        ticks: list[int] = (
            np.rint(radians_to_ticks(positions, self._zero, self._direction)).astype(int).tolist()
        )
        return ticks


def _require_reach(joint: FeetechJoint) -> None:
    ends = radians_to_ticks([joint.lower, joint.upper], joint.zero_ticks, joint.direction)
    # A servo in position mode silently stops at the ends of its one turn.
    if ends.min() < -0.5 or ends.max() > MAX_TICK + 0.5:
        raise ConfigError(
            f"joint {joint.name}: limits {joint.lower:.6g} to {joint.upper:.6g} rad are ticks "
            f"{math.floor(ends.min())} to {math.ceil(ends.max())}",
            expected=f"0 to {MAX_TICK}",
            fix="narrow the limits or calibrate zero_ticks",
        )


class ServoReadings(JointReadings):
    """What servos said last, in the units of a Feedback. Speed and load are of the last answer, or NaN."""

    def __init__(self, joints: Sequence[FeetechJoint]) -> None:
        super().__init__(tuple(joint.name for joint in joints))
        self._ids = tuple(joint.id for joint in joints)
        self._scale = JointScale(joints)
        self._ticks, self._speed, self._load = (np.full(len(joints), np.nan) for _ in range(3))
        self._looked = False
        """Whether some joint's speed and load are known."""

    def store(self, answers: Mapping[int, Answer], enabled: bool) -> None:
        """Answers of ``POSITION``, ``TORQUE_AND_POSITION`` or ``LOOK``, by servo id."""
        present = _PRESENT.address
        for index, servo_id in enumerate(self._ids):
            answer = answers.get(servo_id)
            if answer is None:
                continue
            block, data, error, self.received_ns[index] = answer
            at = present - block.address
            # As answer.value(_PRESENT), written out: it is done for every joint in every cycle.
            self._ticks[index] = decode_sign_magnitude(data[at] | data[at + 1] << 8)
            self.faults[index] = FAULTS[error]
            if enabled and at and answer.value(_TORQUE) != 1:
                self.limp.add(index)
            if self._looked or block == LOOK:
                self._store_look(index, answer)
        self.position = self._scale.radians(self._ticks)
        if self._looked:
            self.velocity = self._scale.velocity(self._speed)
            self.effort = self._scale.effort(self._load)
            self._looked = not bool(np.isnan(self._speed).all())

    def _store_look(self, index: int, answer: Answer) -> None:
        self._looked = True
        if answer.block != LOOK:
            self._speed[index] = self._load[index] = np.nan
            return
        self._speed[index] = answer.value(STS3215["present_speed"])
        self._load[index] = answer.value(STS3215["present_load"])
        self.temperature[index] = answer.value(STS3215["present_temperature"])
        self.voltage[index] = answer.value(STS3215["present_voltage"]) / 10
