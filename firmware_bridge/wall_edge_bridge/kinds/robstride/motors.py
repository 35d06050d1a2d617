"""RobStride motors of one drive at leisure: each method asks all, and names those that do not answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from wall_edge.errors import BusTimeout, DriveError
from wall_edge_bridge.drives import BusCounters
from wall_edge_bridge.kinds.exchange import ATTEMPTS, bus_trouble
from wall_edge_bridge.kinds.robstride import codec
from wall_edge_bridge.kinds.robstride.bus import MIT, RobStrideBus, find_instead
from wall_edge_bridge.kinds.robstride.codec import Mode
from wall_edge_bridge.kinds.robstride.readings import RobStrideReadings
from wall_edge_bridge.kinds.robstride.registers import (
    CAN_TIMEOUT,
    MECH_POS,
    MECH_VEL,
    MOTOR_TEMPERATURE,
    TORQUE,
    VBUS,
    WATCHDOG_UNIT_S,
    Parameter,
)
from wall_edge_bridge.kinds.robstride.settings import RobStrideJoint
from wall_edge_bridge.transport import Frame, FrameTransport

_MAX_WATCHDOG = 2**32 - 1


class RobStrideMotors:
    """``readings`` take in what is said. Methods raise BusTimeout, DriveError, BusError."""

    def __init__(
        self,
        joints: Sequence[RobStrideJoint],
        wire: FrameTransport,
        host: int,
        counters: BusCounters,
        clock: Callable[[], int],
        readings: RobStrideReadings,
    ) -> None:
        self.joints, self.host, self.readings = tuple(joints), host, readings
        self.ids = [joint.id for joint in joints]
        self._wire, self._clock = wire, clock
        self._bus = RobStrideBus(wire, host, counters, clock, readings.hear)

    def connect(self) -> None:
        """Every motor there, alone under its id, and its position known."""
        identities = self._bus.identities(self.ids)
        for joint in self.joints:
            if len(uids := identities.get(joint.id, ())) > 1:
                raise DriveError(
                    f"joint {joint.name}: {len(uids)} motors answer to id {joint.id} "
                    f"({', '.join(sorted(uid.hex() for uid in uids))})",
                    expected="one motor an id",
                    fix="give every motor its own id, one at a time on the bus",
                )
        if silent := self._silent(identities, self.ids):
            instead = find_instead(self._bus.exchange, [joint.id for joint in silent], self.host)
            raise self.no_answer(silent, instead)
        self.readings.forget_reports(range(len(self.joints)))
        for joint, angle in zip(self.joints, self.read_all(MECH_POS), strict=True):
            if angle is None:
                raise DriveError(
                    f"joint {joint} does not support the parameter mechPos (0x7019)",
                    expected="RobStride's firmware",
                    fix="update the motor's firmware",
                )

    def look(self) -> None:
        """All that motors tell without being commanded; of those that answer."""
        positions = self._bus.read(MECH_POS, self.ids)
        if not positions:
            raise self.no_answer(self.joints)
        self.readings.note(MECH_POS, positions, self._clock())
        for parameter in (MECH_VEL, TORQUE, MOTOR_TEMPERATURE, VBUS):
            values = self._bus.read(parameter, sorted(positions), attempts=1)
            self.readings.note(parameter, values, self._clock())

    def arm_watchdog(self, timeout_s: float) -> float:
        """What the motors have now, read back [s]."""
        units = round(timeout_s / WATCHDOG_UNIT_S) if math.isfinite(timeout_s) else 0
        if not 1 <= units <= _MAX_WATCHDOG:
            most = _MAX_WATCHDOG * WATCHDOG_UNIT_S
            raise DriveError(f"watchdog of {timeout_s:g} s", expected=f"{WATCHDOG_UNIT_S:g} to {most:g} s")
        self.command({m: codec.write(CAN_TIMEOUT, units, self.host, m) for m in self.ids})
        for joint, value in zip(self.joints, self.read_all(CAN_TIMEOUT), strict=True):
            if value != units:
                raise DriveError(
                    f"joint {joint}: watchdog (parameter 0x7028) reads back as {value}",
                    expected=f"{units} units of 50 µs",
                    fix="update the motor's firmware",
                )
        return units * WATCHDOG_UNIT_S

    def stop(self, ids: Iterable[int]) -> None:
        """Torque off, read from each answer that it is; the silent are named when the others are limp.

        An answer that says otherwise may be a late one to the last setpoint: those are asked again.
        """
        ids = list(ids)
        replies, running = set[int](), ids
        for _ in range(ATTEMPTS):
            replies |= self.try_command({motor: codec.stop(self.host, motor) for motor in running})
            modes = zip(self.ids, self.readings.modes, strict=True)
            running = [m for m, mode in modes if m in running and m in replies and mode == Mode.RUN]
            if not running:
                break
        for joint, mode in zip(self.joints, self.readings.modes, strict=True):
            if joint.id in replies and mode == Mode.RUN:
                raise DriveError(
                    f"joint {joint} still has its torque on",
                    expected="mode 0 after disable",
                    fix="cut the arm's power",
                )
        self._require(replies, ids)

    def command(self, requests: Mapping[int, Frame]) -> None:
        """What every motor answers with feedback."""
        self._require(self.try_command(requests), requests)

    def try_command(self, requests: Mapping[int, Frame]) -> set[int]:
        """The same; ids of those that did."""
        replies = self._bus.command(requests)
        self.readings.store(replies)
        return set(replies)

    def read_all(self, parameter: Parameter) -> list[float | None]:
        """[dof], None where it is not supported; noted in ``readings``."""
        values = self._bus.read(parameter, self.ids)
        self._require(values, self.ids)
        self.readings.note(parameter, values, self._clock())
        return [values[motor] for motor in self.ids]

    def no_answer(self, silent: Sequence[RobStrideJoint], instead: str = "") -> BusTimeout:
        """The error that names them."""
        names = ", ".join(map(str, silent))
        heard = f"; found instead: {instead}" if instead else ""
        fix = "check the motor's power, cable, id and bit rate, and that it speaks the private protocol"
        if MIT in instead:
            fix = "set it to the private protocol with the maker's tool and power-cycle it"
        where = f"{self._wire.description}{bus_trouble(self._wire)}"
        return BusTimeout(f"no answer from {names} on {where}{heard}", fix=fix)

    def faulty(self, index: int) -> DriveError:
        """The error of a motor that does not run."""
        joint, faults = self.joints[index], self.readings.faults[index]
        said = f" and reports {', '.join(fault.name for fault in faults)}" if faults else ""
        return DriveError(
            f"joint {joint} does not run{said}",
            expected="mode 2 and no fault after enable",
            fix="remove the cause, then power-cycle the motor",
        )

    def _require(self, answers: Iterable[int], asked: Iterable[int]) -> None:
        if silent := self._silent(answers, asked):
            raise self.no_answer(silent)

    def _silent(self, answers: Iterable[int], asked: Iterable[int]) -> list[RobStrideJoint]:
        missing = set(asked) - set(answers)
        return [joint for joint in self.joints if joint.id in missing]
