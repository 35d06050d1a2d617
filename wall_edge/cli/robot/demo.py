"""``wall-edge demo``: checkpoint → bundle → daemon → simulated arm, judged and reported."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from wall_edge_engines.onnxruntime import installed, require_onnxruntime

from wall_edge.cli.console import SafeConsole
from wall_edge.cli.output import stderr
from wall_edge.cli.robot.examples import POLICIES, example_folder, require_example, require_policy
from wall_edge.cli.robot.run import refused_settings
from wall_edge.config import RobotConfig, SimulationConfig, load_robot
from wall_edge.errors import ConfigError, RuntimeFault, plural, printable
from wall_edge.provenance import provenance
from wall_edge.runtime.daemon.daemon import Daemon
from wall_edge.runtime.daemon.world import World
from wall_edge.runtime.telemetry.event_log import event_files
from wall_edge.runtime.telemetry.run_summary import Summary, summarise
from wall_edge.signals import received
from wall_edge.sim.world.stages import STAGES
from wall_edge.sim.worlds import open_world

_FRAME_EVERY_S = 0.5
_DEADLINE_S = 60.0


def demo(
    episodes: Annotated[int, typer.Option(help="How many tasks to carry out.", min=1)] = 20,
    seed: Annotated[int, typer.Option(help="Seed of the block layouts; none of them was trained on.")] = 0,
    checkpoint: Annotated[
        Path | None, typer.Option(help="WALL-OSS checkpoint; left out: that of the robot's example.")
    ] = None,
    robot: Annotated[
        str, typer.Option(help="ROBOT.yaml, or an example's name: tabletop, two-handed.")
    ] = "tabletop",
    policy: Annotated[
        str, typer.Option(help=f"Generation of the example's policy: {', '.join(POLICIES)}.")
    ] = "wall-oss",
    out: Annotated[Path, typer.Option(help="Where bundle, event log and report go.")] = Path("runs/demo"),
    min_success: Annotated[float, typer.Option(help="Exit with 1 below this success rate.")] = 0.95,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Export a shipped policy afresh, verify it, and let it work on the simulated robot."""
    require_policy(policy)
    named = not Path(robot).suffix and not Path(robot).exists()
    robot_file = example_folder(robot, policy) / "robot.yaml" if named else Path(robot)
    require_example(robot_file)
    config = replace(load_robot(robot_file), bundle=(out / "bundle").resolve())
    simulation = _simulation(config, seed)
    config = replace(config, simulation=simulation)
    world = _world(config)
    example = robot if named else simulation.world
    weights = example_folder(example, policy) / "checkpoint" if checkpoint is None else checkpoint
    require_example(weights)
    out.mkdir(parents=True, exist_ok=True)
    _require_extras()
    from wall_edge.report import write_report

    _wall_edge("export", str(weights), "--out", str(config.bundle), "--robot", str(robot_file))
    _wall_edge("verify", str(config.bundle))
    events = out / "events.jsonl"
    for path in event_files(events):
        path.unlink(missing_ok=True)
    with received() as signals, ExitStack() as running:
        with stderr.status("starting the robot"):
            daemon = running.enter_context(Daemon(config, world=world, events=events, signals=signals))
        _play(daemon, world, episodes)
    report = out / "report.html"
    summary = summarise(daemon.record, report)
    with stderr.status("drawing the report"):
        write_report(daemon.record, dict(summary), report, provenance("onnxruntime", "torch"))
    print(json.dumps(summary)) if as_json else SafeConsole().print(_table(summary))
    for line in refused_settings(daemon.record.servo):
        stderr.print(line)
    if daemon.inbox.log_trouble:
        stderr.print(f"note: {daemon.inbox.log_trouble}", markup=False)
    if not summary["success_rate"] >= min_success:  # nan is no rate that can be reached
        stderr.print(f"success rate {summary['success_rate']:.0%} is below {min_success:.0%}")
        raise typer.Exit(1)


def _simulation(config: RobotConfig, seed: int) -> SimulationConfig:
    if not config.simulated or config.simulation is None:
        raise ConfigError(
            f"{config.name} is not simulated",
            expected="simulated: true and a simulation section",
            fix="use 'wall-edge run' for a real robot",
        )
    return replace(config.simulation, seed=seed)


def _world(config: RobotConfig) -> World:
    world = open_world(config)
    if world is None or not world.gives_tasks:
        raise ConfigError(
            f"{config.name} lives where nobody gives it tasks",
            expected=f"simulation.world: {' or '.join(STAGES)}",
            fix="use 'wall-edge run' with an instruction",
        )
    return world


