"""``wall-edge release``: torque off on an arm that was left powered."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from wall_edge.config import load_robot
from wall_edge.errors import ConfigError, DriveError
from wall_edge.runtime.daemon.release import read_places, read_torque, release_arm

_PATIENCE_S = 2.0
_WORDS = {True: "on", False: "off", None: "no answer"}


def release(robot: Annotated[Path, typer.Argument(help="ROBOT.yaml")]) -> None:
    """Switch the torque off on an arm that was left powered: it goes limp where it stands, so hold it.

    Every bus is tried, whatever becomes of the others; one that 'wall-edge run' holds is refused. Exit code 1
    when a joint did not confirm.
    """
    config = load_robot(robot)
    if config.simulated:
        raise ConfigError(
            f"{config.name} is simulated", expected="a robot with real drives", fix="nothing is powered"
        )
    before = read_torque(config)
    trouble = release_arm(config, {}, _PATIENCE_S)
    after = read_torque(config)
    places = read_places(config)
    width = max(len(name) for name in after)
    for name, place in places.items():
        torque = f"torque {_WORDS[before[name]]} -> {_WORDS[after[name]]}"
        print(f"{name:{width}}  {torque}{_place(*place)}")
    if joints := [name for name, on in after.items() if on is not False]:
        why = trouble or "it did not confirm"
        raise DriveError(
            f"torque may still be on at {', '.join(joints)}: {why}",
            expected="every joint off",
            fix="cut the arm's power",
        )


def _place(angle: float, ticks: int | None) -> str:
    """Ticks too: what ``zero_ticks`` is to be, of a joint that was put to where its angle is 0."""
    if math.isnan(angle):
        return ""
    count = "" if ticks is None else f"  {ticks} ticks"
    return f"{count}  {angle:+.3f} rad"
