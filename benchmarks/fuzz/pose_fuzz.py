"""Hostile chunks of poses on a robot with two arms: ``python -m benchmarks.fuzz.pose_fuzz``.

Every episode powers the robot inside its workspace and sends it a chunk ten times a second: NaN, metres as
millimetres, degrees, flips, jumps, 0.3 m of noise, both hands to one place, under the table. What runs is
what runs on a robot, in virtual time: Body with its Confinement and inverse kinematics, and a ServoLoop with
its chunk track, limiter and watch of the workspace. One episode in four is honest: smooth ways inside, which
must never be stopped. An episode ends at rest, or where the watch brakes; the motors do as they are told.

The setpoints alone are judged. Joints: range, and differences up to the third, over the period. Workspace:
where every joint and tip is, by the batched kinematics that the watch does not use; the tips' distance; their
speed from tick to tick. While the arm brakes for a fault the tolerance is wider: of the fastest stop the
watch has seen the end and some places on the way, and joints that stop one after the other may move a tip
faster meanwhile. Exit status 1 when a bound was exceeded, or an honest episode was stopped.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from wall_edge_bridge.drives import Drive, Feedback, Joint, Setpoints
from wall_edge_bridge.drives.group import DriveGroup

from benchmarks.fuzz.pose_robot import (
    BOX,
    CHUNK_HZ,
    HORIZON,
    MAX_SPEED,
    SIDES,
    TIP_DISTANCE_M,
    manifest_of,
    pose_robot,
)
from benchmarks.fuzz.pose_streams import PoseStream
from benchmarks.limits_campaign import Tally as JointTally
from benchmarks.limits_campaign import judge
from wall_edge.array_types import Floats
from wall_edge.body.body import Body
from wall_edge.body.model import RobotModel
from wall_edge.config import RobotConfig
from wall_edge.errors import PolicyError
from wall_edge.provenance import provenance
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

RATE_HZ, EPISODE_TICKS, CHUNK_TICKS = 250.0, 1000, 25
PLACE_TOLERANCE_M, SPEED_TOLERANCE = 1e-3, 0.3
"""While the arm brakes for a fault; before that, 1e-9 of either."""
_ROUNDED = 1e-9
"""m, and of a speed"""
BOUNDS = ("box", "table", "tips", "speed")


@dataclass
class Tally:
    """What episodes came to. ``worst``: by bound and phase the most beyond it; m, of the speed a ratio."""

    ticks: int = 0
    braking_ticks: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    worst: dict[str, float] = field(default_factory=dict)
    joints: dict[str, float] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        self.ticks += other.ticks
        self.braking_ticks += other.braking_ticks
        self.counts += other.counts
        self.violations += other.violations
        for mine, theirs in ((self.worst, other.worst), (self.joints, other.joints)):
            for name, value in theirs.items():
                mine[name] = max(mine.get(name, -math.inf), value)


class _Exact(Drive):
    """Motors that are where they were told to be."""

    def __init__(self, joints: tuple[Joint, ...], positions: Floats, clock: Any) -> None:
        super().__init__(joints)
        self.position, self._clock = positions.copy(), clock

    def connect(self) -> None:
        pass

    def enable(self) -> None:
        pass

    def disable(self) -> None:
        pass

    def close(self) -> None:
        pass

    def arm_watchdog(self, timeout_s: float) -> float | None:  # noqa: ARG002
        return None

    def start_cycle(self, setpoints: Setpoints | None, deadline_ns: int) -> None:  # noqa: ARG002
        if setpoints is not None:
            self.position = setpoints.position.copy()

    def finish_cycle(self, deadline_ns: int) -> Feedback:  # noqa: ARG002
        nothing = np.full(self.dof, np.nan)
        received = np.full(self.dof, self._clock())
        empty: tuple[tuple[Any, ...], ...] = ((),) * self.dof
        here = self.position.copy()
        return Feedback(here, nothing, nothing, nothing, nothing, received, empty, empty)


class Scene:
    """One robot, its policy, and the two's supervisor, in virtual time."""

    def __init__(self, config: RobotConfig, body: Body, start: Floats) -> None:
        self.now = 10**12
        self._config, self._body, self._index = config, body, 0
        self.chunks = Mailbox(chunk_dtype(HORIZON, config.dof))
        self.command, self.feedback = Mailbox(command_dtype()), Mailbox(feedback_dtype(config.dof))
        self._previous: tuple[int, Floats] | None = None
        self._drives = {name: self._exact(name, start) for name in config.drives}
        timeouts = {name: settings.timeout_ms for name, settings in config.drives.items()}
        self.loop = ServoLoop(
            config,
            lambda: DriveGroup(config.joints, self._drives, timeouts, lambda: self.now),
            self.chunks,
            self.command,
            self.feedback,
            clock=lambda: self.now,
            sleep=self._sleep,
        )
        self.tell(ServoCommand.FOLLOW)

    def _exact(self, name: str, start: Floats) -> _Exact:
        joints = self._config.joints_of(name)
        place = [self._config.joints.index(joint) for joint in joints]
        return _Exact(joints, start[place], lambda: self.now)

    def _sleep(self, until_ns: int) -> None:
        self.now = max(self.now, until_ns)

    def tell(self, command: ServoCommand) -> None:
        record = np.zeros(1, command_dtype())[0]
        record["command"], record["epoch"], record["heartbeat_ns"] = command, 1, self.now
        self.command.write(record)

    def send(self, values: Floats) -> None:
        """As the policy process does. Raises PolicyError."""
        pilot = self.loop.pilot
        chunk = self._body.joints(values, pilot.limiter.position.copy(), self._planned(pilot.track.plan_ns))
        self._previous = (pilot.track.plan_ns, chunk.positions)
        self._index += 1
        record = np.zeros(1, self.chunks.dtype)[0]
        period_ns = round(1e9 / CHUNK_HZ)
        Chunk(self._index, self.now, period_ns, 1, chunk.positions, pilot.track.plan_ns, self.now).fill(
            record
        )
        self.chunks.write(record)

    def _planned(self, plan_ns: int) -> Floats | None:
        if self._previous is None:
            return None
        begun_ns, positions = self._previous
        passed = round((plan_ns - begun_ns) * CHUNK_HZ / 1e9)
        return positions[np.minimum(np.arange(len(positions)) + passed, len(positions) - 1)]


