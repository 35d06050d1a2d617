"""How RobStride motors are powered: what may forbid it first, then torque where the joints are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from wall_edge.errors import WallEdgeError
from wall_edge_bridge.drives.limits import JointLimits
from wall_edge_bridge.drives.recovery import FaultRecovery
from wall_edge_bridge.kinds.robstride import codec
from wall_edge_bridge.kinds.robstride.checks import (
    remaining_cause,
    require_operation_control,
    require_range,
)
from wall_edge_bridge.kinds.robstride.codec import Mode, Type
from wall_edge_bridge.kinds.robstride.motors import RobStrideMotors
from wall_edge_bridge.kinds.robstride.registers import MECH_POS, RUN_MODE, VBUS
from wall_edge_bridge.kinds.robstride.settings import RobStrideSettings
from wall_edge_bridge.transport import Frame


class RobStridePower:
    """Of one drive. ``slack`` [rad]: how far beyond its limits a joint may stand."""

    def __init__(
        self, motors: RobStrideMotors, settings: RobStrideSettings, limits: JointLimits, slack: float
    ) -> None:
        self._motors, self._settings, self._limits, self._slack = motors, settings, limits, slack
        self._recovery = FaultRecovery(motors.joints)

    def require_ready(self) -> list[bool]:
        """Everything that may forbid torque; whether each motor has it already.

        run_mode is set where another program left it different and the motor is at rest: it is lost with
        power anyway. Of a motor that runs in another mode it is refused: somebody else is moving it.
        """
        motors, readings = self._motors, self._motors.readings
        modes = motors.read_all(RUN_MODE)
        # Its own value, written back, changes nothing and is answered with feedback.
        self._write_mode(dict(zip(motors.ids, modes, strict=True)))
        powered = [mode == Mode.RUN for mode in readings.modes]
        if others := require_operation_control(motors.joints, modes, powered):
            self._write_mode(dict.fromkeys(others, 0))
            require_operation_control(motors.joints, motors.read_all(RUN_MODE), [True] * len(motors.joints))
        states = [readings.motor_state(index) for index in range(len(motors.joints))]
        reported = readings.position.copy()
        for joint, state, angle in zip(motors.joints, states, motors.read_all(MECH_POS), strict=True):
            require_range(joint, state, angle)
        fix = "move it inside by hand, or calibrate again"
        self._limits.require_inside(reported, self._slack, "position", fix)
        self._recover()
        return powered

    def power(self, powered: Sequence[bool], holds: Sequence[Frame]) -> None:
        """``holds``: a control frame a joint; motors must find no older setpoint than this one."""
        motors = self._motors
        by_id = dict(zip(motors.ids, holds, strict=True))
        motors.command(by_id)
        for index, motor in enumerate(motors.ids):
            if not powered[index]:
                motors.command({motor: codec.request(Type.ENABLE, motors.host, motor)})
            motors.command(by_id)  # those that run already are commanded meanwhile
            if motors.readings.modes[index] != Mode.RUN:
                raise motors.faulty(index)

    def restore(self, powered: Sequence[bool]) -> None:
        """Torque off again where it was off."""
        with suppress(WallEdgeError):
            self._motors.stop([m for m, before in zip(self._motors.ids, powered, strict=True) if not before])

    def _write_mode(self, values: Mapping[int, float | None]) -> None:
        host = self._motors.host
        self._motors.command({m: codec.write(RUN_MODE, v or 0, host, m) for m, v in values.items()})

    def _recover(self) -> None:
        readings = self._motors.readings
        volts, warmth = self._motors.read_all(VBUS), readings.temperature
        self._recovery.prepare(
            tuple(readings.faults),
            lambda index, fault: remaining_cause(fault, volts[index], warmth[index], self._settings),
            self._clear,
        )

    def _clear(self, indices: Iterable[int]) -> None:
        chosen, motors = list(indices), self._motors
        motors.readings.forget_reports(chosen)
        ids = [motors.ids[index] for index in chosen]
        motors.command({motor: codec.stop(motors.host, motor, clear=True) for motor in ids})
        for index in chosen:
            if motors.readings.faults[index]:
                raise motors.faulty(index)
