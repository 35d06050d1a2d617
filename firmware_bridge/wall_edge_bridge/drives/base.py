"""The drive contract: a group of joints on one bus, whatever the protocol behind it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from wall_edge.errors import ConfigError

DriveType = TypeVar("DriveType", bound="Drive")
Floats = npt.NDArray[np.float64]
"""As everywhere: angles in rad, speeds in rad/s."""


@dataclass(frozen=True)
class JointSpec:
    """One motor as the robot's configuration describes it.

    ``lower`` and ``upper`` [rad] bound every setpoint, ``max_velocity`` [rad/s] is for the limiter upstream.
    ``zero_ticks`` is the encoder reading at 0 rad; ``direction`` is 1 when ticks grow with the angle, or -1.
    ``homing_offset`` [tick] is what the motor itself must subtract from its encoder; None is not compared.
    Raises ConfigError when the values contradict each other.
    """

    name: str
    id: int
    lower: float
    upper: float
    max_velocity: float
    zero_ticks: int = 2048
    direction: int = 1
    homing_offset: int | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.lower) and math.isfinite(self.upper) and self.lower < self.upper):
            raise ConfigError(
                f"joint {self.name}: limits {self.lower} to {self.upper} rad",
                expected="finite, lower < upper",
            )
        if not (math.isfinite(self.max_velocity) and self.max_velocity > 0):
            raise ConfigError(
                f"joint {self.name}: max_velocity {self.max_velocity} rad/s", expected="above 0"
            )
        if self.direction not in (1, -1):
            raise ConfigError(f"joint {self.name}: direction {self.direction}", expected="1 or -1")


@dataclass(frozen=True)
class Feedback:
    """What the joints reported; order of ``drive.joints``.

    A joint that did not answer keeps its last ``position`` and ``errors``; its ``received_ns`` shows how old.
    """

    position: Floats
    """[dof] rad; NaN for a joint that never answered."""
    time_ns: int
    """CLOCK_MONOTONIC when the newest of them arrived."""
    received_ns: npt.NDArray[np.int64]
    """[dof] CLOCK_MONOTONIC when each joint's value arrived; 0 for a joint that never answered."""
    errors: tuple[tuple[str, ...], ...]
    """[dof] names of the faults each motor reports; empty tuples when all is well."""
    limp: tuple[str, ...] = ()
    """Joints without the torque that :meth:`Drive.enable` gave them, by the last look at it."""


@dataclass
class BusCounters:
    """What happened on the bus since the drive was made."""

    cycles: int = 0
    """Feedback reads attempted."""
    timeouts: int = 0
    """Replies that were asked for and did not arrive intact in time."""
    checksum_errors: int = 0
    """Candidates for a packet whose checksum was wrong."""
    resyncs: int = 0
    """Exchanges in which bytes had to be skipped to find the next packet."""
    skipped_bytes: int = 0
    """Those bytes."""
    stale_bytes: int = 0
    """Bytes that lay in the input before a request: late replies, or another program on the bus."""
    late: int = 0
    """Replies that came after the next request had gone out, and were not used."""
    foreign: int = 0
    """Whole packets that answered nothing of ours: another program asks on this bus."""

    @property
    def errors(self) -> int:
        """timeouts + checksum_errors + resyncs; one damaged reply counts in each that it caused."""
        return self.timeouts + self.checksum_errors + self.resyncs


class Drive(ABC):
    """A group of joints on a bus. Every deadline is absolute, CLOCK_MONOTONIC ns (``time.monotonic_ns``).

    As a context manager it connects on entry and closes on exit. Closing never changes the torque: whether an
    arm should go limp or hold is for the caller to say, with ``disable``.
    """

    def __init__(self, joints: Sequence[JointSpec]) -> None:
        self.joints = tuple(joints)
        self.counters = BusCounters()
        for what, values in (("name", [j.name for j in joints]), ("id", [j.id for j in joints])):
            if len(set(values)) != len(values) or not values:
                raise ConfigError(
                    f"joints with {what}s {values}", expected=f"at least one, every {what} different"
                )

    @property
    def dof(self) -> int:
        return len(self.joints)

    @abstractmethod
    def connect(self) -> None:
        """Check that every motor answers; torque stays as it is.

        Raises BusTimeout naming those that do not, BusError.
        """

    def check(self) -> None:  # noqa: B027 - a motor without settings of its own has nothing to compare
        """Compare the motors' own settings with the joints. Changes nothing. Raises DriveError, BusError."""

    @abstractmethod
    def enable(self) -> None:
        """Torque on, holding where the joints are. Raises DriveError, BusError."""

    @abstractmethod
    def disable(self) -> None:
        """Torque off: the arm goes limp. Raises BusError."""

    def torque(self) -> tuple[bool | None, ...]:
        """[dof] whether each joint is powered now; None where that is not known. Raises BusError."""
        return (None,) * self.dof

    def ticks(self, position: npt.NDArray[np.float64]) -> tuple[int | None, ...]:
        """[dof] what encoders read at ``position`` [dof] rad; None for NaN and for motors without."""
        return (None,) * len(position)

    @abstractmethod
    def write(self, setpoints: npt.ArrayLike, deadline_ns: int) -> None:
        """Command positions, [dof] rad. Raises DriveError, and sends nothing, when one is not allowed."""

    @abstractmethod
    def read(self, deadline_ns: int) -> Feedback:
        """The joints' positions that arrived by the deadline. Raises BusTimeout when none did, BusError."""

    @abstractmethod
    def arm_watchdog(self, timeout_s: float) -> bool:
        """Make the motors stop by themselves after ``timeout_s`` without commands; False when they cannot."""

    @abstractmethod
    def close(self) -> None:
        """Release the bus, torque unchanged; may be called twice."""

    def __enter__(self: DriveType) -> DriveType:
        try:
            self.connect()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
