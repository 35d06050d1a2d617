"""Hostile chunk streams through splice and limiter: ``python benchmarks/limits_campaign.py``.

Every episode draws a rate, joints, bounds and a stream of chunks (late, future, on arrival, noisy, in
degrees, not finite, out of order, with gaps that run out), and does with them what the servo loop does at
each tick. The setpoints alone are judged: their range, and their differences up to the third, over the
period. Exit status 1 when a bound was exceeded or a splice jumped.
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
import numpy.typing as npt

from wall_edge.config import Bounds, stopping_distance
from wall_edge.provenance import provenance
from wall_edge.runtime.ipc.mailbox_types import ON_ARRIVAL, Chunk
from wall_edge.runtime.motion.chunk_track import ChunkTrack
from wall_edge.runtime.motion.limits import Limiter

Floats = npt.NDArray[np.float64]

EPISODE_TICKS = 2000
SLACK = 1e-6
"""Of a bound, and of a joint's scale at a splice: what is more is a violation."""
ORDERS = ("position", "velocity", "acceleration", "jerk")
NOT_FINITE = (math.nan, math.inf, -math.inf)


@dataclass
class Tally:
    """What episodes came to. Ratios are to the bound: 1 is on it."""

    ticks: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    worst: dict[str, float] = field(default_factory=lambda: dict.fromkeys((*ORDERS, "splice"), 0.0))
    violations: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        self.ticks += other.ticks
        self.counts += other.counts
        self.violations += other.violations
        for name, value in other.worst.items():
            self.worst[name] = max(self.worst[name], value)


def random_bounds(rng: np.random.Generator, rate: float, count: int) -> list[Bounds]:
    """From slow heavy joints to quick light ones, such as :class:`Bounds` accepts at this rate."""
    made = []
    for _ in range(count):
        velocity, acceleration = float(rng.uniform(0.2, 8)), float(np.exp(rng.uniform(0, 4.5)))
        jerk = min(float(np.exp(rng.uniform(3, 9))), 4 * velocity * rate * rate)
        span = stopping_distance(velocity, acceleration, jerk) + float(np.exp(rng.uniform(-1.5, 1.8)))
        lower = float(rng.uniform(-3, 1))
        made.append(Bounds(lower, lower + span, velocity, acceleration, jerk))
    return made


class Stream:
    """Chunks as a policy in trouble would send them."""

    def __init__(self, rng: np.random.Generator, bounds: list[Bounds]) -> None:
        self._rng = rng
        self._lower = np.array([b.lower for b in bounds])
        self._span = np.array([b.upper - b.lower for b in bounds])
        self._index = self._seen_ns = 0

    def chunk(self, now_ns: int, plan_ns: int, epoch: int, position: Floats) -> Chunk:
        rng = self._rng
        self._index += int(rng.choice([1, 1, 1, 1, 1, 2, 0, -1]))
        dt_ns = int(rng.choice([2e6, 1e7, 2e7, 1e9 / 30, 5e7, 1e8, 3e8]))
        age_ns = int(rng.choice([0, 5e7, 3e8, 9e8, 2e9, -1e6], p=[0.3, 0.25, 0.25, 0.1, 0.05, 0.05]))
        start_ns = plan_ns + int(
            rng.choice([0, -5e7, -3e8, -2e9, 1e8, 1e9], p=[0.3, 0.2, 0.2, 0.1, 0.1, 0.1])
        )
        seen_ns = now_ns - age_ns
        if rng.random() < 0.95:  # mostly in order
            seen_ns = max(seen_ns, self._seen_ns)
        self._seen_ns = min(seen_ns, now_ns)
        return Chunk(
            index=self._index,
            observation_time_ns=seen_ns,
            dt_ns=dt_ns,
            epoch=epoch - int(rng.random() < 0.03),
            positions=self._positions(int(rng.integers(1, 40)), dt_ns / 1e9, position),
            plan_start_ns=ON_ARRIVAL if rng.random() < 0.2 else start_ns,
        )

    def _positions(self, length: int, dt: float, position: Floats) -> Floats:
        rng, span, shape = self._rng, self._span, (length, len(self._span))
        t = dt * np.arange(length)[:, None]
        anywhere = self._lower + rng.uniform(-0.1, 1.1, len(span)) * span
        kind = rng.integers(9)
        if kind == 0:  # the same place, whatever the arm does
            return np.asarray(np.broadcast_to(anywhere, shape).copy())
        if kind == 1:  # within the range, and a little beyond it
            return np.asarray(self._lower + rng.uniform(-0.1, 1.1, shape) * span)
        if kind == 2:  # between full range and full range
            return np.asarray(self._lower + rng.integers(0, 2, shape) * span)
        if kind == 3:
            w, part = rng.uniform(1, 60), rng.uniform(0, 0.6)
            return np.asarray(
                self._lower + span * (0.5 + part * np.sin(w * t + rng.uniform(0, 7, len(span))))
            )
        if kind == 4:  # as far beyond the range as is not refused
            return np.asarray(self._lower + span * rng.uniform(-1, 2, shape))
        smooth = position + (anywhere - position) * np.clip(t / rng.uniform(0.1, 3), 0, 1)
        if kind == 5:
            smooth = smooth + rng.normal(0, 0.003, shape)
        elif kind == 6:
            smooth = np.degrees(smooth)
        elif kind == 7:
            smooth[rng.integers(length), rng.integers(len(span))] = rng.choice([*NOT_FINITE, 1e300, -1e300])
        return np.asarray(smooth)


