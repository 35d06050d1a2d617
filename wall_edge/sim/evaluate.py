"""Many episodes in virtual time, counted: what ``wall-edge eval`` prints."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import TypedDict

import numpy as np
import wall_edge_engines
from wall_edge_engines import Engine

from wall_edge.array_types import Floats
from wall_edge.bundle import Bundle
from wall_edge.config import RobotConfig, SchedulerConfig
from wall_edge.runtime.ipc.mailbox_types import ServoState
from wall_edge.runtime.policy.action_loop import ActionLoop, engine_settings, require_horizon
from wall_edge.sim.faults import FAULTS
from wall_edge.sim.virtual import Delays, VirtualRobot
from wall_edge.sim.world.stages import stage_of

_INJECT_S = 0.5
"""A fault comes so long after the first chunk was taken."""
_RECOVER_S = 3.0
_PATIENCE_S = 30.0
_CAP_MS = 1000.0


@dataclass(frozen=True)
class Cell:
    """What is evaluated together: ``episodes`` layouts of one scheduler under one delay, and one fault."""

    scheduler: SchedulerConfig
    delays: Delays
    episodes: int
    fault: str | None = None


@dataclass(frozen=True)
class Outcome:
    """One episode. ``seconds`` is the task's time, ``paused_s`` how much of it the arm waited for a chunk."""

    status: str
    seconds: float
    peak_jerk: float
    """rad/s³"""
    rms_jerk: float
    """rad/s³, over all joints and ticks"""
    paused_s: float
    limit_violations: int
    final_state: str
    chunks: int
    subgoals: int
    subgoals_right: int
    reaction_ms: float | None = None
    least_tip_distance_m: float | None = None


class Row(TypedDict):
    """A cell's figures. ``peak_jerk``, ``rms_jerk`` in rad/s³; times in s, but for the names that say ms."""

    scheduler: str
    delay_ms: float
    jitter_ms: float
    episodes: int
    successes: int
    success_rate: float
    median_s: float | None
    peak_jerk: float
    rms_jerk: float
    paused_s: float
    limit_violations: int
    fault: str | None
    final_state: str
    expected_state: str | None
    reaction_ms: float | None
    wrong_block: int
    wrong_hand: int
    timeouts: int
    least_tip_distance_m: float | None
    chunks: int
    subgoals: int
    subgoals_right: int


def check(config: RobotConfig, bundle: Bundle, cells: Sequence[Cell]) -> None:
    """Refuse what cannot be evaluated before anything runs. Raises ConfigError."""
    stage_of(config)
    for cell in cells:
        if cell.fault is not None:
            FAULTS[cell.fault].require(config, cell.fault)
        settings = replace(config.policy, scheduler=cell.scheduler)
        cell.scheduler.require(bundle.manifest)
        longest_ns = round(1e6 * (cell.delays.chunk_ms + cell.delays.jitter_ms))
        require_horizon(bundle.manifest, settings, longest_ns, f"scheduler {cell.scheduler.kind}: a delay")


def evaluate(config: RobotConfig, bundle: Bundle, cells: Sequence[Cell], jobs: int) -> Iterator[Row]:
    """Runs all episodes on ``jobs`` processes; rows come in the order of ``cells``.

    An episode depends on its layout, seed and delays alone, so the rows do not depend on ``jobs``.
    """
    tasks = {(c, n): (cell, n) for c, cell in enumerate(cells) for n in range(cell.episodes)}
    done: dict[int, dict[int, Outcome]] = {c: {} for c in range(len(cells))}
    next_row = 0
    with ProcessPoolExecutor(jobs, get_context("spawn"), _open, (config, bundle)) as pool:
        futures: dict[Future[Outcome], tuple[int, int]] = {
            pool.submit(_episode, *task): key for key, task in tasks.items()
        }
        for future in as_completed(futures):
            c, n = futures[future]
            done[c][n] = future.result()
            while next_row < len(cells) and len(done[next_row]) == cells[next_row].episodes:
                outcomes = [done[next_row][k] for k in sorted(done[next_row])]
                yield _row(cells[next_row], outcomes)
                next_row += 1


_opened: dict[str, tuple[RobotConfig, Bundle, Engine]] = {}
_loops: dict[SchedulerConfig, ActionLoop] = {}


def _open(config: RobotConfig, bundle: Bundle) -> None:
    bundle.require_unchanged()
    settings = replace(engine_settings(config.policy), threads=1)
    _opened["robot"] = config, bundle, wall_edge_engines.load(bundle, settings)


def _actions(config: RobotConfig, bundle: Bundle, engine: Engine, cell: Cell) -> ActionLoop:
    robot = replace(config, policy=replace(config.policy, scheduler=cell.scheduler))
    if robot.kinematics is not None:  # virtual time: how busy this machine is changes no result
        robot = replace(robot, kinematics=replace(robot.kinematics, cap_ms=_CAP_MS))
    return ActionLoop(bundle, engine, robot, seed=config.simulation.seed if config.simulation else 0)


