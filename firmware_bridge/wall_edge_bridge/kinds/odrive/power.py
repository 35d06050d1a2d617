"""How ODrives are powered: what may forbid it first, then torque where the joints are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress

from wall_edge.errors import DriveError, WallEdgeError
from wall_edge_bridge.drives import Fault
from wall_edge_bridge.drives.limits import JointLimits
from wall_edge_bridge.drives.recovery import FaultRecovery
from wall_edge_bridge.kinds.odrive import codec
from wall_edge_bridge.kinds.odrive.codec import Command
from wall_edge_bridge.kinds.odrive.errors import (
    INITIALIZING,
    INVERTER_HOT,
    MOTOR_HOT,
    OVERVOLTAGE,
    UNDERVOLTAGE,
    State,
)
from wall_edge_bridge.kinds.odrive.motors import HEARTBEAT_S, ODriveMotors
from wall_edge_bridge.transport import Frame

_CHANGE_S = 1.0
"""How long an axis may take into another state."""


class ODrivePower:
    """Of one drive. ``slack`` [rad]: how far beyond its limits a joint may stand."""

    def __init__(self, motors: ODriveMotors, limits: JointLimits, slack: float) -> None:
        self._motors, self._limits, self._slack = motors, limits, slack
        self._recovery = FaultRecovery(motors.joints)

    def require_ready(self) -> list[bool]:
        """Everything that may forbid torque; whether each axis has it already. Positions are fresh then."""
        motors, readings = self._motors, self._motors.readings
        motors.await_heartbeats()
        self._locate()
        for joint, state in zip(motors.joints, readings.states, strict=True):
            if state not in (State.IDLE, State.CLOSED_LOOP):
                raise DriveError(
                    f"joint {joint.name} (node {joint.id}) is in axis state {state}",
                    expected="IDLE (1) or CLOSED_LOOP_CONTROL (8)",
                    fix="wait until it has started and calibrated itself",
                )
        fix = "move it inside by hand, or calibrate again"
        self._limits.require_inside(readings.position, self._slack, "position", fix)
        if any(readings.faults):
            for command in (Command.BUS, Command.TEMPERATURE):
                if motors.settings.firmware == "0.6" or command == Command.BUS:
                    motors.ask(command)
        self._recovery.prepare(readings.faults, self._remaining_cause, self._clear)
        return [state == State.CLOSED_LOOP for state in readings.states]

    def power(self, holds: Sequence[Frame], *, watchdog: bool) -> None:
        """``holds``: a setpoint a joint, where it is. Waits until each axis says that it holds."""
        motors, readings = self._motors, self._motors.readings
        motors.send(*(codec.controller_mode(node) for node in motors.ids), *self._limit_frames(), *holds)
        if watchdog and motors.settings.endpoints is not None:
            motors.write(motors.settings.endpoints.enable_watchdog, "?", True)
        motors.send(*(codec.set_state(node, State.CLOSED_LOOP) for node in motors.ids))
        motors.await_heartbeats(holds)

        def decided() -> bool:
            return any(readings.faults) or all(state == State.CLOSED_LOOP for state in readings.states)

        motors.pump(_CHANGE_S, decided, holds)
        for index, state in enumerate(readings.states):
            if state != State.CLOSED_LOOP or readings.faults[index]:
                raise self._faulty(index)

    def release(self, nodes: Sequence[int]) -> None:
        """Torque off, read from a later heartbeat of each that it is."""
        motors, readings = self._motors, self._motors.readings
        for _ in range(2):
            motors.send(*(codec.set_state(node, State.IDLE) for node in nodes))
        if motors.settings.endpoints is not None:
            # An idle axis is fed by nobody: its watchdog would only leave an error behind.
            off = motors.settings.endpoints.enable_watchdog
            motors.send(*(codec.sdo_write(node, off, "?", False) for node in nodes))
        silent = motors.try_heartbeats()
        motors.pump(_CHANGE_S, lambda: State.CLOSED_LOOP not in self._states_of(nodes))
        for joint, state in zip(motors.joints, readings.states, strict=True):
            if joint.id in nodes and joint not in silent and state == State.CLOSED_LOOP:
                raise DriveError(
                    f"joint {joint.name} (node {joint.id}) still has its torque on",
                    expected="axis state IDLE after disable",
                    fix="cut the arm's power",
                )
        if silent:
            raise motors.no_answer(silent)

    def restore(self, powered: Sequence[bool]) -> None:
        """Torque off again where it was off."""
        with suppress(WallEdgeError):
            self.release([n for n, before in zip(self._motors.ids, powered, strict=True) if not before])

    def _locate(self) -> None:
        motors, readings = self._motors, self._motors.readings
        readings.fresh.clear()
        if motors.settings.estimates_ms is None:
            motors.require(motors.ask(Command.ESTIMATES))
        everyone = set(range(len(motors.joints)))
        if not motors.pump(HEARTBEAT_S, lambda: readings.fresh >= everyone):
            silent = [motors.joints[index] for index in sorted(everyone - readings.fresh)]
            raise motors.no_answer(silent, "encoder estimates")

    def _remaining_cause(self, index: int, fault: Fault) -> str:
        settings, readings = self._motors.settings, self._motors.readings
        volts, temperature = readings.voltage[index], readings.temperature[index]
        if fault in (UNDERVOLTAGE, OVERVOLTAGE) and math.isnan(volts):
            return "its supply cannot be read"
        if fault == UNDERVOLTAGE and volts < settings.min_voltage:
            return f"supply at {volts:.1f} V, min_voltage is {settings.min_voltage:g}"
        if fault == OVERVOLTAGE and volts > settings.max_voltage:
            return f"supply at {volts:.1f} V, max_voltage is {settings.max_voltage:g}"
        if fault in (MOTOR_HOT, INVERTER_HOT) and not temperature < settings.cool_below:
            return f"at {temperature:.0f} °C, cool_below is {settings.cool_below:g}"
        return "it has not started yet" if fault == INITIALIZING else ""

    def _clear(self, indices: Sequence[int]) -> None:
        motors, readings = self._motors, self._motors.readings
        motors.send(*(codec.clear_errors(motors.ids[index]) for index in indices))
        motors.await_heartbeats()
        for index in indices:
            if readings.faults[index]:
                raise self._faulty(index)

    def _limit_frames(self) -> list[Frame]:
        return [
            codec.limits(
                joint.id, joint.velocity_limit * joint.gear_ratio / (2 * math.pi), joint.current_limit
            )
            for joint in self._motors.joints
            if joint.velocity_limit is not None and joint.current_limit is not None
        ]

    def _states_of(self, nodes: Sequence[int]) -> list[int]:
        states = zip(self._motors.ids, self._motors.readings.states, strict=True)
        return [state for node, state in states if node in nodes]

    def _faulty(self, index: int) -> DriveError:
        joint, readings = self._motors.joints[index], self._motors.readings
        faults = ", ".join(fault.name for fault in readings.faults[index]) or "no error"
        return DriveError(
            f"joint {joint.name} (node {joint.id}) is in axis state {readings.states[index]} with {faults}",
            expected="CLOSED_LOOP_CONTROL (8) after enable",
            fix="remove the cause; without an error, calibrate the axis with odrivetool",
        )
