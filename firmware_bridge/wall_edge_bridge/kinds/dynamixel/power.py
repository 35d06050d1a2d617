"""Torque on and off, with what has to be done and read back before and after."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from wall_edge.errors import BusError, BusTimeout, DriveError, WallEdgeError
from wall_edge_bridge.drives import Fault
from wall_edge_bridge.drives.limits import JointLimits
from wall_edge_bridge.drives.recovery import FaultRecovery
from wall_edge_bridge.drives.values import Floats
from wall_edge_bridge.kinds.dynamixel.bus import ATTEMPTS, DynamixelBus
from wall_edge_bridge.kinds.dynamixel.codec import build_reboot
from wall_edge_bridge.kinds.dynamixel.memory import SETTINGS
from wall_edge_bridge.kinds.dynamixel.readings import OVERHEATING, VOLTAGE, WATCHDOG, hardware_faults
from wall_edge_bridge.kinds.dynamixel.replies import Answer, Block
from wall_edge_bridge.kinds.dynamixel.settings import DynamixelJoint
from wall_edge_bridge.kinds.dynamixel.timing import HEALTH, POSITION, STATUS, WATCHDOG_BLOCK

_COOL = 10
"""°C below its limit that a motor must have before it is used again."""
_BOOT_S = 0.1
_BOOT_LOOKS = 20
"""Looks, ``_BOOT_S`` apart, that a motor has to come back from a reboot."""


class Power:
    """Of all motors of a bus at once."""

    def __init__(
        self,
        bus: DynamixelBus,
        joints: Sequence[DynamixelJoint],
        limits: JointLimits,
        start_slack_rad: float,
    ) -> None:
        self._bus, self._joints, self._limits = bus, tuple(joints), limits
        self._start_slack = start_slack_rad
        self._recovery = FaultRecovery(joints)

    def enable(self, watchdog_units: int, radians: Callable[[Sequence[int]], Floats]) -> None:
        """Torque on where the joints are, the watchdog armed and read back; else as it was found.

        Faults are cleared before, as their reactions say. Raises DriveError, BusError.
        """
        self._recover()
        initial = [answer.value("torque_enable") for answer in self.read_all(STATUS)]
        here = [answer.value("present_position") for answer in self.read_all(POSITION)]
        self._limits.require_inside(
            radians(here), self._start_slack, "position", "move it inside by hand, or calibrate again"
        )
        # A sync write is not acknowledged: under torque, a goal that was lost or refused makes a motor jump.
        self._write_and_require("goal_position", here, "its present position, before torque")
        try:
            self._write_and_require("torque_enable", [1] * len(here), "torque on")
            if watchdog_units:
                self.arm(watchdog_units)
        except WallEdgeError:
            for _ in range(ATTEMPTS):
                with contextlib.suppress(BusError):
                    self._bus.write("torque_enable", initial)
            raise

    def disable(self, watchdog: bool) -> None:
        """Torque off, sent several times and read back. Raises DriveError, BusTimeout, BusError."""
        zeros = [0] * len(self._joints)
        for _ in range(ATTEMPTS):
            self._bus.write("torque_enable", zeros)
        if watchdog:
            self._bus.write("bus_watchdog", zeros)
        self._require("torque_enable", zeros, "torque off after disable", "cut the arm's power")

    def arm(self, units: int) -> None:
        """Raises DriveError when one reads back otherwise."""
        self._write_and_require(
            "bus_watchdog", [units] * len(self._joints), "the bus watchdog as it was armed"
        )

    def read_all(self, block: Block) -> list[Answer]:
        """Of every joint, in their order; raises BusTimeout when one stays silent."""
        answers = self._bus.read(block)
        if silent := [joint for joint in self._joints if joint.id not in answers]:
            raise self.no_answer(silent)
        return [answers[joint.id] for joint in self._joints]

    def no_answer(self, silent: Sequence[DynamixelJoint], instead: str = "") -> BusTimeout:
        names = ", ".join(map(str, silent))
        return BusTimeout(
            f"no answer from {names} on {self._bus.wire.description}{': ' * bool(instead)}{instead}",
            fix="check the motor's power, cable and id, and that it uses this baud rate",
        )

    def _write_and_require(self, name: str, values: Sequence[int], expected: str) -> None:
        for attempt in range(ATTEMPTS):
            self._bus.write(name, values)
            try:
                self._require(name, values, expected, "check the motor's supply, limits and mode")
            except DriveError:
                if attempt == ATTEMPTS - 1:
                    raise
            else:
                return

    def _require(self, name: str, values: Sequence[int], expected: str, fix: str) -> None:
        answers = self.read_all(Block.of(name))
        for joint, answer, value in zip(self._joints, answers, values, strict=True):
            if (actual := answer.value(name)) != value:
                raise DriveError(
                    f"joint {joint}: {name} reads back as {actual}",
                    expected=f"{value}, {expected}",
                    fix=fix,
                )

    # --- faults --------------------------------------------------------------------------------------------

    def _recover(self) -> None:
        """Clears what may be cleared: hardware errors by a reboot, an expired watchdog by 0."""
        status, watchdog = self.read_all(STATUS), self.read_all(WATCHDOG_BLOCK)
        faults = [
            hardware_faults(answer.value("hardware_error"))
            + ((WATCHDOG,) if dog.value("bus_watchdog") < 0 else ())
            for answer, dog in zip(status, watchdog, strict=True)
        ]
        if not any(faults):
            return
        settings, health = self.read_all(SETTINGS), self.read_all(HEALTH)
        self._recovery.prepare(
            faults,
            lambda index, fault: _remaining_cause(fault, settings[index], health[index]),
            lambda indices: self._clear(indices, faults),
        )

    def _clear(self, indices: Sequence[int], faults: Sequence[Sequence[Fault]]) -> None:
        for index in indices:
            if set(faults[index]) != {WATCHDOG}:
                self._reboot(self._joints[index])
        self._write_and_require("bus_watchdog", [0] * len(self._joints), "no expired watchdog")
        for joint, answer in zip(self._joints, self.read_all(STATUS), strict=True):
            if left := hardware_faults(answer.value("hardware_error")):
                raise DriveError(
                    f"joint {joint} reports {', '.join(fault.name for fault in left)}",
                    expected="no fault after a reboot",
                    fix="remove the cause, then power-cycle the motor",
                )

    def _reboot(self, joint: DynamixelJoint) -> None:
        self._bus.exchange(joint.id, build_reboot(joint.id))
        for _ in range(_BOOT_LOOKS):
            self._bus.pause(_BOOT_S)
            if self._bus.read_one(STATUS, joint.id):
                return
        raise self.no_answer([joint], "it did not come back from a reboot")


def _remaining_cause(fault: Fault, settings: Answer, health: Answer) -> str:
    """Why a fault must stay, by the motor's own limits and what it measures now; empty when it may go."""
    if fault == VOLTAGE:
        volts = health.value("present_voltage") / 10
        low, high = settings.value("min_voltage") / 10, settings.value("max_voltage") / 10
        return "" if low <= volts <= high else f"supply at {volts:g} V, it needs {low:g} to {high:g}"
    if fault == OVERHEATING:
        degrees, limit = health.value("present_temperature"), settings.value("max_temperature") - _COOL
        return "" if degrees <= limit else f"at {degrees} °C, it must cool to {limit}"
    return "its cause cannot be measured"
