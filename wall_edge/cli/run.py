"""``wall-edge run``: the daemon on a robot, until it is told to stop."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.text import Text

from wall_edge.config import RobotConfig, load_robot
from wall_edge.errors import ConfigError, printable
from wall_edge.record import chunk_intervals_ms, percentiles
from wall_edge.runtime.recorder import RecordingOptions
from wall_edge.runtime.supervisor import Daemon
from wall_edge.signals import emergency_flag, stop_flag

from .output import stderr


def run(
    robot: Annotated[Path, typer.Argument(help="ROBOT.yaml")],
    instruction: Annotated[
        str | None, typer.Option(help="What to do; default: the instruction in ROBOT.yaml.")
    ] = None,
    seconds: Annotated[float | None, typer.Option(help="Stop by itself after this time.", min=0.1)] = None,
    events: Annotated[Path | None, typer.Option(help="Append the event log (JSON lines) here.")] = None,
    record: Annotated[
        Path | None, typer.Option(help="Record moments into this new folder, for calibration.")
    ] = None,
    record_period: Annotated[float, typer.Option(help="Seconds from one moment to the next.", min=0.0)] = 0.5,
    record_moments: Annotated[int, typer.Option(help="How many moments at most.", min=1)] = 1000,
) -> None:
    """Run the policy on the robot. Ctrl-C, SIGTERM or SIGHUP brings the arm to rest and releases it.

    SIGUSR1 is the emergency stop: the arm brakes where it is, is held for a moment and goes limp, and does
    not start again before 'wall-edge clear'.
    """
    config = load_robot(robot)
    words = instruction or config.instruction
    if words is None and not config.simulated:
        raise ConfigError("no instruction", expected="--instruction TEXT, or 'instruction' in ROBOT.yaml")
    recording = RecordingOptions(record, record_period, record_moments) if record is not None else None
    with stop_flag() as interrupted, emergency_flag() as emergency:
        signals = {"interrupted": interrupted, "emergency": emergency}
        daemon = Daemon(config, events=events, recording=recording, **signals)
        try:
            with ExitStack() as running:
                with stderr.status("starting the robot"):
                    running.enter_context(daemon)
                _follow(daemon, words, seconds)
        except KeyboardInterrupt:
            pass
        except OSError:  # a terminal that went away takes no more output
            if not interrupted():
                raise
        with contextlib.suppress(BrokenPipeError if not interrupted() else OSError):
            _say_goodbye(daemon, config)
            if recording is not None:
                _say_recorded(daemon, recording)


def _follow(daemon: Daemon, words: str | None, seconds: float | None) -> None:
    """Carry out ``words``, or the simulated world's tasks one after the other."""
    end = time.monotonic() + seconds if seconds is not None else float("inf")
    number = 0
    if daemon.config.simulated:
        daemon.start_episode(number, follow=words is None)
    if words is not None:
        daemon.instruct(words)
    with Live(Text("starting"), console=stderr, refresh_per_second=5, transient=True) as live:
        while time.monotonic() < end:
            daemon.poll()
            live.update(status_line(daemon))
            if daemon.config.simulated and words is None and len(daemon.record.episodes) > number:
                number += 1
                daemon.start_episode(number)


def status_line(daemon: Daemon) -> Text:
    """What the arm is doing, in one line."""
    record = daemon.record
    latency = percentiles([chunk.latency_ms for chunk in record.chunks[-20:]], 50)["p50"]
    subgoal = printable(record.subgoals[-1].text) if record.subgoals else "-"
    trouble = ", recording stopped" if daemon.recording_trouble else ""
    return Text(
        f"{daemon.state.name.lower()}: {subgoal}  {len(record.chunks)} chunks, {latency:.0f} ms{trouble}"
    )


def _say_goodbye(daemon: Daemon, config: RobotConfig) -> None:
    record, servo = daemon.record, daemon.record.servo
    interval = percentiles(chunk_intervals_ms(record.chunks), 50)["p50"]
    print(
        f"{config.name}: {servo.get('state', 'never started').lower()} "
        f"after {servo.get('seconds', 0):.1f} s; {len(record.chunks)} chunks every {interval:.0f} ms, "
        f"{servo.get('starved_ticks', 0)} starved ticks, "
        f"{servo.get('overruns', 0)} overruns, {servo.get('bus', {}).get('errors', 0)} bus errors"
    )
    for line in refused_settings(servo):
        print(line)


def _say_recorded(daemon: Daemon, recording: RecordingOptions) -> None:
    moments = len(list(recording.folder.glob("[0-9]*.npz")))
    print(f"recorded {moments} moments in {recording.folder}")
    if daemon.recording_trouble:
        print(f"note: {daemon.recording_trouble}")


def refused_settings(servo: Mapping[str, Any]) -> list[str]:
    """One line for each real-time setting that the kernel refused."""
    settings = servo.get("realtime", {}).values()
    return [f"note: {setting['name']} {setting['detail']}" for setting in settings if not setting["granted"]]
