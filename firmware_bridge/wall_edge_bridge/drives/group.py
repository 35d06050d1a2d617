"""Several drives as one: the joints of a robot in the order of its ROBOT.yaml, on any number of buses."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from wall_edge.errors import BusError, DriveError, WallEdgeError
from wall_edge_bridge.drives.base import Drive
from wall_edge_bridge.drives.joints import Joint
from wall_edge_bridge.drives.keeper import kept
from wall_edge_bridge.drives.limits import JointLimits
from wall_edge_bridge.drives.values import BusCounters, Feedback, Floats, JointReadings, Setpoints

_LONGEST_STEP_S = 0.02
"""Of a bus that catches up: a stall of ours lets no joint step farther."""


@dataclass
class _Member:
    name: str
    drive: Drive
    indices: npt.NDArray[np.intp]
    """Where its joints stand among the robot's."""
    timeout_ns: int
    sent: Floats | None = None
    """Where its joints were last sent [rad]; None since they were enabled."""
    behind: bool = False
    """Whether that is not where they were to go: its bus did not take it."""
    words: tuple[object, ...] = ()
    """Its faults, limiters and limp joints when they were last copied: they hardly ever change."""

    def __post_init__(self) -> None:
        first, count = int(self.indices[0]), len(self.indices)
        successive = bool((self.indices == np.arange(first, first + count)).all())
        # Joints that stand together are taken as views, at a third of the cost.
        self.where: npt.NDArray[np.intp] | slice = slice(first, first + count) if successive else self.indices