def _require_extras() -> None:
    """Say what is missing before minutes are spent."""
    require_onnxruntime()
    for extra, package in (("export", "torch"), ("report", "matplotlib")):
        if not installed(package):
            raise ConfigError(f"{package} is not installed", fix=f"pip install 'wall-edge[{extra}]'")


def _wall_edge(*arguments: str) -> None:
    """Run another command as a user would; its output goes to stderr, so that ``--json`` stays clean.

    A process of its own also keeps torch out of the daemon's memory.
    """
    done = subprocess.run([sys.executable, "-m", "wall_edge", *arguments], stdout=sys.stderr, check=False)
    if done.returncode != 0:
        raise RuntimeFault(f"'wall-edge {arguments[0]}' failed with exit code {done.returncode}")


def _play(daemon: Daemon, world: World, episodes: int) -> None:
    columns = (
        TextColumn("episode"),
        MofNCompleteColumn(),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[success]} succeeded  {task.fields[subgoal]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=stderr) as progress:
        task = progress.add_task("", total=episodes, success=0, subgoal="")
        for number in range(episodes):
            world.start_episode(number)
            _play_one(daemon, world, number, progress, task)
            if not progress.console.is_terminal:
                done = daemon.record.episodes[-1]
                seconds = (done.end_ns - done.start_ns) / 1e9
                stderr.print(f"episode {number + 1}: {done.instruction} {done.status} in {seconds:.1f} s")


def _play_one(daemon: Daemon, world: World, number: int, progress: Progress, task: TaskID) -> None:
    deadline, next_frame = time.monotonic() + _DEADLINE_S, time.monotonic()
    while len(daemon.record.episodes) <= number:
        daemon.poll()
        if time.monotonic() >= next_frame and world.episode is not None:
            daemon.keep_frames()
            next_frame += _FRAME_EVERY_S
        subgoals = daemon.record.subgoals
        success = sum(episode.status == "success" for episode in daemon.record.episodes)
        words = printable(subgoals[-1].text) if subgoals and subgoals[-1].epoch == daemon.epoch else ""
        progress.update(task, completed=len(daemon.record.episodes), success=success, subgoal=words)
        if time.monotonic() > deadline:
            raise RuntimeFault(f"episode {number + 1} did not end in {_DEADLINE_S:.0f} s")


def _table(summary: Summary) -> Table:
    servo, policy, subgoals = summary["servo"], summary["policy"], summary["subgoals"]
    rows: Sequence[tuple[str, str]] = (
        ("episodes", f"{summary['successes']} of {summary['episodes']} succeeded"),
        (
            "subgoals in words",
            f"{subgoals['correct']} of {subgoals['judged']} right, {subgoals['switches']} switches, "
            f"p50 {subgoals['latency_ms']['p50']:.0f} ms, p99 {subgoals['latency_ms']['p99']:.0f} ms",
        ),
        (
            "action chunks",
            f"{policy['chunks']}, p50 {policy['latency_ms']['p50']:.0f} ms, "
            f"p99 {policy['latency_ms']['p99']:.0f} ms; "
            f"usual interval {policy['interval_ms']['p50']:.0f} ms, "
            f"longest {subgoals['longest_chunk_interval_ms']:.0f} ms "
            f"({policy['longest_over_usual']:.2f} times)",
        ),
        (
            "servo loop",
            f"{servo['rate_hz']:.1f} Hz, lateness p50 {servo['lateness_us']['p50']:.0f} µs, "
            f"p99 {servo['lateness_us']['p99']:.0f} µs, p99.9 {servo['lateness_us']['p999']:.0f} µs; "
            f"{plural(servo['starved_ticks'], 'starved tick')}, {plural(servo['overruns'], 'overrun')} "
            f"({plural(servo['skipped'], 'tick')} skipped), "
            f"{plural(servo['waiting_ticks'], 'tick')} waiting for a task's first chunk",
        ),
        (
            "chunk published until taken",
            f"p50 {servo['pickup_us']['p50'] / 1e3:.1f} ms, p99 {servo['pickup_us']['p99'] / 1e3:.1f} ms",
        ),
        ("bus", f"{summary['bus']['cycles_hz']:.1f} cycles/s, {plural(summary['bus']['errors'], 'error')}"),
        ("report", summary["report"]),
    )
    table = Table(show_header=False, title="wall-edge demo")
    for row in rows:
        table.add_row(*row)
    return table
