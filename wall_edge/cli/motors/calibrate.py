"""``wall-edge motors calibrate``: zeros, directions and limits, by moving the limp arm by hand."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
import yaml
from rich.live import Live
from rich.table import Table
from wall_edge_bridge.drives import Drive

from wall_edge.array_types import Floats
from wall_edge.atomic import atomic_write
from wall_edge.cli.console import SafeConsole
from wall_edge.config import load_robot
from wall_edge.errors import ConfigError, DriveError
from wall_edge.motors.access import open_motors
from wall_edge.motors.calibration import Sweep, calibrated
from wall_edge.motors.hand import Hand, PersonsHand, SimulatedHand
from wall_edge.signals import interruptible, unhold

_LOOK_NS = 500_000_000
_PERIOD_S = 0.05


def calibrate(
    robot: Annotated[
        Path, typer.Argument(help="ROBOT.yaml: which motors; its limits and zeros are replaced.")
    ],
    out: Annotated[Path, typer.Option("--out", help="A file for the joints: it extends ROBOT.yaml.")],
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Find every joint's zero, direction and limits while you move the limp arm by hand.

    Nothing is powered or written into a motor: the result is a YAML file that extends ROBOT.yaml.
    """
    if out.exists() and not force:
        raise ConfigError(
            f"{out} is there already", expected="a new file", fix="name another, or give --force"
        )
    config = load_robot(robot)
    with interruptible(), open_motors(config, by_hand=True) as motors:
        unhold()
        motors.drives.connect()
        _require_limp(motors.drives)
        hand: Hand = PersonsHand() if motors.twins is None else SimulatedHand(config, motors.twins)
        keys = calibrated(motors.drives, _swept(motors.drives, hand))
    base = os.path.relpath(robot, out.parent)
    text = yaml.safe_dump({"extends": base, "joints": list(keys)}, sort_keys=False)
    atomic_write(out, text.encode())
    try:
        load_robot(out)
    except ConfigError as error:
        raise ConfigError(f"{out} is written, but {error}") from None
    print(f"{out}: {len(keys)} joints; 'wall-edge motors watch {out}' shows them")


def _require_limp(drives: Drive) -> None:
    powered = [joint.name for joint, on in zip(drives.joints, drives.torque(), strict=True) if on]
    if powered:
        raise DriveError(
            f"{', '.join(powered)} is powered", expected="a limp arm", fix="run 'wall-edge release' first"
        )


def _swept(drives: Drive, hand: Hand) -> Sweep:
    zero = _positions(drives, hand.hold_zero, "Put every joint where its angle is to be 0")
    positive = _positions(drives, hand.turn_positive, "Move every joint a little in its positive direction")
    lowest, highest = np.minimum(zero, positive), np.maximum(zero, positive)

    def widen(position: Floats) -> None:
        np.fmin(lowest, position, out=lowest)
        np.fmax(highest, position, out=highest)

    _watch(drives, hand.sweep, "Move every joint from one end of its range to the other", widen)
    return Sweep(zero, positive, lowest, highest)


def _positions(drives: Drive, done: Callable[[str], bool], prompt: str) -> Floats:
    last: list[Floats] = []
    _watch(drives, done, prompt, last.append)
    there: Floats = last[-1].copy()
    return there


def _watch(drives: Drive, done: Callable[[str], bool], prompt: str, take: Callable[[Floats], Any]) -> None:
    """Shows the joints until ``done(prompt)``; each look goes to ``take``, the last one after that."""
    with Live(console=SafeConsole(stderr=True), auto_refresh=False, transient=True) as live:
        over = False
        while not over:
            over = done(prompt)
            feedback = drives.cycle(None, time.monotonic_ns() + _LOOK_NS)
            take(feedback.position)
            live.update(_table(drives, feedback.position, prompt), refresh=True)
            if not over:
                time.sleep(_PERIOD_S)


def _table(drives: Drive, position: Floats, prompt: str) -> Table:
    table = Table(caption=f"{prompt}, then press Enter.")
    for column in ("joint", "rad", "ticks"):
        table.add_column(column, justify="left" if column == "joint" else "right")
    for joint, angle, ticks in zip(drives.joints, position, drives.ticks(position), strict=True):
        table.add_row(joint.name, f"{angle:+.3f}", "-" if ticks is None else str(ticks))
    return table