def episode(number: int, *, seed: int, ticks: int) -> Tally:
    """At most ``ticks`` that follow; a function of seed and number."""
    rng = np.random.default_rng((seed, number))
    config, tally = pose_robot(RATE_HZ), Tally()
    body = Body.of(config, manifest_of(config))
    honest = number % 4 == 0
    stream = PoseStream(rng, honest)
    start = np.array(config.control.rest)
    scene = Scene(config, body, start)
    loop = scene.loop
    loop.start()
    path, braking = [start, loop.pilot.limiter.position.copy()], -1
    for tick in range(10 * ticks):
        if tick % CHUNK_TICKS == 0 and tick < ticks:
            kind, values = stream.chunk(body.state(loop.pilot.limiter.position.copy()))
            tally.counts[f"chunks: {kind}"] += 1
            try:
                scene.send(values)
            except PolicyError:
                tally.counts[f"refused: {kind}"] += 1
        scene.tell(ServoCommand.FOLLOW if tick < ticks else ServoCommand.STOP)
        if not loop.advance():
            break
        path.append(loop.pilot.limiter.position.copy())
        if braking < 0 and loop.state is ServoState.FAULT:
            braking = len(path) - 1
    tally.counts["stops of the watch" if loop.machine.fault else "ways to rest"] += 1
    setpoints = np.array(path)
    tally.ticks, tally.braking_ticks = len(path) - 2, len(path) - braking if braking >= 0 else 0
    if loop.machine.fault:
        tally.counts[f"stopped: {_bound_of(loop.machine.fault)}"] += 1
        if honest or "workspace" not in loop.machine.fault:
            tally.violations.append(f"episode {number}: {loop.machine.fault}")
    elif loop.state is not ServoState.FAULT and not loop.pilot.rested:
        tally.violations.append(f"episode {number} did not come to rest")
    _judge(tally, setpoints, len(path) if braking < 0 else braking, config, body, f"episode {number}")
    loop.finish()
    return tally


