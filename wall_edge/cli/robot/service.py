"""``wall-edge service``: the systemd unit of a robot's daemon."""

from __future__ import annotations

import grp
import os
import pwd
import sys
from pathlib import Path
from typing import Annotated

import typer

from wall_edge.cli.robot.run import words_of
from wall_edge.config import load_robot
from wall_edge.errors import ConfigError
from wall_edge.policies.instruction import require_words
from wall_edge.runtime.daemon.service.unit import Account, unit_text
from wall_edge.sim.worlds import open_world

_GROUPS = ("dialout", "render", "video")
"""Debian's and Ubuntu's, for serial ports, a Jetson's GPU and cameras, as in 'wall-edge doctor'. A
missing one would keep the unit from starting."""


def service(
    robot: Annotated[Path, typer.Argument(help="ROBOT.yaml, where the robot has it.")],
    instruction: Annotated[
        str | None, typer.Option(help="What to do; default: the instruction in ROBOT.yaml.")
    ] = None,
    user: Annotated[str | None, typer.Option(help="Whose it runs as; default: you.")] = None,
    events: Annotated[Path | None, typer.Option(help="Append the event log (JSON lines) here.")] = None,
) -> None:
    """Print a systemd unit that runs the daemon: wall-edge service ROBOT.yaml > wall-edge.service.

    For this machine, this user and the Python that prints it. systemd then sees whether the arm holds and
    whether supervisor and servo process live, and gives the arm the time to come to rest before it kills
    anything.
    """
    config = load_robot(robot)
    words_of(config, open_world(config), instruction)
    if instruction is not None:
        require_words(instruction, "--instruction")
    groups = [group.gr_name for group in grp.getgrall() if group.gr_name in _GROUPS]
    account = Account(_user(user), sorted(groups))
    text = unit_text(config, robot, account, sys.executable, instruction=instruction, events=events)
    print(text, end="")


def _user(name: str | None) -> str:
    try:
        return (pwd.getpwuid(os.getuid()) if name is None else pwd.getpwnam(name)).pw_name
    except KeyError:
        raise ConfigError(
            f"no user {name or os.getuid()}", expected="one of this machine", fix="name another with --user"
        ) from None