def episode(number: int, *, seed: int, ticks: int) -> Tally:
    """``ticks`` of one arm; a function of seed and number."""
    rng = np.random.default_rng((seed, number))
    rate = float(rng.choice([100, 125, 200, 250, 333, 500, 1000, rng.uniform(100, 1000)]))
    bounds = random_bounds(rng, rate, int(rng.integers(1, 8)))
    period_ns = round(1e9 / rate)
    lower, upper = (np.array([getattr(b, edge) for b in bounds]) for edge in ("lower", "upper"))
    blend_ns = round(max(2.0 / rate, float(rng.uniform(0.02, 0.4))) * 1e9)
    track = ChunkTrack(lower, upper, period_ns=period_ns, max_age_ns=10**9, blend_ns=blend_ns)
    limiter, stream, tally = Limiter(bounds, 1.0 / rate), Stream(rng, bounds), Tally()
    limiter.reset(lower + rng.uniform(-0.1, 1.1, len(bounds)) * (upper - lower))
    setpoints = np.empty((ticks + 1, len(bounds)))
    setpoints[0] = limiter.position
    scale = np.array([[b.upper - b.lower, b.velocity, b.acceleration] for b in bounds]).T
    every, epoch, wanted = float(np.exp(rng.uniform(1, 5.5))), 0, True
    for k in range(ticks):
        if rng.random() < 0.002:
            track.start_epoch(epoch := epoch + 1)
        if rng.random() < (0.002 if wanted else 0.05):
            wanted = not wanted
        if rng.random() < 1 / every:
            now_ns = 10**12 + k * period_ns
            track.offer(stream.chunk(now_ns, track.plan_ns, epoch, limiter.position), now_ns)
        # As ServoLoop._follow.
        before = track.chunk
        status = track.tick(limiter.state) if wanted else "held"
        tally.counts[status] += 1
        if status == "following":
            if track.chunk is not before:
                tally.counts["splices"] += 1
                jump = float((np.abs(track.now - limiter.state) / scale).max())
                tally.worst["splice"] = max(tally.worst["splice"], jump)
                if not jump <= SLACK:
                    tally.violations.append(f"episode {number}: a splice at tick {k} jumps by {jump:.3g}")
            setpoints[k + 1] = limiter.follow(track.now, track.then)
        else:
            setpoints[k + 1] = limiter.stop()
    tally.ticks = ticks
    tally.counts["taken"] += track.taken
    tally.counts["bent steps"] += sum(limiter.hits["brake"])
    tally.counts += Counter({f"refused: {reason}": count for reason, count in track.refused.items()})
    for joint, b in enumerate(bounds):
        judge(setpoints[:, joint], b, 1.0 / rate, tally, f"episode {number}, joint {joint}")
    return tally


def judge(setpoints: Floats, b: Bounds, dt: float, tally: Tally, where: str) -> None:
    """Adds one joint's ratios to its bounds; it was at rest before the first setpoint."""
    p = np.concatenate((np.full(3, setpoints[0]), setpoints))
    middle, half = (b.upper + b.lower) / 2, (b.upper - b.lower) / 2
    ratios = [float(np.abs(p - middle).max()) / half]
    for order, bound in enumerate((b.velocity, b.acceleration, b.jerk), 1):
        ratios.append(float(np.abs(np.diff(p, order)).max()) / dt**order / bound)
    rounding = float(np.spacing(np.abs(p).max()))
    for order, (name, ratio) in enumerate(zip(ORDERS, ratios, strict=True)):
        bound = (half, b.velocity, b.acceleration, b.jerk)[order]
        allowed = 1 + SLACK * (order > 0) + 2**order * rounding / dt**order / bound
        tally.worst[name] = max(tally.worst[name], ratio)
        if not ratio <= allowed:  # NaN is a violation
            tally.violations.append(f"{where}: {name} {ratio:.9g} of its bound")


def campaign(ticks: int, seed: int, jobs: int) -> Tally:
    """All episodes; the same whatever the number of ``jobs``."""
    total = Tally()
    count = math.ceil(ticks / EPISODE_TICKS)
    one = partial(episode, seed=seed, ticks=min(ticks, EPISODE_TICKS))
    if jobs == 1:
        for number in range(count):
            total.add(one(number))
        return total
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        for tally in pool.imap_unordered(one, range(count), chunksize=4):
            total.add(tally)
    return total


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ticks", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    begun = time.perf_counter()
    tally = campaign(given.ticks, given.seed, given.jobs)
    report: dict[str, Any] = {
        "ticks": tally.ticks,
        "seed": given.seed,
        "worst ratio": {name: tally.worst[name] for name in ORDERS},
        "worst splice jump": tally.worst["splice"],
        "violations": len(tally.violations),
        "examples": sorted(tally.violations)[:10],
        "counts": dict(sorted(tally.counts.items())),
        "seconds": round(time.perf_counter() - begun, 1),
        **provenance("ruckig"),
    }
    if given.json:
        print(json.dumps(report, indent=2))
    else:
        for name, value in report.items():
            shown = ", ".join(f"{k} {v:.12g}" for k, v in value.items()) if isinstance(value, dict) else value
            print(f"{name}: {shown}")
    return int(bool(tally.violations))


if __name__ == "__main__":
    sys.exit(main())
