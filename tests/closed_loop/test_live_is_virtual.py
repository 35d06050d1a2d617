"""The servo loop decides the same on the wall clock and in virtual time.

The plan clock counts served ticks, so what a tick does depends on what had arrived by then and on nothing
else. Here a loop runs on the real clock while chunks arrive at uneven times, with real lateness and missed
ticks; then the same arrivals, tick by tick, are played in virtual time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pytest
from wall_edge_bridge.drives.group import DriveGroup
from wall_edge_bridge.drives.values import Setpoints
from wall_edge_bridge.sim.drive import SimulatedDrive

from wall_edge.config import RobotConfig, load_robot
from wall_edge.runtime.ipc.mailbox import Mailbox
from wall_edge.runtime.ipc.mailbox_types import (
    ON_ARRIVAL,
    Chunk,
    ServoCommand,
    ServoState,
    chunk_dtype,
    command_dtype,
    feedback_dtype,
)
from wall_edge.runtime.motion.chunk_track import Refusal
from wall_edge.runtime.servo.loop import ServoLoop
from wall_edge.sim.tabletop import arm

MS = 1_000_000
HORIZON, DT_NS = 24, round(1e9 / 30)


@pytest.fixture
def config() -> RobotConfig:
    robot = load_robot(Path(__file__).parents[2] / "examples" / "tabletop" / "robot.yaml")
    limits = {"feedback_timeout_ms": 5000, "heartbeat_timeout_ms": 60_000, "starved_fault_ms": 60_000}
    control = replace(robot.control, fifo_priority=None, **limits)
    return replace(robot, control=control, policy=replace(robot.policy, max_chunk_age_ms=60_000))


@dataclass
class Rig:
    """A loop on a simulated arm, its mailboxes and a note of what arrived at which tick."""

    config: RobotConfig
    clock: Callable[[], int]
    sleep: Callable[[int], None] | None = None

    def __post_init__(self) -> None:
        dof = self.config.dof
        self.chunks = Mailbox(chunk_dtype(HORIZON, dof))
        self.command, self.feedback = Mailbox(command_dtype()), Mailbox(feedback_dtype(dof))
        self.drive = SimulatedDrive(self.config.joints, arm.REST, self.clock)
        group = DriveGroup(self.config.joints, {"arm": self.drive}, {"arm": 20.0}, self.clock)
        timing = {"sleep": self.sleep} if self.sleep is not None else {}
        given = (self.config, lambda: group, self.chunks, self.command, self.feedback)
        self.loop = ServoLoop(*given, clock=self.clock, **timing)  # type: ignore[arg-type]
        self.order(ServoCommand.FOLLOW)

    def order(self, wanted: ServoCommand) -> None:
        record = np.zeros(1, command_dtype())[0]
        record["command"], record["epoch"], record["heartbeat_ns"] = wanted, 1, self.clock()
        self.command.write(record)

    def publish(self, chunk: Chunk) -> None:
        record = np.zeros(1, self.chunks.dtype)[0]
        chunk.fill(record)
        self.chunks.write(record)


def until(done: Callable[[], bool]) -> None:
    """What a loop on a busy machine did not see would be missing in the comparison."""
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def chunk(rng: np.random.Generator, index: int, now: int, plan_ns: int) -> Chunk:
    """A wandering chunk: late, early, or on arrival; sometimes too short, so that the arm runs out."""
    start = (plan_ns - 150 * MS, plan_ns + 80 * MS, ON_ARRIVAL)[index % 3]
    steps = arm.REST + np.cumsum(rng.normal(0, 0.03, (HORIZON, 6)), axis=0)
    length = 5 if index % 4 == 3 else HORIZON
    return Chunk(index, now, DT_NS, 1, steps[:length], max(start, ON_ARRIVAL))


def test_the_same_arrivals_give_the_same_setpoints(config: RobotConfig) -> None:
    live = Rig(config, time.monotonic_ns)
    arrived: dict[int, Chunk] = {}
    last: list[int] = []
    wanted: list[ServoCommand] = []
    """At each tick, as the loop had read it."""
    take, write = live.loop.pilot.track.offer, live.drive.start_cycle

    def offer(given: Chunk, now_ns: int) -> Refusal | None:
        arrived[live.loop.served_ticks] = replace(given, positions=given.positions.copy())
        last[:] = [given.index]
        return take(given, now_ns)

    def noted(setpoints: Setpoints | None, deadline_ns: int) -> None:
        if setpoints is not None:
            wanted.append(ServoCommand(live.loop.command.code))
        write(setpoints, deadline_ns)

    live.loop.pilot.track.offer = offer  # type: ignore[method-assign]
    live.drive.start_cycle = noted  # type: ignore[method-assign]
    thread = threading.Thread(target=live.loop.run)
    thread.start()
    rng = np.random.default_rng(8)
    for index in range(14):
        time.sleep(float(rng.uniform(0.03, 0.25)))
        live.publish(chunk(rng, index, time.monotonic_ns(), live.loop.pilot.track.plan_ns))
        until(lambda index=index: last == [index])
        if index == 3:  # a short one
            until(lambda: live.loop.pilot.starved_ticks > 0)
        if index == 9:
            live.order(ServoCommand.HOLD)
            until(lambda: wanted[-1] is ServoCommand.HOLD)
        if index == 10:
            live.order(ServoCommand.FOLLOW)
            until(lambda: wanted[-1] is ServoCommand.FOLLOW)
    time.sleep(0.05)
    live.order(ServoCommand.STOP)
    thread.join(60)
    assert live.loop.state is ServoState.RELEASED
    assert len(arrived) >= 10
    assert live.loop.pilot.starved_ticks > 0  # it ran out, slowed down and went on
    assert {ServoCommand.HOLD, ServoCommand.FOLLOW, ServoCommand.STOP} == set(wanted)

    now = [10**12]
    virtual = Rig(config, lambda: now[0], lambda until: now.__setitem__(0, max(now[0], until)))
    virtual.loop.start()
    for tick, (order, before) in enumerate(
        zip(wanted, [ServoCommand.FOLLOW, *wanted], strict=False), start=1
    ):
        if tick in arrived:
            virtual.publish(replace(arrived[tick], observation_time_ns=now[0]))
        if order is not before:
            virtual.order(order)
        if not virtual.loop.advance():
            break
    assert virtual.loop.state is ServoState.STOPPING
    # How long the motors trail behind the last setpoint is time, not ticks: the end may come sooner or later.
    rest = live.drive.written[-1]
    both = zip_longest(live.drive.written, virtual.drive.written, fillvalue=rest)
    assert all(real.tolist() == played.tolist() for real, played in both)
    assert len(virtual.drive.written) > len(wanted) - 50
