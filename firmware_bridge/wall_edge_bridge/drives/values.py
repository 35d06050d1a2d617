"""What passes between the servo loop and a drive. Arrays are [dof], in the order of the drive's joints."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import Enum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
"""As everywhere: angles in rad, speeds in rad/s, efforts in Nm."""
Times = npt.NDArray[np.int64]
"""CLOCK_MONOTONIC ns."""


@dataclass(frozen=True)
class Setpoints:
    """What the joints are to do at ``due_ns`` [CLOCK_MONOTONIC]. A drive uses what its motors understand."""

    position: Floats
    """rad"""
    velocity: Floats
    """rad/s, feed-forward"""
    acceleration: Floats
    """rad/s², feed-forward"""
    effort: Floats
    """Nm, feed-forward"""
    due_ns: int = 0

    @classmethod
    def hold(cls, position: npt.ArrayLike, due_ns: int = 0) -> Setpoints:
        """Stand at ``position`` [dof] rad."""
        there = np.asarray(position, np.float64)
        zero = np.zeros_like(there)
        return cls(there, zero, zero, zero, due_ns)

    def of(self, indices: npt.NDArray[np.intp] | slice) -> Setpoints:
        """Those of some joints: views where they stand together."""
        return Setpoints(
            self.position[indices],
            self.velocity[indices],
            self.acceleration[indices],
            self.effort[indices],
            self.due_ns,
        )


class Reaction(Enum):
    """What a motor's fault needs before the motor may be powered again."""

    ONCE = "cleared by itself, once"
    CHECK = "cleared after its cause was seen to be gone"
    PERSON = "cleared by a person only"


class Fault(NamedTuple):
    """What a motor reports, by the name of its maker's documentation."""

    name: str
    reaction: Reaction = Reaction.PERSON


@dataclass(frozen=True)
class Capabilities:
    """What motors of a kind can tell and take."""

    velocity: bool = False
    """They report it."""
    effort: bool = False
    """They report it, or a current that is one."""
    temperature: bool = False
    voltage: bool = False
    velocity_feedforward: bool = False
    effort_feedforward: bool = False
    watchdog: bool = False
    """They stop by themselves when nobody commands them."""

    @classmethod
    def all(cls) -> Capabilities:
        """Of motors that lack none."""
        return cls(**{each.name: True for each in fields(cls)})


@dataclass(frozen=True)
class Feedback:
    """What the joints reported.

    A joint that did not answer keeps its last values; its ``received_ns`` shows how old. What a kind does not
    report (:class:`Capabilities`) is NaN.
    """

    position: Floats
    """rad; NaN for a joint that never answered."""
    velocity: Floats
    """rad/s"""
    effort: Floats
    """Nm; of motors that report a load in percent, that fraction of their rated torque."""
    temperature: Floats
    """°C, the hotter of several"""
    voltage: Floats
    """V"""
    received_ns: Times
    """When each joint's values arrived; 0 for a joint that never answered."""
    faults: tuple[tuple[Fault, ...], ...]
    """Of each motor; empty tuples when all is well."""
    limiters: tuple[tuple[str, ...], ...]
    """Of each motor: what bounds it now (its speed, its current). No fault."""
    limp: tuple[str, ...] = ()
    """Names of joints without the torque that ``enable`` gave them, by the last look at it."""

    @property
    def time_ns(self) -> int:
        """When the newest of them arrived."""
        return int(self.received_ns.max())


@dataclass
class BusCounters:
    """What happened on the bus since the drive was made."""

    cycles: int = 0
    """Feedback asked for."""
    timeouts: int = 0
    """Replies that were asked for and did not arrive intact in time."""
    checksum_errors: int = 0
    """Candidates for a packet whose checksum was wrong; of CAN, error frames."""
    resyncs: int = 0
    """Exchanges in which bytes had to be skipped to find the next packet."""
    skipped_bytes: int = 0
    """Those bytes."""
    stale_bytes: int = 0
    """Bytes that lay in the input before a request: late replies, or another program on the bus."""
    late: int = 0
    """Replies that came after the next request had gone out, and were not used; second ones too."""
    foreign: int = 0
    """Whole packets that answered nothing of ours: another program asks on this bus."""
    full: int = 0
    """Commands that a full send queue did not take."""
    error_passive: int = 0
    """Times that a CAN controller became error-passive."""
    bus_off: int = 0
    """Times that a CAN controller went off the bus."""
    reopened: int = 0
    """Times that a vanished adapter was opened again."""

    @property
    def errors(self) -> int:
        """timeouts + checksum_errors + resyncs + full + bus_off; a damaged reply counts in each it caused."""
        return self.timeouts + self.checksum_errors + self.resyncs + self.full + self.bus_off


@dataclass
class JointReadings:
    """The last values of every joint of one drive, as they come in; ``snapshot`` makes them a Feedback."""

    names: tuple[str, ...]
    position: Floats = field(init=False)
    velocity: Floats = field(init=False)
    effort: Floats = field(init=False)
    temperature: Floats = field(init=False)
    voltage: Floats = field(init=False)
    received_ns: Times = field(init=False)
    faults: list[tuple[Fault, ...]] = field(init=False)
    limiters: list[tuple[str, ...]] = field(init=False)
    limp: set[int] = field(init=False)
    """Indices of joints that have lost their torque."""

    def __post_init__(self) -> None:
        dof = len(self.names)
        for name in ("position", "velocity", "effort", "temperature", "voltage"):
            setattr(self, name, np.full(dof, np.nan))
        self.received_ns = np.zeros(dof, np.int64)
        self.faults, self.limiters, self.limp = [()] * dof, [()] * dof, set()

    def snapshot(self) -> Feedback:
        """A copy that later readings do not change."""
        return Feedback(
            self.position.copy(),
            self.velocity.copy(),
            self.effort.copy(),
            self.temperature.copy(),
            self.voltage.copy(),
            self.received_ns.copy(),
            tuple(self.faults),
            tuple(self.limiters),
            tuple(name for i, name in enumerate(self.names) if i in self.limp) if self.limp else (),
        )
