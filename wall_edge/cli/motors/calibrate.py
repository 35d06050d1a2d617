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
from wall_edge.cli.console import SafeConsole
from wall_edge.cli.output import require_new, write_new
from wall_edge.config import load_robot
from wall_edge.errors import BusTimeout, ConfigError, DriveError, plural
from wall_edge.motors.access import open_motors
from wall_edge.motors.calibration import Sweep, calibrated, require_unwrapped
from wall_edge.motors.hand import Hand, PersonsHand, SimulatedHand
from wall_edge.signals import interruptible, unhold

_LOOK_NS = 500_000_000
_PERIOD_S = 0.05
_TRIES = 50


def calibrate(
    robot: Annotated[
        Path, typer.Argument(help="ROBOT.yaml: which motors; its limits and zeros are replaced.")
    ],
    out: Annotated[Path, typer.Option("--out", help="A file for the joints: it extends ROBOT.yaml.")],
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Find every joint's zero, direction and limits while you move the limp arm by hand.

    Nothing is powered or written into a motor: the result is a YAML file that extends ROBOT.yaml. What the
    motors hold of an earlier calibration goes into it too, so that a start notices when that changes.
    """
    require_new(out, force=force)
    config = load_robot(robot)
    with interruptible(), open_motors(config, by_hand=True) as motors:
        unhold()
        motors.drives.connect()
        _require_limp(motors.drives)
        hand: Hand = PersonsHand() if motors.twins is None else SimulatedHand(config, motors.twins)
        keys, notes = calibrated(motors.drives, _swept(motors.drives, hand), motors.drives.memory())
    base = os.path.relpath(robot, out.parent)
    text = yaml.safe_dump({"extends": base, "joints": list(keys)}, sort_keys=False)
    write_new(out, text, force=force)
    try:
        load_robot(out)
    except ConfigError as error:
        raise ConfigError(f"{out} is written, but {error}") from None
    if config.embodiment is not None or config.kinematics is not None:
        notes.append("angles in embodiment and kinematics hold if every joint's 0 is where it was before")
    for note in notes:
        print(f"note: {note}")
    print(f"{out}: {plural(len(keys), 'joint')}; 'wall-edge motors watch {out}' shows them")


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
    return _watch(drives, done, prompt, lambda _: None)


def _watch(drives: Drive, done: Callable[[str], bool], prompt: str, take: Callable[[Floats], Any]) -> Floats:
    """Shows the joints until ``done(prompt)``; each look goes to ``take``, and the last is given."""
    with Live(console=SafeConsole(stderr=True), auto_refresh=False, transient=True) as live:
        over, before = False, np.full(drives.dof, np.nan)
        while True:
            over = over or done(prompt)
            position = _look(drives)
            require_unwrapped(drives.joints, before, position)
            take(position)
            before = position
            live.update(_table(drives, position, prompt), refresh=True)
            if over:
                return position
            time.sleep(_PERIOD_S)


def _look(drives: Drive) -> Floats:
    """[dof] where the joints are, each told since now: what is lost is asked for again. Raises BusTimeout."""
    begin_ns = time.monotonic_ns()
    for last in [False] * (_TRIES - 1) + [True]:
        try:
            feedback = drives.cycle(None, time.monotonic_ns() + _LOOK_NS)
        except BusTimeout:
            if last:
                raise
            continue
        late = [j.name for j, at in zip(drives.joints, feedback.received_ns, strict=True) if at < begin_ns]
        if not late:
            break
        if last:
            raise BusTimeout(f"no answer from {', '.join(late)}", fix="check cable and supply")
    return feedback.position


def _table(drives: Drive, position: Floats, prompt: str) -> Table:
    table = Table(caption=f"{prompt}, then press Enter.")
    for column in ("joint", "rad", "ticks"):
        table.add_column(column, justify="left" if column == "joint" else "right")
    for joint, angle, ticks in zip(drives.joints, position, drives.ticks(position), strict=True):
        table.add_row(joint.name, f"{angle:+.3f}", "-" if ticks is None else str(ticks))
    return table