def _episode(cell: Cell, number: int) -> Outcome:
    config, bundle, engine = _opened["robot"]
    if cell.scheduler not in _loops:
        _loops[cell.scheduler] = _actions(config, bundle, engine, cell)
    robot = VirtualRobot(config, _loops[cell.scheduler], number, cell.delays)
    try:
        return _with_fault(robot, cell.fault) if cell.fault else _without(robot)
    finally:
        robot.leave()


def _without(robot: VirtualRobot) -> Outcome:
    robot.start()
    robot.run(lambda: robot.world.episode.status != "running")
    return _outcome(robot, robot.loop.state.name, None)


def _with_fault(robot: VirtualRobot, name: str) -> Outcome:
    fault = FAULTS[name]
    robot.start()
    robot.run(lambda: robot.loop.pilot.track.taken > 0)
    _run_for(robot, _INJECT_S, lambda: False)
    start_ns = robot.now
    fault.inject(robot)
    noticed = _run_for(robot, _PATIENCE_S, lambda: fault.noticed(robot))
    reaction_ms = (robot.now - start_ns) / 1e6 if noticed else None
    if fault.expected is ServoState.FOLLOWING:
        _run_for(robot, 0.5, lambda: False)
        _run_for(robot, _RECOVER_S, lambda: robot.loop.state is ServoState.FOLLOWING)
    else:
        _run_for(robot, _PATIENCE_S, lambda: robot.over)
    return _outcome(robot, robot.loop.state.name, reaction_ms)


def _run_for(robot: VirtualRobot, seconds: float, until: Callable[[], bool]) -> bool:
    end = robot.now + round(seconds * 1e9)
    robot.run(lambda: until() or robot.now >= end)
    return until()


def _outcome(robot: VirtualRobot, final_state: str, reaction_ms: float | None) -> Outcome:
    period_s = robot.loop.ticker.period_ns / 1e9
    jerk, count = violations(robot)
    right = sum(record.text == truth for record, truth in robot.subgoals)
    return Outcome(
        robot.world.episode.status,
        robot.world.episode.seconds,
        float(np.abs(jerk).max(initial=0.0)),
        float(np.sqrt(np.mean(jerk**2))) if jerk.size else 0.0,
        robot.loop.pilot.starved_ticks * period_s,
        count,
        final_state,
        len(robot.published),
        len(robot.subgoals),
        right,
        reaction_ms,
        robot.world.episode.least_tip_distance_m,
    )


def violations(robot: VirtualRobot) -> tuple[Floats, int]:
    """Jerk [ticks, dof] of the setpoints in rad/s³, and how many differences exceed a bound of ROBOT.yaml.

    Judged from what was written to the motors, apart from the limiter: positions, and first to third
    differences over one period. The setpoint before the first is the first: the arm stood.
    """
    if not robot.drive.written:
        return np.zeros((0, robot.config.dof)), 0
    written = np.array(robot.drive.written)
    setpoints = np.concatenate((np.repeat(written[:1], 3, axis=0), written))
    bounds, rate = robot.config.bounds(), robot.config.control.rate_hz
    count = sum(
        int((setpoints[:, i] < b.lower).sum() + (setpoints[:, i] > b.upper).sum())
        for i, b in enumerate(bounds)
    )
    for order, name in ((1, "velocity"), (2, "acceleration"), (3, "jerk")):
        difference = np.abs(np.diff(setpoints, order, axis=0)) * rate**order
        count += int((difference > [getattr(b, name) * (1 + 1e-6) for b in bounds]).sum())
    return np.diff(setpoints, 3, axis=0) * rate**3, count


def _row(cell: Cell, outcomes: Sequence[Outcome]) -> Row:
    won = [o.seconds for o in outcomes if o.status == "success"]
    states = Counter(o.final_state for o in outcomes).most_common()
    reactions = [o.reaction_ms for o in outcomes if o.reaction_ms is not None]
    unnoticed = cell.fault is not None and len(reactions) < len(outcomes)
    return Row(
        scheduler=cell.scheduler.kind,
        delay_ms=cell.delays.chunk_ms,
        jitter_ms=cell.delays.jitter_ms,
        episodes=len(outcomes),
        successes=len(won),
        success_rate=len(won) / len(outcomes),
        median_s=statistics.median(won) if won else None,
        peak_jerk=max(o.peak_jerk for o in outcomes),
        rms_jerk=statistics.fmean(o.rms_jerk for o in outcomes),
        paused_s=sum(o.paused_s for o in outcomes) / len(outcomes),
        limit_violations=sum(o.limit_violations for o in outcomes),
        fault=cell.fault,
        final_state=states[0][0] if len(states) == 1 else ", ".join(f"{n} {s}" for s, n in states),
        expected_state=FAULTS[cell.fault].expected.name if cell.fault else None,
        reaction_ms=None if unnoticed else max(reactions, default=None),
        wrong_block=sum(o.status == "wrong_block" for o in outcomes),
        wrong_hand=sum(o.status == "wrong_hand" for o in outcomes),
        timeouts=sum(o.status == "timeout" for o in outcomes),
        least_tip_distance_m=min(
            (o.least_tip_distance_m for o in outcomes if o.least_tip_distance_m is not None), default=None
        ),
        chunks=sum(o.chunks for o in outcomes),
        subgoals=sum(o.subgoals for o in outcomes),
        subgoals_right=sum(o.subgoals_right for o in outcomes),
    )
