"""Damiao motors in MIT mode: what is checked and done around the cycles."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence

from wall_edge.errors import BusTimeout, DriveError, WallEdgeError
from wall_edge_bridge.drives import Fault, Feedback
from wall_edge_bridge.drives.recovery import FaultRecovery
from wall_edge_bridge.kinds.damiao.checks import remaining_cause, require_inside, require_model, require_reach
from wall_edge_bridge.kinds.damiao.codec import CLEAR, DISABLE, ENABLE
from wall_edge_bridge.kinds.damiao.cycle import DamiaoCycle
from wall_edge_bridge.kinds.damiao.motor import Facts, Motor
from wall_edge_bridge.kinds.damiao.registers import (
    CTRL_MODE,
    ENABLED,
    MIT_MODE,
    MODES,
    TIMEOUT,
    TIMEOUT_MOST,
    TIMEOUT_UNIT_S,
    VBUS,
)
from wall_edge_bridge.kinds.damiao.settings import DamiaoJoint, DamiaoSettings
from wall_edge_bridge.kinds.damiao.survey import survey
from wall_edge_bridge.kinds.damiao.usb_bridge import frames_over
from wall_edge_bridge.transport import Frame, FrameTransport, Wire

_ATTEMPTS = 3

_SEND_NS = 5_000_000


class DamiaoDrive(DamiaoCycle):
    """Motors of one bus. Nothing is ever written to their flash, and never a zero (``registers`` say why)."""

    def __init__(
        self,
        settings: DamiaoSettings,
        joints: Sequence[DamiaoJoint],
        wire: FrameTransport,
        *,
        clock: Callable[[], int],
        start_slack_rad: float = 0.0,
    ) -> None:
        super().__init__(settings, joints, wire, clock)
        self._slack = start_slack_rad
        self._recovery = FaultRecovery(joints)
        self._facts: list[Facts] = []

    @property
    def facts(self) -> tuple[Facts, ...]:
        """What each motor said of itself at ``connect``; empty before."""
        return tuple(self._facts)

    def connect(self) -> None:
        """Also reads what the numbers in the motors' frames span, and uses that from now on."""
        facts = survey(self._bus, self._wire, [motor.joint for motor in self._motors])
        self._motors = [
            Motor(motor.joint, each.ranges) for motor, each in zip(self._motors, facts, strict=True)
        ]
        self._facts = facts

    def check(self) -> None:
        self._require_connected()
        for motor in self._motors:
            require_model(motor)
            require_reach(motor)

    def look(self, deadline_ns: int) -> Feedback:
        super().look(deadline_ns)
        present = [i for i, facts in enumerate(self._facts) if facts.voltage is not None]
        answers = self._bus.read(VBUS, [self._motors[i].id for i in present], attempts=1)
        for index in present:
            if values := answers[self._motors[index].id]:
                self._readings.voltage[index] = values[0].value
        return self._readings.snapshot()

    def arm_watchdog(self, timeout_s: float) -> float | None:
        units = math.ceil(timeout_s / TIMEOUT_UNIT_S - 1e-6) if math.isfinite(timeout_s) else 0
        if not 0 < units <= TIMEOUT_MOST:
            raise DriveError(
                f"a watchdog of {timeout_s:g} s",
                expected=f"{TIMEOUT_UNIT_S:g} to {TIMEOUT_MOST * TIMEOUT_UNIT_S:g} s",
            )
        self._require_connected()
        armed = self._bus.write(TIMEOUT, {motor.id: units for motor in self._motors})
        for motor in self._motors:
            if armed[motor.id] != units:
                raise DriveError(
                    f"joint {motor.joint.name} (id {motor.id}): watchdog reads back {armed[motor.id]}",
                    expected=f"{units} (register {TIMEOUT}, {TIMEOUT_UNIT_S * 1e6:g} µs each)",
                )
        return units * TIMEOUT_UNIT_S

    def enable(self) -> None:
        """Motors in another control mode are put into MIT mode until their supply goes.

        Another program's mode is nobody's mistake, and the register is in RAM: refusing would send people to
        a tool that writes it to flash. A motor that another mode is moving now is refused.
        """
        self.check()
        self._require_answers(self._exchange(dict(enumerate(self._refreshes)), _ATTEMPTS))
        self._enabled = False
        before = [state == ENABLED for state in self._states]
        require_inside(self.limits, self._motors, self._readings.position, self._slack)
        self._recovery.prepare(self._readings.faults, self._remaining_cause, self._clear)
        self._require_mit_mode(before)
        try:
            self._power()
        except WallEdgeError:
            with contextlib.suppress(WallEdgeError):
                self._let_go([index for index, powered in enumerate(before) if not powered])
            raise
        self._enabled = True

    def let_go_at_once(self) -> None:
        frames = list(self._to_all([DISABLE] * self.dof).values())
        self._wire.send(frames, self._clock() + _SEND_NS)

    def disable(self) -> None:
        self._enabled = False
        self._readings.limp.clear()
        self._let_go(range(self.dof))

    def torque(self) -> tuple[bool | None, ...]:
        silent = self._exchange(dict(enumerate(self._refreshes)), _ATTEMPTS)
        return tuple(None if i in silent else state == ENABLED for i, state in enumerate(self._states))

    def _power(self) -> None:
        """The goal goes first, and again after: whether a motor keeps one while it has no torque or not.

        Who did not confirm the first is not enabled: it would jump to a goal that it kept.
        """
        there = self._readings.position.tolist()
        hold = self._to_all(
            [motor.command(p, 0.0, 0.0) for motor, p in zip(self._motors, there, strict=True)]
        )
        enable = self._to_all([ENABLE] * self.dof)
        limp: set[int] = set(range(self.dof))
        for _ in range(_ATTEMPTS):
            deaf = self._exchange({index: hold[index] for index in limp})
            self._exchange({index: enable[index] for index in limp - deaf})
            silent = deaf | self._exchange({index: hold[index] for index in limp - deaf})
            limp = silent | {index for index in limp if self._states[index] != ENABLED}
            if not limp:
                return
        self._require_answers(silent)
        first = min(limp)
        said = ", ".join(fault.name for fault in self._readings.faults[first]) or "no torque"
        raise DriveError(
            f"joint {self._names([first])} reports {said} after it was enabled",
            expected="torque",
            fix="check its supply",
        )

    def _let_go(self, indices: Sequence[int]) -> None:
        disable = self._to_all([DISABLE] * self.dof)
        held = set(indices)
        silent: set[int] = set()
        for _ in range(_ATTEMPTS):
            silent = self._exchange({index: disable[index] for index in held})
            held = silent | {index for index in held if self._states[index] == ENABLED}
            if not held:
                return
        self._require_answers(silent)
        raise DriveError(f"{self._names(held)} still powered after they were disabled", expected="no torque")

    def _clear(self, indices: Sequence[int]) -> None:
        clear = self._to_all([CLEAR] * self.dof)
        self._require_answers(self._exchange({index: clear[index] for index in indices}, _ATTEMPTS))
        self._exchange({index: self._refreshes[index] for index in indices}, _ATTEMPTS)
        for index in indices:
            if faults := self._readings.faults[index]:
                raise DriveError(
                    f"{self._names([index])} reports {faults[0].name} after it was cleared",
                    expected="no fault before torque goes on",
                    fix="remove the cause",
                )

    def _remaining_cause(self, index: int, fault: Fault) -> str:
        # A glance at the supply now, not at connect: it may have come back since.
        return remaining_cause(
            fault,
            self._facts[index],
            self._bus.read_one(VBUS, self._motors[index].id),
            float(self._readings.temperature[index]),
        )

    def _require_mit_mode(self, powered: Sequence[bool]) -> None:
        answers = self._bus.read(CTRL_MODE, [motor.id for motor in self._motors])
        others: dict[int, float] = {}
        for motor, is_powered in zip(self._motors, powered, strict=True):
            values = answers[motor.id]
            if values and values[0].value == MIT_MODE:
                continue
            mode = MODES.get(int(values[0].value), values[0].value) if values else "no"
            if is_powered or not values:
                raise DriveError(
                    f"joint {motor.joint.name} (id {motor.id}) is in {mode} mode",
                    expected="MIT mode",
                    fix="disable it first: run `wall-edge robot release`",
                )
            others[motor.id] = MIT_MODE
        if others and any(mode != MIT_MODE for mode in self._bus.write(CTRL_MODE, others).values()):
            raise DriveError(f"motors {sorted(others)} stay in another mode", expected="MIT mode")

    def _to_all(self, data: Sequence[bytes]) -> dict[int, Frame]:
        frames = zip(self._motors, data, strict=True)
        return {index: self._bus.frame(motor.id, each) for index, (motor, each) in enumerate(frames)}

    def _require_answers(self, silent: set[int]) -> None:
        if silent:
            raise BusTimeout(
                f"no answer from {self._names(silent)} on {self._wire.description}",
                fix="check the supply and the cable",
            )

    def _require_connected(self) -> None:
        if not self._facts:
            raise DriveError("the motors' ranges are not known", fix="connect first")


def open_drive(
    settings: DamiaoSettings,
    joints: Sequence[DamiaoJoint],
    wire: Wire,
    *,
    clock: Callable[[], int] = time.monotonic_ns,
    start_slack_rad: float = 0.0,
) -> DamiaoDrive:
    """As every kind's; ``wire`` is a serial port where the settings name the USB bridge."""
    frames = frames_over(settings, wire, clock)
    return DamiaoDrive(settings, joints, frames, clock=clock, start_slack_rad=start_slack_rad)
