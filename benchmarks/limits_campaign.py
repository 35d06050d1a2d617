"""Hostile chunks against the motion core: ``python benchmarks/limits_campaign.py --ticks 1000000``.

Chunks, good and bad, go through ChunkTrack and Limiter tick by tick as in ``ServoLoop``; a run is a random
arm (1 to 7 joints, random bounds) at a random rate (100 to 1000 Hz) for a few thousand ticks. The judge knows
the bounds and the setpoints, nothing else: positions and their first three differences over the period must
keep the bounds (relative slack 1e-6; none for positions), and a chunk that takes over must continue position,
velocity and acceleration to 1e-6 of their bounds. One violation makes the exit code 1. Results depend on
``--seed`` alone.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context

import numpy as np
import numpy.typing as npt

from wall_edge.braking import Bounds
from wall_edge.errors import ConfigError, RuntimeFault
from wall_edge.machine import facts
from wall_edge.runtime.homing import Homing
from wall_edge.runtime.limits import Limiter
from wall_edge.runtime.schedule import ON_ARRIVAL, Chunk, ChunkTrack

Floats = npt.NDArray[np.float64]
Rng = np.random.Generator

SLACK = 1e-6
RUN_TICKS = 2500
RATIOS = ("position", "velocity", "acceleration", "jerk")
_HOSTILE = (math.nan, math.inf, -math.inf, 1e300, -1e300, 1.7e308, -1.7e308, 5e-324, -0.0)


@dataclass
class Tally:
    """What was found; ``worst`` are ratios to a bound, ``splice`` jumps relative to one."""

    ticks: int = 0
    joint_ticks: int = 0
    taken: int = 0
    refused: int = 0
    splices: int = 0
    bent: int = 0
    worst: dict[str, float] = field(default_factory=lambda: dict.fromkeys(RATIOS, 0.0))
    splice: float = 0.0
    violations: int = 0
    first_violation: str = ""

    def add(self, other: Tally) -> None:
        for name in ("ticks", "joint_ticks", "taken", "refused", "splices", "bent", "violations"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.worst = {name: max(self.worst[name], other.worst[name]) for name in RATIOS}
        self.splice = max(self.splice, other.splice)
        self.first_violation = self.first_violation or other.first_violation


# --- the judge ------------------------------------------------------------------------------------------


def ratios(setpoints: Floats, bounds: Sequence[Bounds], rate: float) -> dict[str, Floats]:
    """Ratio to each bound [ticks, dof] of ``setpoints`` [ticks, dof] in rad; before them it stood."""
    lower, upper = (np.array([getattr(b, name) for b in bounds]) for name in ("lower", "upper"))
    found = {"position": np.abs(setpoints - (lower + upper) / 2) / ((upper - lower) / 2)}
    differences = np.concatenate((np.repeat(setpoints[:1], 3, axis=0), setpoints))
    for name in RATIOS[1:]:
        differences = np.diff(differences, axis=0) * rate
        found[name] = np.abs(differences[-len(setpoints) :]) / [getattr(b, name) for b in bounds]
    return found


def outside(setpoints: Floats, bounds: Sequence[Bounds], rate: float) -> dict[str, int]:
    """How many setpoints or differences exceed each bound; NaN does."""
    lower, upper = (np.array([getattr(b, name) for b in bounds]) for name in ("lower", "upper"))
    count = {"position": int((~((setpoints >= lower) & (setpoints <= upper))).sum())}
    for name, ratio in ratios(setpoints, bounds, rate).items():
        if name != "position":
            count[name] = int((~(ratio <= 1 + SLACK)).sum())
    return count


# --- what the policy may send -----------------------------------------------------------------------------


def random_bounds(rng: Rng, dof: int, dt: float) -> list[Bounds]:
    """Bounds that do not contradict each other at this period [s], from creeping to whipping joints."""
    found: list[Bounds] = []
    while len(found) < dof:
        lower = rng.uniform(-4, 2)
        try:
            bounds = Bounds(
                lower, lower + _log(rng, 0.1, 7), _log(rng, 0.05, 12), _log(rng, 0.5, 80), _log(rng, 20, 4000)
            )
            bounds.inside(dt)
        except ConfigError:
            continue
        found.append(bounds)
    return found


def _log(rng: Rng, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _sine(rng: Rng, t: Floats, b: Bounds) -> Floats:
    """At the bounds: about as wide as the joint reaches, about as fast as one derivative allows."""
    half = (b.upper - b.lower) / 2 * rng.uniform(0.05, 1.1)
    order = int(rng.integers(1, 4))
    w = ((b.velocity, b.acceleration, b.jerk)[order - 1] / half) ** (1 / order) * rng.uniform(0.8, 1.3)
    return np.asarray((b.lower + b.upper) / 2 + half * np.sin(w * t + rng.uniform(0, 2 * math.pi)))


def _noise(rng: Rng, t: Floats, b: Bounds) -> Floats:
    return rng.normal((b.lower + b.upper) / 2, _log(rng, 1e-4, 1) * (b.upper - b.lower), t.shape)


def _jumps(rng: Rng, t: Floats, b: Bounds) -> Floats:
    ends = np.array(
        [b.lower, b.upper, (b.lower + b.upper) / 2, np.nextafter(b.upper, 9), 2 * b.upper - b.lower]
    )
    return rng.choice(ends, t.shape)


def _ramp(rng: Rng, t: Floats, b: Bounds) -> Floats:
    return np.asarray(
        rng.uniform(b.lower, b.upper) + b.velocity * rng.choice([-1.3, -1, 1, 1.3]) * (t - t[0])
    )


def _degrees(rng: Rng, t: Floats, b: Bounds) -> Floats:
    return np.asarray(np.degrees(_sine(rng, t, b)))


def _still(rng: Rng, t: Floats, b: Bounds) -> Floats:
    return np.full(t.shape, rng.uniform(b.lower, b.upper))


_KINDS: tuple[Callable[[Rng, Floats, Bounds], Floats], ...] = (_sine, _noise, _jumps, _ramp, _still)


def positions(rng: Rng, t: Floats, bounds: Sequence[Bounds]) -> Floats:
    """One chunk [len(t), dof], mostly of numbers."""
    kinds = [_KINDS[i] for i in rng.integers(len(_KINDS), size=len(bounds))]
    if rng.random() < 0.05:
        kinds = [_degrees] * len(bounds)
    rows = np.stack([kind(rng, t, b) for kind, b in zip(kinds, bounds, strict=True)], axis=1)
    if rng.random() < 0.05:
        rows[rng.random(rows.shape) < 0.1] = rng.choice(_HOSTILE)
    return rows


def reference(rng: Rng, bounds: Sequence[Bounds]) -> Floats:
    """What no chunk would give, straight to the limiter [3, dof]."""
    scale = np.array([[b.upper - b.lower, b.velocity, b.acceleration] for b in bounds]).T
    rows: Floats = rng.normal(size=scale.shape) * scale * _log(rng, 0.1, 10)
    if rng.random() < 0.3:
        rows[rng.random(rows.shape) < 0.2] = rng.choice(_HOSTILE)
    return rows


# --- one run ------------------------------------------------------------------------------------------------


class Run:
    """A random arm for ``ticks`` ticks."""

    def __init__(self, seed: Sequence[int], ticks: int) -> None:
        self.rng = rng = np.random.default_rng(seed)
        self.ticks, self.rate = (
            ticks,
            float(rng.choice([100, 125, 250, 333, 500, 1000, rng.uniform(100, 1000)])),
        )
        self.bounds = random_bounds(rng, int(rng.integers(1, 8)), 1.0 / self.rate)
        self.lower, self.upper = (
            np.array([getattr(b, end) for b in self.bounds]) for end in ("lower", "upper")
        )
        self.period_ns = round(1e9 / self.rate)
        self.track = ChunkTrack(
            self.lower,
            self.upper,
            period_ns=self.period_ns,
            max_age_ns=1_000_000_000,
            blend_ns=round(_log(rng, 2.0 / self.rate, 0.5) * 1e9),
        )
        self.limiter = Limiter(self.bounds, 1.0 / self.rate)
        start = rng.uniform(-0.1, 1.1, len(self.bounds)) * (self.upper - self.lower) + self.lower
        self.limiter.reset(start)
        self.now_ns, self.index = 10_000_000_000, 0
        self.tally = Tally(ticks=ticks, joint_ticks=ticks * len(self.bounds))

    def judged(self) -> Tally:
        made = [self.limiter.position.copy()]
        for setpoint in self._setpoints():
            made.append(setpoint.copy())
            self.now_ns += self.period_ns
        tally, setpoints = self.tally, np.array(made)
        tally.worst = {
            name: float(ratio.max()) for name, ratio in ratios(setpoints, self.bounds, self.rate).items()
        }
        self._blame(outside(setpoints, self.bounds, self.rate))
        tally.taken, tally.refused = self.track.taken, sum(self.track.refused.values())
        tally.bent = sum(self.limiter.hits["brake"])
        return tally

    def _blame(self, counts: dict[str, int]) -> None:
        for name, count in counts.items():
            if count:
                self.tally.violations += count
                self.tally.first_violation = self.tally.first_violation or f"{count} x {name}, {self.bounds}"

    def _setpoints(self) -> Iterator[Floats]:
        """Stretches of following, holding and worse, as long as the run lasts."""
        stretches = (self._follow, self._follow, self._follow, self._hold, self._direct, self._homing)
        left = self.ticks
        while left > 0:
            lasts = min(left, int(self.rng.integers(1, 600)))
            yield from stretches[self.rng.integers(len(stretches))](lasts)
            left -= lasts

    def _follow(self, ticks: int) -> Iterator[Floats]:
        """A policy of some period and lateness; now and then a new instruction."""
        if self.rng.random() < 0.2:
            self.track.start_epoch(self.track.epoch + 1)
        every = 1 + int(_log(self.rng, 0.004, 1.0) * self.rate)
        late_ns = int(self.rng.choice([0, 1, -1])) * int(
            _log(self.rng, 1e6, 1.2e9)
        )  # negative: it begins later
        for tick in range(ticks):
            if tick % every == 0:
                self.track.offer(self._chunk(late_ns), self.now_ns)
            yield self._followed()

    def _followed(self) -> Floats:
        """One tick of ``ServoLoop`` that wants to follow."""
        chunk, before = self.track.chunk, self.limiter.state.copy()
        if self.track.tick(self.limiter.state) != "following":
            return self.limiter.stop()
        if self.track.chunk is not chunk:
            self._judge_splice(before)
        return self.limiter.follow(self.track.now, self.track.then)

    def _judge_splice(self, before: Floats) -> None:
        scale = np.array([[b.upper - b.lower, b.velocity, b.acceleration] for b in self.bounds]).T
        jump = float((np.abs(self.track.now - before) / scale).max())
        self.tally.splices += 1
        self.tally.splice = max(self.tally.splice, jump)
        self._blame({"splice": int(not jump <= SLACK)})

    def _chunk(self, late_ns: int) -> Chunk:
        rng, self.index = self.rng, self.index + 1
        dt_ns = round(_log(rng, 0.002, 0.2) * 1e9)
        t = np.arange(int(rng.integers(1, 40))) * dt_ns / 1e9 + self.now_ns / 1e9
        start = ON_ARRIVAL if rng.random() < 0.15 else max(0, self.track.plan_ns - late_ns)
        rows = positions(rng, t, self.bounds)
        return Chunk(
            self.index, self.now_ns - max(0, late_ns), dt_ns, self.track.epoch, rows, plan_start_ns=start
        )

    def _hold(self, ticks: int) -> Iterator[Floats]:
        for _ in range(ticks):
            yield self.limiter.stop()

    def _direct(self, ticks: int) -> Iterator[Floats]:
        """Past the track: whatever a bug before the limiter could make."""
        then, keeps = reference(self.rng, self.bounds), self.rng.random()
        for _ in range(ticks):
            now = then
            if self.rng.random() > keeps:
                then = reference(self.rng, self.bounds)
            yield self.limiter.follow(now, then)

    def _homing(self, ticks: int) -> Iterator[Floats]:
        target = self.rng.uniform(self.lower, self.upper).tolist()
        try:
            homing = Homing(self.limiter.state, target, _log(self.rng, 0.1, 3), self.bounds)
        except RuntimeFault as fault:
            self._blame({f"homing: {fault}": 1})
            return
        now, then = np.empty_like(self.limiter.state), np.empty_like(self.limiter.state)
        for tick in range(ticks):
            homing.at(tick / self.rate, now)
            homing.at((tick + 1) / self.rate, then)
            yield self.limiter.follow(now, then)


def _judged(task: tuple[tuple[int, int], int]) -> Tally:
    seed, ticks = task
    return Run(seed, ticks).judged()


def campaign(ticks: int, seed: int, jobs: int) -> Tally:
    """Runs of RUN_TICKS until there are ``ticks``, in ``jobs`` processes."""
    count = math.ceil(ticks / RUN_TICKS)
    tasks = [((seed, i), min(RUN_TICKS, ticks - i * RUN_TICKS)) for i in range(count)]
    total = Tally()
    if jobs == 1:
        for task in tasks:
            total.add(_judged(task))
        return total
    with get_context("spawn").Pool(jobs) as pool:
        for tally in pool.imap(_judged, tasks, chunksize=4):
            total.add(tally)
    return total


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ticks", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    begun = time.monotonic()
    total = campaign(given.ticks, given.seed, given.jobs)
    result = {
        "ticks": total.ticks,
        "joint_ticks": total.joint_ticks,
        "seed": given.seed,
        "chunks_taken": total.taken,
        "chunks_refused": total.refused,
        "splices": total.splices,
        "bent_steps": total.bent,
        **{f"worst_{name}_ratio": total.worst[name] for name in RATIOS},
        "worst_splice_jump": total.splice,
        "violations": total.violations,
        "first_violation": total.first_violation,
        "wall_s": round(time.monotonic() - begun, 1),
        **facts("ruckig"),
    }
    if given.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:26} {value}")
    return 1 if total.violations else 0


if __name__ == "__main__":
    sys.exit(main())
