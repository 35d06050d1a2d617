"""Torque on and off, and the watchdog: what a moteus is told beyond a cycle's commands."""

from __future__ import annotations

import math
from collections.abc import Sequence

from wall_edge.errors import DriveError, WallEdgeError
from wall_edge_bridge.drives import Fault
from wall_edge_bridge.drives.recovery import FaultRecovery
from wall_edge_bridge.kinds.moteus import registers as reg
from wall_edge_bridge.kinds.moteus.codec import FLOAT, INT16, pad, read, write
from wall_edge_bridge.kinds.moteus.motors import Answer, Motors
from wall_edge_bridge.kinds.moteus.settings import MoteusSettings

_MS = 1_000_000
_START_NS = 300 * _MS
"""A motor calibrates its current sensors before it moves: some 10 ms."""
_POLL_NS = 2 * _MS
_WATCHDOG_MAX_S = 32.767


class Power:
    """Of ``motors``. Raises DriveError, BusError throughout."""

    def __init__(self, motors: Motors, settings: MoteusSettings) -> None:
        self._motors, self._settings = motors, settings
        self._recovery = FaultRecovery(motors.joints)

    def arm_watchdog(self, timeout_s: float) -> float:
        """Written alone, it starts nothing; each command from then on carries it. What is read back [s]."""
        if not 0.001 <= timeout_s <= _WATCHDOG_MAX_S:
            raise DriveError(f"a watchdog of {timeout_s:g} s", expected=f"0.001 to {_WATCHDOG_MAX_S} s")
        steps = round(timeout_s / reg.SECONDS.int16)
        data = pad(write(INT16, reg.COMMAND_TIMEOUT, [steps]) + read(FLOAT, reg.COMMAND_TIMEOUT))
        answers = self._motors.ask_all(dict.fromkeys(range(len(self._motors.joints)), data))
        armed = self._require_watchdog(answers, steps / 1000)
        self._motors.set_watchdog(steps / 1000)
        return armed

    def _require_watchdog(self, answers: Sequence[Answer], timeout_s: float) -> float:
        armed = [answer.get(reg.COMMAND_TIMEOUT, math.nan) for answer in answers]
        for index, each in enumerate(armed):
            if not abs(each - timeout_s) < reg.SECONDS.int16 / 2:
                raise DriveError(
                    f"{self._motors.name(index)} has a watchdog of {each:g} s",
                    expected=f"{timeout_s:g} s, as written",
                    fix="update the controller's firmware",
                )
        return round(min(armed), 6)

    def clear_faults(self) -> None:
        """Those that may be cleared; refuses for the others, and for a motor that lost its position."""
        readings = self._motors.readings.values
        self._motors.read_all()
        self._recovery.prepare(readings.faults, self._remaining_cause, self._clear)
        for index, each in enumerate(readings.position):
            if math.isnan(each):
                raise DriveError(
                    f"{self._motors.name(index)} does not know its position",
                    expected="an output position",
                    fix="check the encoder and its configuration",
                )

    def _remaining_cause(self, index: int, fault: Fault) -> str:
        now, settings = self._motors.readings.values, self._settings
        if fault.name == "under_voltage" and not now.voltage[index] >= settings.min_voltage:
            return f"bus at {now.voltage[index]:g} V, it needs {settings.min_voltage:g} V"
        if fault.name == "over_voltage" and not now.voltage[index] <= settings.max_voltage:
            return f"bus at {now.voltage[index]:g} V, at most {settings.max_voltage:g} V"
        if fault.name == "over_temperature" and not now.temperature[index] <= settings.restart_temperature:
            return f"{now.temperature[index]:g} °C, at most {settings.restart_temperature:g} °C"
        return ""

    def _clear(self, indices: Sequence[int]) -> None:
        motors = self._motors
        motors.ask_all({index: motors.frames[index].stop for index in indices})
        motors.read_all()
        for index in indices:
            if faults := motors.readings.values.faults[index]:
                raise DriveError(
                    f"{motors.name(index)} reports {faults[0].name} again",
                    expected="no fault after a stop",
                    fix="remove the cause, then power-cycle the motor",
                )

    def start(self) -> None:
        """Hold here; when one refuses, those that did not before are stopped again."""
        motors = self._motors
        before = list(motors.readings.modes)
        try:
            self._hold()
        except WallEdgeError:
            motors.stop_quietly([index for index, mode in enumerate(before) if mode != reg.POSITION_MODE])
            raise

    def _hold(self) -> None:
        motors = self._motors
        hold = dict(enumerate(each.hold for each in motors.frames))
        end_ns = motors.clock() + _START_NS
        while True:
            answers = motors.ask_all(hold)
            waiting = [i for i, mode in enumerate(motors.readings.modes) if mode != reg.POSITION_MODE]
            self._require_startable(waiting, motors.clock() > end_ns)
            if not waiting:
                break
            motors.bus.pause(motors.clock() + _POLL_NS)
        if motors.watchdog_s:
            self._require_watchdog(answers, motors.watchdog_s)

    def _require_startable(self, waiting: Sequence[int], over: bool) -> None:
        readings = self._motors.readings
        for index in waiting:
            if faults := readings.values.faults[index]:
                raise DriveError(
                    f"{self._motors.name(index)} reports {faults[0].name} as it starts",
                    expected=f"mode {reg.POSITION_MODE}",
                    fix="remove the cause, then enable again",
                )
            if over:
                raise DriveError(
                    f"{self._motors.name(index)} stays in mode {readings.modes[index]}",
                    expected=f"mode {reg.POSITION_MODE} after enable",
                    fix="check the motor's supply and its calibration",
                )

    def stop(self) -> None:
        """Read back. A motor in a fault has no torque: a stop would clear what nobody has seen to."""
        motors = self._motors
        every = range(len(motors.joints))
        answers = motors.ask_some(motors.queries, attempts=1)
        motors.stop_quietly([i for i in every if i not in answers or motors.readings.powered(i)])
        silent = set(every) - motors.ask_some(motors.queries).keys()
        for index in every:
            if index not in silent and motors.readings.powered(index):
                raise DriveError(
                    f"{motors.name(index)} still is in mode {motors.readings.modes[index]}",
                    expected="mode 0 after disable",
                    fix="cut the arm's power",
                )
        motors.require_none(silent)
