"""What the workspace and the weight cost a tick and a chunk: ``python -m benchmarks.workspace_cost``.

Two arms of six joints (examples/two_handed/robot.urdf) follow a motion that comes near the table; every tick
asks the watch for the setpoint, where its stop ends, and what was measured, half a tick's way behind. On a
machine that others use too, p99 is theirs.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks.fuzz.pose_robot import CHUNK_HZ, HORIZON, READY, SIDES, pose_robot
from wall_edge.array_types import Floats
from wall_edge.body.model import RobotModel
from wall_edge.body.workspace import Confinement, Path
from wall_edge.kinematics.gravity import Gravity
from wall_edge.provenance import provenance
from wall_edge.runtime.motion.limits import Limiter
from wall_edge.runtime.motion.workspace import WorkspaceWatch

RATE_HZ = 250.0
LOW = (0.0, -0.1, 0.8, -0.7, 0.0, 0.0, 0.3)
"""Of one arm: its tip some centimetres above the table."""


def motion(seconds: float) -> Floats:
    """Joint positions [n, 14], one a tick: both arms swing and dip."""
    t = np.arange(round(seconds * RATE_HZ))[:, None] / RATE_HZ
    swing = np.array([0.3, 0.2, 0.2, 0.2, 0.2, 0.4, 0.1] * 2)
    path: Floats = np.array(LOW * 2) + swing * np.sin(2.1 * t + np.arange(14))
    return path


def ticks_us(seconds: float) -> Floats:
    """[n] µs a tick of the watch alone."""
    config, path = pose_robot(RATE_HZ), motion(seconds)
    watch = WorkspaceWatch.of(config)
    assert watch is not None
    limiter = Limiter(config.bounds(), 1 / RATE_HZ)
    limiter.reset(path[0])
    durations = []
    velocity = np.gradient(path, 1 / RATE_HZ, axis=0)
    acceleration = np.gradient(velocity, 1 / RATE_HZ, axis=0)
    rows = np.stack([path, velocity, acceleration], 1)
    before = path[0]
    for k in range(len(path) - 1):
        limiter.follow(rows[k], rows[k + 1])
        measured = ((limiter.position + before) / 2).tolist()
        before = limiter.position.copy()
        joints, now = limiter.joints, k * 4_000_000
        begun = time.perf_counter_ns()
        watch.require_setpoint(joints)
        watch.require_measured(measured, now, now)
        durations.append(time.perf_counter_ns() - begun)
    return np.array(durations) / 1e3


def chunks_us(count: int) -> dict[str, Floats]:
    """[n] µs a chunk of both arms: one that is inside, and one that all bounds act on."""
    config = pose_robot(RATE_HZ)
    model = RobotModel.of(config)
    confinement = Confinement.of(config, model)
    start = {side: model.chains[side].forward(np.array(READY * 2))[0] for side in SIDES}
    turns = np.tile(np.eye(3), (HORIZON, 1, 1))
    rng = np.random.default_rng(0)
    step = np.arange(1, HORIZON + 1)[:, None] * np.array([0.002, 0.0, 0.001])
    inside: dict[str, Path] = {side: (start[side] + step, turns) for side in SIDES}
    together: dict[str, Path] = {
        side: (np.array([0.2, 0.0, 0.05]) + rng.normal(0, 0.1, (HORIZON, 3)), turns) for side in SIDES
    }
    work = {"inside": inside, "every bound acts": together}
    dt_s = 1 / CHUNK_HZ
    return {
        name: measured(partial(confinement.confine, poses, start, dt_s), count)
        for name, poses in work.items()
    }


def weights_us(count: int) -> Floats:
    """[n] µs of the torques of both arms."""
    model = RobotModel.of(pose_robot(RATE_HZ))
    parts = [Gravity(model.urdf, model.chains[side].chain) for side in SIDES]
    return measured(lambda: [part.torques(READY[:6]) for part in parts], count)


def measured(work: Callable[[], object], count: int) -> Floats:
    durations = []
    for _ in range(count):
        begun = time.perf_counter_ns()
        work()
        durations.append(time.perf_counter_ns() - begun)
    return np.array(durations) / 1e3


def percentiles(durations: Floats) -> dict[str, float]:
    return {name: round(float(np.percentile(durations, at)), 1) for name, at in (("p50", 50), ("p99", 99))}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=40.0, help="of motion, at 250 Hz")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    count = max(20, round(10 * options.seconds))
    report: dict[str, object] = {
        "watch, a tick of two arms [us]": percentiles(ticks_us(options.seconds)),
        **{f"confine, a chunk {name} [us]": percentiles(each) for name, each in chunks_us(count).items()},
        "weight, two arms [us]": percentiles(weights_us(10 * count)),
        **provenance(),
    }
    print(json.dumps(report, indent=2) if options.json else "\n".join(f"{k}: {v}" for k, v in report.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
