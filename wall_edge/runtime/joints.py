"""The joints as the servo loop sees them: a drive, and how fresh its word is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from wall_edge_bridge.drives import Drive, Feedback, JointSpec

from wall_edge.config import RobotConfig
from wall_edge.errors import BusError, DriveError, RuntimeFault

__all__ = ["Joints", "joint_specs"]

Floats = npt.NDArray[np.float64]

START_READS = 10
_NOISE_RAD = 0.02
"""What an encoder may be off from one reading to the next."""


def joint_specs(config: RobotConfig) -> list[JointSpec]:
    """The motors of a robot as its drive takes them, in bus order."""
    return [
        JointSpec(j.name, j.id, j.lower, j.upper, j.max_velocity, j.zero_ticks, j.direction)
        for j in config.drive.joints
    ]


class Joints:
    """One lost answer is no fault, silence is: a lost read or write is only counted until it has lasted for
    ``control.feedback_timeout_ms``. A reading that no joint can have made is a lost one. Times are
    CLOCK_MONOTONIC ns.
    """

    def __init__(
        self, config: RobotConfig, open_drive: Callable[[], Drive], clock: Callable[[], int]
    ) -> None:
        self._open_drive, self._clock = open_drive, clock
        self.names = [joint.name for joint in config.drive.joints]
        self.lower: Floats = np.array(config.per_joint(lambda joint: joint.lower))
        self.upper: Floats = np.array(config.per_joint(lambda joint: joint.upper))
        self._bus_timeout_ns = round(config.drive.timeout_ms * 1e6)
        self._timeout_ns = round(config.control.feedback_timeout_ms * 1e6)
        self._slack = config.control.start_slack_rad
        velocity = np.array(config.per_joint(lambda joint: joint.max_velocity))
        self._fastest: Floats = config.control.impossible_velocity * velocity
        self._impossible = ""
        self.implausible = 0
        """Readings refused because no joint moves like that."""
        self.drive: Drive | None = None
        self.position: Floats = np.zeros(config.dof)
        """[dof] rad, last measured."""
        self.measured_ns = 0
        """When the oldest of ``position`` arrived; 0 for never."""
        self.written_ns = 0
        """When a setpoint last went out; 0 for never."""
        self.enabled = False
        self.cycles = 0
        """Setpoints written for a tick whose read had succeeded."""
        self._read_well = False

    def open(self) -> None:
        """Torque stays as it is: the arm must answer, fresh and within its limits, before :meth:`enable`.

        Raises BusError, DriveError, RuntimeFault.
        """
        self.drive = self._open_drive()
        self.drive.connect()
        for _ in range(START_READS):
            self._read(self.drive, self._clock())
            if self._age_ns() <= self._timeout_ns:
                break
        self._check_age()
        outside = np.maximum(self.lower - self.position, self.position - self.upper)
        worst = int(np.argmax(outside))
        if not outside[worst] <= self._slack:  # also refuses NaN
            raise RuntimeFault(
                f"joint {self.names[worst]} starts at {self.position[worst]:.3f} rad",
                expected=f"{self.lower[worst]:g} to {self.upper[worst]:g}",
                fix="move it inside by hand, or calibrate again",
            )

    def enable(self) -> None:
        """Torque on where the joints are. Raises DriveError, BusError."""
        assert self.drive is not None
        self.drive.enable()
        self.enabled = True
        self.written_ns = self._clock()

    def read(self, now: int) -> None:
        """Updates ``position``. Raises DriveError for a motor's fault, RuntimeFault when it is too old."""
        assert self.drive is not None
        self._read_well = self._read(self.drive, now)
        self._check_age()

    def _read(self, drive: Drive, now: int) -> bool:
        try:
            feedback = drive.read(now + self._bus_timeout_ns)
        except (BusError, OSError):
            return False  # the drive counts it
        if any(feedback.errors):
            raise self._motor_fault(feedback)
        measured_ns = int(feedback.received_ns.min())
        if self.enabled and (reason := self._implausible(feedback.position, measured_ns)):
            self.implausible += 1
            self._impossible = reason
            return False
        self._impossible = ""
        self.position[:] = feedback.position
        self.measured_ns = measured_ns
        return True

    def _implausible(self, position: Floats, measured_ns: int) -> str:
        """Why no joint can be there, by the last good reading; empty when all can."""
        seconds = max(0, measured_ns - self.measured_ns) / 1e9
        moved = np.abs(position - self.position)
        allowed = self._fastest * seconds + _NOISE_RAD
        if (moved <= allowed).all():  # NaN is not
            return ""
        worst = int(np.argmax(np.nan_to_num(moved - allowed, nan=np.inf)))
        return (
            f"{self.names[worst]} at {position[worst]:.3f} rad, {1e3 * seconds:.0f} ms after "
            f"{self.position[worst]:.3f} rad"
        )

    def _motor_fault(self, feedback: Feedback) -> DriveError:
        faults = [
            f"{name} reports {', '.join(e)}" for name, e in zip(self.names, feedback.errors, strict=True) if e
        ]
        return DriveError(f"joint {'; '.join(faults)}", fix="remove the cause, then power-cycle the arm")

    def _age_ns(self) -> int:
        return self._clock() - self.measured_ns if self.measured_ns else self._timeout_ns + 1

    def _check_age(self) -> None:
        if self._age_ns() <= self._timeout_ns:
            return
        age = f"{self._age_ns() / 1e6:.0f} ms old" if self.measured_ns else "missing for some joint"
        seen = f"; since then it said {self._impossible}" if self._impossible else ""
        raise RuntimeFault(
            f"joint feedback is {age}{seen}",
            expected=f"at most {self._timeout_ns / 1e6:g} ms (control.feedback_timeout_ms)",
            fix="check the bus cable and the motors' power",
        )

    def write(self, setpoint: Floats, now: int) -> None:
        """Sends setpoints [dof, rad]. Raises DriveError when refused, RuntimeFault when the bus is dead."""
        assert self.drive is not None
        try:
            self.drive.write(setpoint, now + self._bus_timeout_ns)
        except (BusError, OSError) as error:
            silent_ns = self._clock() - self.written_ns
            if silent_ns > self._timeout_ns:
                given = f"no setpoint reached the bus for {silent_ns / 1e6:.0f} ms: {error}"
                raise RuntimeFault(given) from None
            return
        self.written_ns = now
        self.cycles += self._read_well

    def disable(self) -> None:
        """Torque off, if there is a drive. Raises BusError, OSError."""
        if self.drive is not None:
            self.drive.disable()
            self.enabled = False

    def close(self) -> None:
        """Lets go of the bus; torque stays as it is."""
        if self.drive is not None:
            self.drive.close()
