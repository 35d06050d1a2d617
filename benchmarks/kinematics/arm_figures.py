"""Inverse kinematics in figures: ``python benchmarks/kinematics/arm_figures.py [--quick] [--arm ur5]``.

For public arms of 5, 6, 6 and 7 joints: how many reachable poses are solved; how chunks follow paths through
±π, near singular postures and along limits, next to a tracker that solves one step after the other with 30
iterations; what a chunk of two arms costs. Times are this thread's processor time, as other programs may run
beside it; the wall clock stands next to them. Poses and paths come from seeds: the same code gives the same
shares.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.kinematics.paths import DT, KINDS, STEPS, Path, paths
from tests.arms import ENDS, arm, arm_chain
from wall_edge.kinematics.aim import Aim, Poses, SolverSettings
from wall_edge.kinematics.chain import Chain
from wall_edge.kinematics.gravity import Gravity
from wall_edge.kinematics.inverse import ChunkSolver, shifted
from wall_edge.kinematics.newton import Targets
from wall_edge.kinematics.scalar import ScalarChain
from wall_edge.kinematics.search import ranges, search
from wall_edge.provenance import provenance

Floats = npt.NDArray[np.float64]
HORIZON, EXECUTED = 32, 8
PATIENT = SolverSettings(cap_s=10)
"""Shares must not depend on what runs beside."""
_SMALLEST = 1e-3
"""rad: of a tracker's largest step; less is standstill."""


@dataclass
class Stream:
    """One arm along one path, chunk after chunk, as if eight steps of each were executed."""

    solver: ChunkSolver
    path: Path
    positions: list[Floats] = field(default_factory=list)
    solved: list[npt.NDArray[np.bool_]] = field(default_factory=list)
    elapsed_s: list[float] = field(default_factory=list)
    cold: int = 0
    _seed: Floats | None = None
    _plan: Floats | None = None

    def solve(self, start: int) -> None:
        steps = slice(start, start + HORIZON)
        poses = Poses(self.path.poses.positions[steps], self.path.poses.rotations[steps])
        seed = self.path.seed if self._seed is None else self._seed
        solution = self.solver.solve(poses, seed, DT, self._plan)
        kept = EXECUTED if start + HORIZON < STEPS else HORIZON
        self.positions.append(solution.positions[:kept])
        self.solved.append(solution.solved[:kept])
        self.elapsed_s.append(solution.elapsed_s)
        self.cold += solution.cold
        self._seed = solution.positions[EXECUTED - 1]
        self._plan = shifted(solution.positions, EXECUTED, self.solver.chain.velocity * DT)


STARTS = range(0, STEPS - HORIZON + 1, EXECUTED)


def pose_figures(chain: Chain, count: int) -> dict[str, Any]:
    """``count`` poses of random postures, from the middle of all ranges, at most 100 restarts each."""
    q = np.random.default_rng(11).uniform(*ranges(chain), (count, len(chain.joints)))
    began = time.thread_time()
    solved, postures = search(chain, Poses(*chain.forward(q)), np.mean(ranges(chain), 0))
    spent = time.thread_time() - began
    return {
        "poses": count,
        "solved": float(solved.mean()),
        "left": int((~solved).sum()),
        "worst_solved_mm": float(postures.error_m[solved].max() * 1e3),
        "us_a_pose": spent / count * 1e6,
    }


def path_figures(chain: Chain, kind: str, count: int) -> dict[str, Any]:
    """Largest joint step against the tracker's, and the share of steps solved."""
    solver, aim = ChunkSolver(chain, PATIENT), Aim(chain, PATIENT)
    ratios, solved, tracked, cold, fastest = [], [], [], 0, 0.0
    for path in islice(paths(chain, kind, np.random.default_rng(1)), count):
        stream = Stream(solver, path)
        for start in STARTS:
            stream.solve(start)
        steps = np.abs(np.diff(np.vstack([path.seed, *stream.positions]), axis=0))
        fastest = max(fastest, float((steps / (chain.velocity * DT)).max()))
        tracker, reached = _tracked(aim, path)
        ratios.append(steps.max() / max(np.abs(np.diff(tracker, axis=0)).max(), _SMALLEST))
        solved.append(np.concatenate(stream.solved).mean())
        tracked.append(reached)
        cold += stream.cold
    return {
        "paths": count,
        "ratio_at_most_2": float(np.mean(np.array(ratios) <= 2)),
        "worst_ratio": float(np.max(ratios)),
        "solved": float(np.mean(solved)),
        "solved_by_tracker": float(np.mean(tracked)),
        "cold": cold / (count * len(STARTS)),
        "of_velocity_limit": fastest,
    }


