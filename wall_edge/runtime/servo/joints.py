"""The joints as the servo loop sees them: a drive, and how fresh its word is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from wall_edge_bridge.drives import Drive, Feedback, JointSpec

from wall_edge.array_types import Floats
from wall_edge.config import RobotConfig
from wall_edge.errors import BusError, DriveError, RuntimeFault
from wall_edge.runtime.servo.plausible import Plausibility
from wall_edge.runtime.servo.watch import Watch

START_READS = 10


def joint_specs(config: RobotConfig) -> list[JointSpec]:
    """The motors of a robot as its drive takes them, in bus order."""
    return [
        JointSpec(j.name, j.id, j.lower, j.upper, j.max_velocity, j.zero_ticks, j.direction, j.homing_offset)
        for j in config.drive.joints
    ]


class Joints:
    """One lost answer is no fault, silence is: a lost read or write is only counted until it has lasted for
    ``control.feedback_timeout_ms``. A reading that no joint can have made is a lost one. Every joint is
    judged by itself, so that the one at fault is named. Times are CLOCK_MONOTONIC ns.
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
        self._plausible = Plausibility(
            config.control.impossible_velocity * velocity, round(1e9 / config.control.rate_hz)
        )
        self._watch = Watch(config)
        self._impossible: dict[int, str] = {}
        self.implausible = 0
        """Readings refused because no joint moves like that."""
        self.drive: Drive | None = None
        self.position: Floats = np.zeros(config.dof)
        """[dof] rad, last measured."""
        self.arrived_ns: npt.NDArray[np.int64] = np.zeros(config.dof, np.int64)
        """[dof] when each of ``position`` arrived; 0 for never."""
        self.setpoint: Floats = np.zeros(config.dof)
        """[dof] rad, last sent; where the joints are until then."""
        self.written_ns = 0
        """When a setpoint last went out; 0 for never."""
        self.enabled = False
        """Whether torque may be on by our doing."""
        self.cycles = 0
        """Setpoints written for a tick whose read had succeeded."""
        self._read_well = False

    @property
    def measured_ns(self) -> int:
        """When the oldest of ``position`` arrived; 0 for never."""
        return int(self.arrived_ns.min())

    def open(self) -> None:
        """Torque stays as it is: the arm must answer, fresh and within its limits, before :meth:`enable`.

        Raises BusError, DriveError, RuntimeFault.
        """
        self.drive = self._open_drive()
        self.drive.connect()
        self.drive.check()
        for _ in range(START_READS):
            self._read(self.drive, self._clock())
            if not self._too_old().any():
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
        self.setpoint[:] = self.position
        self._plausible.restart(self.position, self.arrived_ns)
        self._watch.restart(self.drive.counters, self.written_ns)

    def read(self, now: int) -> None:
        """Updates ``position``.

        Raises DriveError for a motor's fault or lost torque, RuntimeFault when a joint's word is too old or
        another program asks on the bus.
        """
        assert self.drive is not None
        self._read_well = self._read(self.drive, now)
        self._check_age()
        if self.enabled:
            self._watch.require_one_program(self.drive.counters, self._clock())

    def require_following(self) -> None:
        """Raises RuntimeFault for a joint that has been far from its setpoint for too long."""
        self._watch.require_following(self.position, self.setpoint, self._clock())

    def _read(self, drive: Drive, now: int) -> bool:
        try:
            feedback = drive.read(now + self._bus_timeout_ns)
        except (BusError, OSError):
            return False  # the drive counts it
        if any(feedback.errors):
            raise self._motor_fault(feedback)
        if self.enabled and feedback.limp:
            raise self._lost_torque(feedback)
        good = feedback.received_ns >= self.arrived_ns
        if self.enabled:
            believed = self._plausible.believe(feedback.position, feedback.received_ns, self.setpoint)
            self._note_impossible(feedback.position, believed)
            good &= believed
        self.position[good] = feedback.position[good]
        self.arrived_ns[good] = feedback.received_ns[good]
        return bool(good.all())

    def _note_impossible(self, position: Floats, believed: npt.NDArray[np.bool_]) -> None:
        self.implausible += not believed.all()
        for i in map(int, np.flatnonzero(~believed)):
            old_ms = (self._clock() - self.arrived_ns[i]) / 1e6
            jump = (
                f"{self.names[i]} said {position[i]:.3f} rad, {old_ms:.0f} ms after {self.position[i]:.3f} "
                f"rad, with its setpoint at {self.setpoint[i]:.3f} rad"
            )
            self._impossible.setdefault(i, jump)
        for i in [i for i in self._impossible if believed[i]]:
            del self._impossible[i]

    def _motor_fault(self, feedback: Feedback) -> DriveError:
        faults = [
            f"{name} reports {', '.join(e)}" for name, e in zip(self.names, feedback.errors, strict=True) if e
        ]
        return DriveError(f"joint {'; '.join(faults)}", fix="remove the cause, then power-cycle the arm")

    def _lost_torque(self, feedback: Feedback) -> DriveError:
        return DriveError(
            f"joint {', '.join(feedback.limp)} lost its torque",
            expected="torque on until the arm is released",
            fix="check the servo's supply (it may have rebooted) and that no other program is on the bus",
        )

    def _too_old(self) -> npt.NDArray[np.bool_]:
        old: npt.NDArray[np.bool_] = self.arrived_ns == 0
        return old | np.array(self._clock() - self.arrived_ns > self._timeout_ns)

    def _check_age(self) -> None:
        old = self._too_old()
        if not old.any():
            return
        names = "joint feedback"
        if not old.all():
            names = f"feedback of joint {', '.join(self.names[i] for i in np.flatnonzero(old))}"
        oldest = int(self.arrived_ns[old].min())
        age = f"{(self._clock() - oldest) / 1e6:.0f} ms old" if oldest else "missing"
        jumps = "; ".join(text for i, text in self._impossible.items() if old[i])
        jumps = f"; since then {jumps}, which no motion explains" if jumps else self._late()
        raise RuntimeFault(
            f"{names} is {age}{jumps}",
            expected=f"at most {self._timeout_ns / 1e6:g} ms (control.feedback_timeout_ms)",
            fix="check the bus cable and the motors' power",
        )

    def _late(self) -> str:
        late = self.drive.counters.late if self.drive is not None else 0
        return f"; {late} replies came too late to be believed" if late else ""

    def write(self, setpoint: Floats, now: int) -> None:
        """Sends setpoints [dof, rad]. Raises DriveError when refused, RuntimeFault when the bus is dead."""
        assert self.drive is not None
        try:
            self.drive.write(setpoint, now + self._bus_timeout_ns)
        except (BusError, OSError) as error:
            silent_ns = self._clock() - self.written_ns
            if silent_ns > self._timeout_ns:
                failure = f"no setpoint reached the bus for {silent_ns / 1e6:.0f} ms: {error}"
                raise RuntimeFault(failure) from None
            return
        self.setpoint[:] = setpoint
        self._plausible.sent(setpoint)
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
