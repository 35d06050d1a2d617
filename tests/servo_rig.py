"""A servo loop whose drive and clock the test owns, and the judge of what it wrote."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from wall_edge_bridge.drives import Drive, Fault, Feedback, Joint, Setpoints
from wall_edge_bridge.drives.group import DriveGroup

from wall_edge.config import RobotConfig, robot_from_mapping
from wall_edge.runtime.ipc.mailbox import Mailbox
from wall_edge.runtime.ipc.mailbox_types import (
    Chunk,
    ServoCommand,
    ServoState,
    chunk_dtype,
    command_dtype,
    feedback_dtype,
)
from wall_edge.runtime.servo.loop import ServoLoop
from wall_edge.runtime.telemetry.servo.rings import ServoRings
from wall_edge.runtime.telemetry.servo.summary import ServoSummary
from wall_edge.runtime.telemetry.servo.telemetry import ServoTelemetry

MS = 1_000_000
DT = 0.01
"""s, one tick of CONFIG."""
REHEARSALS = 16
"""Reads of the bus before torque goes on, to see whether the rate can be held."""
JOINTS = [
    {"name": "pan", "id": 1, "lower": -1.0, "upper": 1.0, "max_velocity": 2.0},
    {"name": "lift", "id": 2, "lower": -1.0, "upper": 1.0, "max_velocity": 2.0},
]
CONFIG = robot_from_mapping(
    {
        "name": "test",
        "bundle": "none",
        "control": {"rate_hz": 100, "rest": [0.0, -0.5], "rest_velocity": 1.0, "feedback_timeout_ms": 50},
        "drives": {"arm": {"kind": "feetech", "port": "/dev/null", "timeout_ms": 5}},
        "joints": JOINTS,
        "cameras": {},
    },
    "test",
)


def controlled(**control: Any) -> RobotConfig:
    """CONFIG with other values in ``control``."""
    return replace(CONFIG, control=replace(CONFIG.control, **control))


def require_within_limits(written: Sequence[npt.NDArray[np.float64]], start: npt.ArrayLike) -> None:
    """Judges setpoints [n, dof] by differences alone: from rest at ``start`` on, every bound is kept.

    A difference of order k over dt^k is a weighted mean of the derivative: the bounds hold for it too.
    """
    path = np.concatenate((np.tile(start, (3, 1)), np.array(written)))
    for joint, bounds in enumerate(CONFIG.bounds()):
        assert path[:, joint].min() >= bounds.lower
        assert path[:, joint].max() <= bounds.upper
        for order, most in enumerate((bounds.velocity, bounds.acceleration, bounds.jerk), start=1):
            found = np.abs(np.diff(path[:, joint], n=order)).max() / DT**order
            # What float64 leaves of a difference of positions near 1 is 2**order roundings over dt**order.
            assert found <= most + 2**order * 2.3e-16 / DT**order, (bounds.name, order)


def speeds(written: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """[n - 1] rad/s, of the fastest joint from each setpoint to the next."""
    fastest: npt.NDArray[np.float64] = np.abs(np.diff(np.array(written), axis=0)).max(axis=1) / DT
    return fastest


class FakeDrive(Drive):
    """Joints that are where they were told to be; ``broken`` maps a call's name to what it raises.

    ``write`` is the first half of a cycle that sends setpoints, ``read`` the second half of every cycle.
    """

    def __init__(self, joints: Sequence[Joint], clock: Callable[[], int]) -> None:
        super().__init__(joints)
        self._clock = clock
        self.position = np.full(self.dof, 0.2)
        self.broken: dict[str, Exception] = {}
        self.faults: tuple[tuple[Fault, ...], ...] = ((),) * self.dof
        self.limiters: tuple[tuple[str, ...], ...] = ((),) * self.dof
        self.offset = np.zeros(self.dof)
        """rad, added to what the motors report."""
        self.limp: tuple[str, ...] = ()
        self.silent: dict[int, tuple[float, int]] = {}
        """Joints that say nothing, with their last word and its time."""
        self.takes: Callable[[], object] = lambda: None
        """Called by every read: what it takes of the clock."""
        self.watchdog_s: float | None = None
        """What the motors have, once it is armed."""
        self.armed: list[float] = []
        self.calls: list[str] = []
        self.sent: list[Setpoints] = []
        self.deadlines: list[int] = []
        """Of every read."""

    @property
    def written(self) -> list[npt.NDArray[np.float64]]:
        """[dof] rad, of each write."""
        return [setpoints.position for setpoints in self.sent]

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self.broken:
            raise self.broken[name]

    def connect(self) -> None:
        self._call("connect")

    def check(self) -> None:
        if "check" in self.broken:
            raise self.broken["check"]

    def enable(self) -> None:
        self._call("enable")

    def disable(self) -> None:
        self._call("disable")

    def close(self) -> None:
        self._call("close")

    def arm_watchdog(self, timeout_s: float) -> float | None:
        self._call("arm")
        self.armed.append(timeout_s)
        return self.watchdog_s

    def start_cycle(self, setpoints: Setpoints | None, deadline_ns: int) -> None:
        assert deadline_ns > self._clock()
        if setpoints is not None:
            self.write(setpoints)

    def write(self, setpoints: Setpoints) -> None:
        self._call("write")
        there = Setpoints(*(np.array(row) for row in rows(setpoints)), setpoints.due_ns)
        self.position = there.position
        self.sent.append(there)

    def finish_cycle(self, deadline_ns: int) -> Feedback:
        self.deadlines.append(deadline_ns)
        self._call("read")
        self.takes()
        now = self._clock()
        position, received = self.position + self.offset, np.full(self.dof, now)
        for joint, (last, at) in self.silent.items():
            position[joint], received[joint] = last, at
        nothing = np.full(self.dof, np.nan)
        return Feedback(
            position, nothing, nothing, nothing, nothing, received, self.faults, self.limiters, self.limp
        )


def rows(setpoints: Setpoints) -> tuple[npt.NDArray[np.float64], ...]:
    """Position, velocity, acceleration, effort."""
    return setpoints.position, setpoints.velocity, setpoints.acceleration, setpoints.effort


class Rig:
    """A loop whose time passes only in its sleep, where ``each_tick`` plays supervisor and policy.

    ``drive`` is the first of ``drives``, and the only one of CONFIG.
    """

    def __init__(self, config: RobotConfig = CONFIG) -> None:
        self.now = 1_000_000 * MS
        self.chunks = Mailbox(chunk_dtype(8, 2))
        self.command = Mailbox(command_dtype())
        self.feedback = Mailbox(feedback_dtype(2))
        self._config = config
        self.drives = {name: FakeDrive(config.joints_of(name), lambda: self.now) for name in config.drives}
        self.drive = next(iter(self.drives.values()))
        self.script: dict[int, Callable[[], object]] = {}
        self.wanted, self.epoch, self.heart_beats = ServoCommand.HOLD, 1, True
        self.signalled = False
        self.states: list[ServoState] = []
        """At the begin of each tick."""
        self.tell()
        kinds = {name: settings.kind for name, settings in config.drives.items()}
        self.rings = ServoRings.of(config.dof, config.control.rate_hz, kinds=kinds)
        period_ns = round(1e9 / config.control.rate_hz)
        self.loop = ServoLoop(
            config,
            self.open,
            self.chunks,
            self.command,
            self.feedback,
            telemetry=ServoTelemetry(self.rings, period_ns, lambda: self.now),
            clock=lambda: self.now,
            sleep=self.sleep,
            stop_requested=lambda: self.signalled,
        )

    def open(self) -> DriveGroup:
        for drive in self.drives.values():
            drive._call("open")
        timeouts_ms = {name: settings.timeout_ms for name, settings in self._config.drives.items()}
        return DriveGroup(self._config.joints, self.drives, timeouts_ms, lambda: self.now)

    def sleep(self, deadline_ns: int) -> None:
        self.now = max(self.now, deadline_ns)
        tick = self.loop.ticker.ticks
        assert tick < 2000, "the loop does not end"
        self.states.append(self.loop.state)
        if tick in self.script:
            self.script[tick]()
        if self.heart_beats:
            self.tell()

    def tell(self, wanted: ServoCommand | None = None, epoch: int | None = None) -> None:
        self.wanted = self.wanted if wanted is None else wanted
        self.epoch = self.epoch if epoch is None else epoch
        record = np.zeros(1, command_dtype())[0]
        record["command"], record["epoch"], record["heartbeat_ns"] = self.wanted, self.epoch, self.now
        self.command.write(record)

    def send(
        self, positions: npt.ArrayLike, index: int = 1, dt_ms: int = 20, epoch: int | None = None
    ) -> None:
        """A chunk of an observation made now: its first step is due at once."""
        record = np.zeros(1, chunk_dtype(8, 2))[0]
        steps = np.array(positions, np.float64)
        made = self.epoch if epoch is None else epoch
        due = self.loop.pilot.track.plan_ns
        Chunk(index, self.now, dt_ms * MS, made, steps, due, published_time_ns=self.now).fill(record)
        self.chunks.write(record)

    def run(self, **script: Callable[[], object]) -> ServoLoop:
        """``t5=…`` is called just before tick 5; the supervisor stops the arm at tick 100 by default."""
        self.script = {100: lambda: self.tell(ServoCommand.STOP)} | {int(k[1:]): v for k, v in script.items()}
        self.loop.run()
        return self.loop

    def summary(self) -> dict[str, Any]:
        """What a reader of the loop's telemetry adds up."""
        summary = ServoSummary(self.rings)
        summary.follow(self.rings.reader())
        return summary.as_dict()

    def order(self) -> list[ServoState]:
        """The states that the loop came to, one after the other."""
        return [change.after for change in self.loop.machine.transitions]

    def last(self) -> Any:
        return self.feedback.read()