def chunk_figures(chain: Chain, count: int) -> dict[str, Any]:
    """Milliseconds for a chunk of two such arms, capped as shipped, first chunks included."""
    solver = ChunkSolver(chain)
    each = 2 * -(-count // len(KINDS))
    rngs = {kind: np.random.default_rng(2) for kind in KINDS}
    every = [path for kind in KINDS for path in islice(paths(chain, kind, rngs[kind]), each)]
    spent, wall, longest = [], [], 0.0
    for one, other in zip(every[::2], every[1::2], strict=True):
        pair = (Stream(solver, one), Stream(solver, other))
        for start in STARTS:
            began, clock = time.thread_time(), time.perf_counter()
            for stream in pair:
                stream.solve(start)
            spent.append((time.thread_time() - began) * 1e3)
            wall.append((time.perf_counter() - clock) * 1e3)
        longest = max(longest, *pair[0].elapsed_s, *pair[1].elapsed_s)
    p50, p99 = np.percentile(spent, (50, 99))
    return {
        "chunks": len(spent),
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "wall_p99_ms": float(np.percentile(wall, 99)),
        "longest_solve_ms": longest * 1e3,
        "cap_ms": solver.settings.cap_s * 1e3,
    }


def tick_figures(name: str) -> dict[str, Any]:
    """Microseconds of one posture in plain numbers: all frames, gravity torques; the best of ten."""
    chain = arm_chain(name)
    scalar, gravity, q = ScalarChain(chain), Gravity(arm(name), chain), np.mean(ranges(chain), 0).tolist()
    return {"frames_us": _best(lambda: scalar.origins(q)), "gravity_us": _best(lambda: gravity.torques(q))}


def _best(call: Callable[[], object], calls: int = 200) -> float:
    rounds = []
    for _ in range(10):
        began = time.thread_time()
        for _ in range(calls):
            call()
        rounds.append((time.thread_time() - began) / calls)
    return min(rounds) * 1e6


def _tracked(aim: Aim, path: Path) -> tuple[Floats, float]:
    """Positions of a tracker, its seed first, and the share that it solved."""
    targets = Targets.of(path.poses.positions, path.poses.rotations)
    q, solved = [path.seed], 0
    for step in range(STEPS):
        postures = aim.refined(q[-1][:, None], targets.at(slice(step, step + 1)), 30)
        q.append(postures.q[:, 0])
        solved += int(aim.solved(postures)[0])
    return np.array(q), solved / STEPS


def figures(names: list[str], sizes: tuple[int, int], tell: Callable[[str], None]) -> dict[str, Any]:
    """All figures by arm, of so many poses and so many paths of each kind."""
    poses, count = sizes
    result: dict[str, Any] = {}
    for name in names:
        chain = arm_chain(name)
        parts: dict[str, Callable[[], dict[str, Any]]] = {
            "tick": partial(tick_figures, name),
            "chunk of two arms": partial(chunk_figures, chain, count),
            **{kind: partial(path_figures, chain, kind, count) for kind in KINDS},
            "poses": partial(pose_figures, chain, poses),
        }
        result[name] = {"joints": len(chain.joints)}
        for part, measure in parts.items():
            result[name][part] = measure()
            tell(f"{name} {part}: {_line(result[name][part])}")
    return result


def _line(values: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value:.5g}" for key, value in values.items())


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--arm", choices=ENDS, action="append", help="one of the arms; several times for several"
    )
    parser.add_argument("--quick", action="store_true", help="few of everything, to see that it runs")
    parser.add_argument("--poses", type=int, default=100_000)
    parser.add_argument("--paths", type=int, default=67, help="of each of the three kinds")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    sizes = (60, 1) if options.quick else (options.poses, options.paths)
    silent = options.json
    made = figures(options.arm or list(ENDS), sizes, (lambda _: None) if silent else print)
    report = {**provenance(), "arms": made}
    print(json.dumps(report) if silent else "\n".join(f"{key}: {report[key]}" for key in provenance()))
    return report


if __name__ == "__main__":
    main()
