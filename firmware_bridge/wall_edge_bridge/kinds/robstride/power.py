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
from wall_edge_bridge.kinds.robstride.group import RobStrideGroup
from wall_edge_bridge.kinds.robstride.registers import MECH_POS, RUN_MODE, VBUS
from wall_edge_bridge.kinds.robstride.settings import RobStrideSettings
from wall_edge_bridge.transport import Frame


class RobStrideEnabling:
    """Of one drive. ``slack`` [rad]: how far beyond its limits a joint may stand."""

    def __init__(
        self, group: RobStrideGroup, settings: RobStrideSettings, limits: JointLimits, slack: float
    ) -> None:
        self._group, self._settings, self._limits, self._slack = group, settings, limits, slack
        self._recovery = FaultRecovery(group.joints)

    def require_ready(self) -> list[bool]:
        """Everything that may forbid torque; whether each motor has it already.

        run_mode is set where another program left it different and the motor is at rest: it is lost with
        power anyway. Of a motor that runs in another mode it is refused: somebody else is moving it.
        """
        group, readings = self._group, self._group.readings
        modes = group.read_all(RUN_MODE)
        # Its own value, written back, changes nothing and is answered with feedback.
        self._write_mode(dict(zip(group.ids, modes, strict=True)))
        powered = [mode == Mode.RUN for mode in readings.modes]
        if others := require_operation_control(group.joints, modes, powered):
            self._write_mode(dict.fromkeys(others, 0))
            require_operation_control(group.joints, group.read_all(RUN_MODE), [True] * len(group.joints))
        states = [readings.motor_state(index) for index in range(len(group.joints))]
        reported = readings.position.copy()
        for joint, state, angle in zip(group.joints, states, group.read_all(MECH_POS), strict=True):
            require_range(joint, state, angle)
        fix = "move it inside by hand, or calibrate again"
        self._limits.require_inside(reported, self._slack, "position", fix)
        self._recover()
        return powered

    def power(self, powered: Sequence[bool], holds: Sequence[Frame]) -> None:
        """``holds``: a control frame a joint; motors must find no older setpoint than this one."""
        group = self._group
        by_id = dict(zip(group.ids, holds, strict=True))
        group.command(by_id)
        for index, motor in enumerate(group.ids):
            if not powered[index]:
                group.command({motor: codec.request(Type.ENABLE, group.host, motor)})
            group.command(by_id)  # those that run already are commanded meanwhile
            if group.readings.modes[index] != Mode.RUN:
                raise group.faulty(index)

    def restore(self, powered: Sequence[bool]) -> None:
        """Torque off again where it was off."""
        with suppress(WallEdgeError):
            self._group.stop([m for m, before in zip(self._group.ids, powered, strict=True) if not before])

    def _write_mode(self, values: Mapping[int, float | None]) -> None:
        host = self._group.host
        self._group.command({m: codec.write(RUN_MODE, v or 0, host, m) for m, v in values.items()})

    def _recover(self) -> None:
        readings = self._group.readings
        volts, warmth = self._group.read_all(VBUS), readings.temperature
        self._recovery.prepare(
            tuple(readings.faults),
            lambda index, fault: remaining_cause(fault, volts[index], warmth[index], self._settings),
            self._clear,
        )

    def _clear(self, indices: Iterable[int]) -> None:
        chosen, group = list(indices), self._group
        group.readings.forget_reports(chosen)
        motors = [group.ids[index] for index in chosen]
        group.command({motor: codec.stop(group.host, motor, clear=True) for motor in motors})
        for index in chosen:
            if group.readings.faults[index]:
                raise group.faulty(index)