class DriveGroup(Drive):
    """Requests go out on all buses, then replies are collected, each against its own deadline.

    ``drives`` by their name in ROBOT.yaml, with ``timeouts_ms`` of the same names. A bus that stalls, or is
    gone, delays the others of a tick by its own timeout at most, and their joints are fresh: replies of the
    others wait in the kernel meanwhile. Only when every bus fails does a cycle raise.

    ``line_ns``: how long a cycle occupies each line, where that is known. The longest is begun first and
    collected last: what the others' requests and replies take to compute passes meanwhile.
    """

    def __init__(
        self,
        joints: Sequence[Joint],
        drives: Mapping[str, Drive],
        timeouts_ms: Mapping[str, float],
        clock: Callable[[], int] = time.monotonic_ns,
        line_ns: Mapping[str, int] | None = None,
    ) -> None:
        self.joints = tuple(joints)  # ids are each bus's own: only a drive can say whether two are the same
        self.limits = JointLimits(joints)
        self._clock = clock
        place = {joint.name: index for index, joint in enumerate(joints)}
        self._members = [
            _Member(
                name,
                drive,
                np.array([place[joint.name] for joint in drive.joints]),
                round(timeouts_ms[name] * 1e6),
            )
            for name, drive in drives.items()
        ]
        times_ns = line_ns or {}
        self._longest_first = sorted(self._members, key=lambda member: -times_ns.get(member.name, 0))
        # Of lines that are equally long, the one that was begun first has its replies first.
        self._longest_last = sorted(self._longest_first, key=lambda member: times_ns.get(member.name, 0))
        self._readings = JointReadings(tuple(joint.name for joint in joints))
        self._only = self._members[0].drive if self._is_one() else None
        slack = np.zeros(len(self.joints))
        for member in self._members:
            slack[member.indices] = member.drive.slack_rad
        self._lowest = np.array([joint.lower for joint in joints]) - slack
        self._highest = np.array([joint.upper for joint in joints]) + slack
        self._alike = all(type(drive).allowed is Drive.allowed for drive in drives.values())
        self._fastest = np.array([joint.max_velocity for joint in joints])
        self._started_ns = 0
        self._watchdogs: dict[str, float | None] = {}
        self.failures: dict[str, Exception] = {}
        """By the drive's name, what its bus met in the last cycle; empty when all went well."""

    def _is_one(self) -> bool:
        """Whether a single drive moves all joints, in this order."""
        return len(self._members) == 1 and self._members[0].drive.joints == self.joints

    @property
    def drives(self) -> dict[str, Drive]:
        """By name."""
        return {member.name: member.drive for member in self._members}

    @property
    def counters(self) -> BusCounters:
        """The sum over all buses."""
        counters = [vars(member.drive.counters) for member in self._members]
        return BusCounters(**{f.name: sum(each[f.name] for each in counters) for f in fields(BusCounters)})

    @property
    def errors(self) -> int:
        """Those of ``counters``, at a fraction of its cost."""
        return sum([member.drive.counters.errors for member in self._members])

    def allowed(self, position: npt.ArrayLike) -> Floats:
        there: Floats = self.limits.require_shape(position).copy()
        for member in self._members:
            there[member.indices] = member.drive.allowed(there[member.indices])
        return there

    @property
    def timeout_ns(self) -> int:
        """Of the bus that may take longest."""
        return max(member.timeout_ns for member in self._members)

    def connect(self) -> None:
        for member in self._members:
            member.drive.connect()

    def check(self) -> None:
        for member in self._members:
            member.drive.check()

    def memory(self) -> tuple[dict[str, Any], ...]:
        values: list[dict[str, Any]] = [{}] * self.dof
        for member in self._members:
            for index, keys in zip(member.indices, member.drive.memory(), strict=True):
                values[index] = keys
        return tuple(values)

    def arm_watchdog(self, timeout_s: float) -> float | None:
        """The least that any of them has; None when one bus has none: see :meth:`arm_watchdogs`."""
        armed = self.arm_watchdogs(timeout_s).values()
        return None if None in armed else min(each for each in armed if each is not None)

    def arm_watchdogs(self, timeout_s: float) -> dict[str, float | None]:
        """By the drive's name, what it has [s]; None for motors without. Raises DriveError, BusError."""
        for member in self._members:
            self._watchdogs[member.name] = member.drive.arm_watchdog(timeout_s)
        return dict(self._watchdogs)

    @property
    def watchdog_notes(self) -> dict[str, str]:
        """By the drive's name, why its motors have no watchdog; of those without."""
        notes = {member.name: member.drive.watchdog_note for member in self._members}
        return {name: note for name, note in notes.items() if note}

    def enable(self) -> None:
        """On every bus; when one refuses, those before it are disabled again, unless they held already.

        The slowest is first, and before it those whose faults are to be cleared, which may take a reboot.
        Where the rest takes longer than a watchdog of those that hold, they are commanded to hold meanwhile.
        """
        undo: list[Drive] = []
        order = sorted(self._members, key=self._haste)
        try:
            with contextlib.ExitStack() as keepers:
                for place, member in enumerate(order):
                    member.sent, member.behind = None, False
                    held = all(member.drive.torque())
                    member.drive.enable()
                    if not held:
                        undo.append(member.drive)
                    rest_s = sum(each.drive.enable_s for each in order[place + 1 :])
                    watchdog_s = self._watchdogs.get(member.name)
                    if watchdog_s is not None and rest_s > watchdog_s / 2:
                        keeper = kept(member.drive, watchdog_s, member.timeout_ns, self._clock)
                        keepers.enter_context(keeper)
        except WallEdgeError:
            for drive in undo:
                with contextlib.suppress(WallEdgeError):
                    drive.disable()
            raise

    def _haste(self, member: _Member) -> tuple[bool, float]:
        faulty = any(self._readings.faults[index] for index in member.indices)
        return not faulty, -member.drive.enable_s

    def disable(self) -> None:
        """On every bus, whatever happens on the others; raises every trouble at the end.

        All are told at once, then each is told again and read back: a dead bus may take seconds for that.
        """
        if len(self._members) > 1:
            with contextlib.suppress(Exception):
                self._on_each(lambda drive: drive.let_go_at_once())
        self._on_each(lambda drive: drive.disable())

    def torque(self) -> tuple[bool | None, ...]:
        values: list[bool | None] = [None] * self.dof
        for member in self._members:
            for index, value in zip(member.indices, member.drive.torque(), strict=True):
                values[index] = value
        return tuple(values)

    def ticks(self, position: npt.NDArray[np.float64]) -> tuple[int | None, ...]:
        values: list[int | None] = [None] * self.dof
        for member in self._members:
            ticks = member.drive.ticks(position[member.indices])
            for index, value in zip(member.indices, ticks, strict=True):
                values[index] = value
        return tuple(values)

    def start_cycle(self, setpoints: Setpoints | None, deadline_ns: int) -> None:
        """On every bus that takes it; on none when one joint's setpoint is not allowed (DriveError).

        A bus that took none for a while goes on from the last that it took, at its joints' greatest speed.
        """
        failures = self.failures
        failures.clear()
        if setpoints is not None:
            self._require_allowed(setpoints.position)
            if not (np.isfinite(setpoints.velocity).all() and np.isfinite(setpoints.effort).all()):
                raise DriveError(
                    f"feed-forward {setpoints.velocity} rad/s, {setpoints.effort} Nm",
                    expected="finite numbers",
                    fix="mend what sends it; nothing was sent",
                )
        now_ns, refusal = self._clock(), None
        since_s, self._started_ns = (now_ns - self._started_ns) * 1e-9, now_ns
        for member in self._longest_first:
            share = setpoints if setpoints is None or self._only is not None else setpoints.of(member.where)
            if member.behind and share is not None:
                share = self._caught_up(member, share, min(since_s, _LONGEST_STEP_S))
            try:
                member.drive.start_cycle(share, min(deadline_ns, now_ns + member.timeout_ns))
                if share is not None:
                    member.sent = share.position.copy()
            except (BusError, OSError) as error:
                failures[member.name] = error
                member.behind = member.sent is not None
            except DriveError as error:  # what one drive will not do is no reason for the others to stand
                refusal, failures[member.name] = refusal or error, error
        if refusal is not None:
            raise refusal
        self._require_one()

    def finish_cycle(self, deadline_ns: int) -> Feedback:
        now_ns = self._clock()
        for member in self._longest_last:
            if member.name in self.failures:
                continue
            try:
                feedback = member.drive.finish_cycle(min(deadline_ns, now_ns + member.timeout_ns))
            except (BusError, OSError) as error:
                self.failures[member.name] = error
            else:
                if self._only is not None:
                    return feedback
                self._take(member, feedback)
        self._require_one()
        return self._readings.snapshot()

    def look(self, deadline_ns: int) -> Feedback:
        self.failures.clear()
        for member in self._members:
            try:
                feedback = member.drive.look(min(deadline_ns, self._clock() + member.timeout_ns))
            except (BusError, OSError) as error:
                self.failures[member.name] = error
            else:
                if self._only is not None:
                    return feedback
                self._take(member, feedback)
        self._require_one()
        return self._readings.snapshot()

    def close(self) -> None:
        self._on_each(lambda drive: drive.close())

    def _on_each(self, action: Callable[[Drive], None]) -> None:
        troubles: list[Exception] = []
        for member in self._members:
            try:
                action(member.drive)
            except Exception as error:  # noqa: BLE001 - the other buses' motors must be let go all the same
                troubles.append(error)
        if len(troubles) > 1 and isinstance(troubles[0], WallEdgeError):
            raise type(troubles[0])("; and ".join(map(str, troubles)))
        if troubles:
            raise troubles[0]

    def _require_allowed(self, position: Floats) -> None:
        """As ``allowed``, for all drives at once where none has a say of its own."""
        if self._alike and position.shape == self._lowest.shape:
            # NaN compares False, so it is refused too.
            inside = (position >= self._lowest) & (position <= self._highest)
            if inside.all():
                return
        self.allowed(position)

    def _caught_up(self, member: _Member, share: Setpoints, seconds: float) -> Setpoints:
        """``share``, no farther from what ``member`` was sent last than its joints go in ``seconds``."""
        assert member.sent is not None
        reach = self._fastest[member.indices] * seconds
        position = np.minimum(np.maximum(share.position, member.sent - reach), member.sent + reach)
        there = position == share.position
        member.behind = not there.all()
        return replace(share, position=position, velocity=np.where(there, share.velocity, 0.0))

    def _take(self, member: _Member, feedback: Feedback) -> None:
        readings, where = self._readings, member.where
        readings.position[where] = feedback.position
        readings.velocity[where] = feedback.velocity
        readings.effort[where] = feedback.effort
        readings.temperature[where] = feedback.temperature
        readings.voltage[where] = feedback.voltage
        readings.received_ns[where] = feedback.received_ns
        words = (feedback.faults, feedback.limiters, feedback.limp)
        if words != member.words:
            member.words = words
            self._take_words(member, feedback)

    def _take_words(self, member: _Member, feedback: Feedback) -> None:
        readings = self._readings
        for k, index in enumerate(member.indices.tolist()):
            readings.faults[index], readings.limiters[index] = feedback.faults[k], feedback.limiters[k]
            name = self.joints[index].name
            (readings.limp.add if name in feedback.limp else readings.limp.discard)(index)

    def _require_one(self) -> None:
        if len(self.failures) == len(self._members):
            raise next(iter(self.failures.values()))