def _bound_of(fault: str) -> str:
    for word in ("max_speed", "tip_distance_m", "table_z", "box"):
        if f"{word})" in fault:
            return word
    return "other"


def _judge(
    tally: Tally, setpoints: Floats, braking: int, config: RobotConfig, body: Body, where: str
) -> None:
    joints = JointTally()
    for i, bounds in enumerate(config.bounds()):
        judge(setpoints[:, i], bounds, 1 / RATE_HZ, joints, f"{where}, {bounds.name}")
    tally.joints = {name: value for name, value in joints.worst.items() if name != "splice"}
    tally.violations += joints.violations
    assert body.model is not None
    beyond = _beyond(body.model, setpoints)
    for bound in BOUNDS:
        limits = (_ROUNDED, SPEED_TOLERANCE if bound == "speed" else PLACE_TOLERANCE_M)
        parts = {"": beyond[bound][:braking], " while braking": beyond[bound][braking:]}
        for (phase, values), allowed in zip(parts.items(), limits, strict=True):
            most = float(values.max(initial=-math.inf))
            tally.worst[f"{bound}{phase}"] = most
            if not most <= allowed and len(values):
                tally.violations.append(f"{where}: {bound}{phase} {most:.6g} beyond its bound")


def _beyond(model: RobotModel, setpoints: Floats) -> dict[str, Floats]:
    """[n] by bound: how far beyond it [m]; of the speed what is too much of it, as a part of it."""
    tips, lowest = {}, np.full(len(setpoints), math.inf)
    for side in SIDES:
        pose = model.chains[side]
        origins = pose.frame.move(pose.chain.origins(pose.chain_positions(setpoints)))
        tips[side] = origins[:, -1]
        lowest = np.minimum(lowest, origins[:, 1:, 2].min(axis=1))
    low, high = np.array([BOX[axis] for axis in "xyz"]).T
    box = np.max([np.maximum(low - tip, tip - high).max(axis=1) for tip in tips.values()], axis=0)
    apart = np.linalg.norm(tips["left"] - tips["right"], axis=1)
    speeds = [
        np.linalg.norm(np.diff(tip, axis=0, prepend=tip[:1]), axis=1) * RATE_HZ / MAX_SPEED - 1
        for tip in tips.values()
    ]
    return {"box": box, "table": -lowest, "tips": TIP_DISTANCE_M - apart, "speed": np.max(speeds, axis=0)}


def campaign(ticks: int, seed: int, jobs: int, length: int = EPISODE_TICKS) -> Tally:
    """Episodes, of ``length`` ticks that follow at most, until about so many ticks are done."""
    total, number = Tally(), 0
    one = partial(episode, seed=seed, ticks=min(ticks, length))
    if jobs == 1:
        while total.ticks < ticks:
            total.add(one(number))
            number += 1
        return total
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        while total.ticks < ticks:
            batch = range(number, number + 16 * jobs)
            for tally in pool.imap_unordered(one, batch):
                total.add(tally)
            number = batch.stop
    return total


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ticks", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    begun = time.perf_counter()
    tally = campaign(options.ticks, options.seed, options.jobs)
    report: dict[str, Any] = {
        "ticks": tally.ticks,
        "of them braking for a fault": tally.braking_ticks,
        "seed": options.seed,
        "worst ratio of joints": tally.joints,
        "beyond the workspace (m; speed: of it)": dict(sorted(tally.worst.items())),
        "tolerance while braking": {"m": PLACE_TOLERANCE_M, "speed": SPEED_TOLERANCE},
        "violations": len(tally.violations),
        "examples": sorted(tally.violations)[:10],
        "counts": dict(sorted(tally.counts.items())),
        "seconds": round(time.perf_counter() - begun, 1),
        **provenance("ruckig"),
    }
    if options.json:
        print(json.dumps(report, indent=2))
    else:
        for name, value in report.items():
            shown = ", ".join(f"{k} {v:.6g}" for k, v in value.items()) if isinstance(value, dict) else value
            print(f"{name}: {shown}")
    return int(bool(tally.violations))


if __name__ == "__main__":
    sys.exit(main())
