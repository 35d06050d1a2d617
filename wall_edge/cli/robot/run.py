"""``wall-edge run``: the daemon on a robot, until it is told to stop."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from wall_edge.cli.output import Display, last_words
from wall_edge.config import RobotConfig, load_robot
from wall_edge.errors import ConfigError, WallEdgeError, plural, printable
from wall_edge.runtime.motion.weight import effortless
from wall_edge.runtime.telemetry.run_log import RunLog, chunk_intervals_ms, percentiles
from wall_edge.signals import received

KEPT = 1000
"""Chunks, subgoals and episodes that the supervisor remembers: the last minutes."""

if TYPE_CHECKING:
    from wall_edge.runtime.daemon.daemon import Daemon
    from wall_edge.runtime.daemon.inbox import Inbox
    from wall_edge.runtime.daemon.service.manager import ServiceManager
    from wall_edge.runtime.daemon.world import World
    from wall_edge.runtime.telemetry.session_recorder import RecordingOptions


def run(
    robot: Annotated[Path, typer.Argument(help="ROBOT.yaml")],
    instruction: Annotated[
        str | None, typer.Option(help="What to do; default: the instruction in ROBOT.yaml.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Stop by itself after this time [s].", min=0.1, max=1e9)
    ] = None,
    events: Annotated[Path | None, typer.Option(help="Append the event log (JSON lines) here.")] = None,
    record: Annotated[
        Path | None, typer.Option(help="Record samples into this new folder, for calibration.")
    ] = None,
    record_period: Annotated[
        float, typer.Option(help="Seconds from one sample to the next.", min=0.0, max=1e6)
    ] = 0.5,
    record_moments: Annotated[int, typer.Option(help="How many samples at most.", min=1)] = 1000,
) -> None:
    """Run the policy on the robot. Ctrl-C, SIGTERM or SIGHUP brings the arm to rest and releases it.

    SIGUSR1, to any or all of its processes, is the emergency stop: the arm brakes where it is, is held for a
    moment and goes limp, and does not start again before 'wall-edge clear'.
    """
    with received() as signals:  # imports here: without them --help is a third faster
        from wall_edge.runtime.daemon.daemon import Daemon
        from wall_edge.runtime.daemon.service.manager import ServiceManager
        from wall_edge.runtime.telemetry.session_recorder import RecordingOptions
        from wall_edge.sim.worlds import open_world

        service = ServiceManager.of(os.environ)
        service.starting("checking the bundle")
        config = load_robot(robot)
        world = open_world(config)
        words = words_of(config, world, instruction)
        recording = RecordingOptions(record, record_period, record_moments) if record is not None else None
        daemon = Daemon(
            config,
            world=world,
            events=events,
            recording=recording,
            signals=signals,
            instruction=instruction,
            kept=KEPT,
            service=service,
        )
        errors: list[str] = []
        display = Display("starting the robot")
        try:
            with display, daemon:
                _follow(daemon, world, words, seconds, display, service)
        except KeyboardInterrupt:
            pass
        except WallEdgeError as error:
            errors.append(f"error: {error}")
        refusals, notes = refusal_lines(daemon.record, daemon.inbox, failed=bool(errors))
        errors += refusals
        lines = _summary_lines(daemon, recording) + notes
        last_words(int(bool(errors)), lines, errors, stuck=display.stuck)


def words_of(config: RobotConfig, world: World | None, instruction: str | None) -> str | None:
    """What to do; None where a simulated world says it. Raises ConfigError when nobody does."""
    words = config.instruction if instruction is None else instruction
    if words is None and not (world is not None and world.gives_tasks):
        raise ConfigError("no instruction", expected="--instruction TEXT, or 'instruction' in ROBOT.yaml")
    return words


def _follow(
    daemon: Daemon,
    world: World | None,
    words: str | None,
    seconds: float | None,
    display: Display,
    service: ServiceManager,
) -> None:
    """Carry out ``words``, or the simulated world's tasks one after the other."""
    end = time.monotonic() + seconds if seconds is not None else float("inf")
    number = 0
    if world is not None:
        world.start_episode(number, follow=words is None)
    if words is not None:
        daemon.instruct(words)
    while time.monotonic() < end:
        daemon.poll()
        display.line = status_line(daemon)
        service.status(display.line.plain)
        if world is not None and words is None and daemon.record.counts["episodes"] > number:
            number += 1
            world.start_episode(number)


def status_line(daemon: Daemon) -> Text:
    """What the arm is doing, in one line."""
    record = daemon.record
    latency = percentiles([chunk.latency_ms for chunk in record.chunks[-20:]], 50)["p50"]
    subgoal = printable(record.subgoals[-1].text) if record.subgoals else "-"
    trouble = ", recording stopped" if daemon.inbox.recording_trouble else ""
    trouble += f", refused: {daemon.inbox.refusal}" if daemon.inbox.refusal else ""
    chunks = record.counts["chunks"]
    if not chunks and daemon.watchdogs:
        words = "; ".join(filter(None, (daemon.watchdogs, effortless(daemon.config))))
        return Text(f"{daemon.state.name.lower()}: {printable(words)}{trouble}")
    return Text(
        f"{daemon.state.name.lower()}: {subgoal}  {plural(chunks, 'chunk')}, {latency:.0f} ms{trouble}"
    )


def _summary_lines(daemon: Daemon, recording: RecordingOptions | None) -> list[str]:
    record, servo = daemon.record, daemon.record.servo
    interval = percentiles(chunk_intervals_ms(record.chunks), 50)["p50"]
    lines = [
        f"{daemon.config.name}: {servo.get('state', 'never started').lower()} "
        f"after {servo.get('seconds', 0):.1f} s; "
        f"{plural(record.counts['chunks'], 'chunk')} every {interval:.0f} ms, "
        f"{plural(servo.get('starved_ticks', 0), 'starved tick')}, "
        f"{plural(servo.get('overruns', 0), 'overrun')}, "
        f"{plural(servo.get('bus', {}).get('errors', 0), 'bus error')}"
    ]
    lines += [f"engine: {daemon.inbox.engine}"] if daemon.inbox.engine else []
    lines += [daemon.watchdogs] if daemon.watchdogs else []
    lines += [f"note: {daemon.torque_note}"] if daemon.torque_note else []
    lines += [f"note: {words}"] if (words := effortless(daemon.config)) else []
    lines += refused_settings(servo)
    if recording is not None:
        samples = len(list(recording.folder.glob("[0-9]*.npz")))
        lines.append(f"recorded {plural(samples, 'sample')} in {recording.folder}")
    lines += [f"note: {daemon.inbox.log_trouble}"] if daemon.inbox.log_trouble else []
    if daemon.inbox.recording_trouble:
        lines.append(f"note: {daemon.inbox.recording_trouble}")
    return lines


def refusal_lines(record: RunLog, inbox: Inbox, *, failed: bool) -> tuple[list[str], list[str]]:
    """Errors and notes, when a refusal was the policy's last word.

    An error where no chunk ever came: the arm was to move, and stood. ``failed``: another one is said.
    """
    if not inbox.refusal:
        return [], []
    if record.counts["chunks"] or failed:
        return [], [f"note: {inbox.refused}"]
    return [f"error: no chunk came, and the arm did not move; {inbox.refused}"], []


def refused_settings(servo: Mapping[str, Any]) -> list[str]:
    """One line for each real-time setting that the kernel refused."""
    settings = servo.get("realtime", {}).values()
    return [f"note: {setting['name']} {setting['detail']}" for setting in settings if not setting["granted"]]
