"""What the checks look at: a machine's files and facts, a robot's configuration, a user, an interpreter."""

from __future__ import annotations

import os
import pwd
import shutil
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from wall_edge.board import Facts, Tree, read_facts
from wall_edge.board.packages import packages
from wall_edge.config import RobotConfig


@dataclass(frozen=True)
class Python:
    """The interpreter that runs the robot's processes."""

    version: tuple[int, int]
    prefix: str
    """Of its environment, which has a pyvenv.cfg if it is a virtual one."""
    folders: tuple[str, ...]
    """Where it looks for packages."""


@dataclass(frozen=True)
class Machine:
    """None: not known, as of a recorded tree; checks that need it are left out."""

    tree: Tree
    facts: Facts
    robot: RobotConfig | None = None
    user: str | None = None
    session_groups: frozenset[int] | None = None
    """Of this process: what the user had when logging in."""
    python: Python | None = None
    free_bytes: int | None = None
    """On the disk of the bundle."""

    @cached_property
    def packages(self) -> dict[str, str]:
        """Installed Debian packages and their versions."""
        return packages(self.tree)

    @property
    def real_robot(self) -> RobotConfig | None:
        """The robot, unless it is simulated."""
        return None if self.robot is None or self.robot.simulated else self.robot

    @property
    def tensorrt(self) -> bool:
        """Whether the robot's policy runs on TensorRT."""
        return self.robot is not None and self.robot.policy.engine.startswith("tensorrt")


def this_machine(robot: RobotConfig | None, user: str | None) -> Machine:
    """The machine that this process runs on. ``user``: whose rights are checked; none: who calls."""
    tree = Tree()
    caller = os.environ.get("SUDO_USER") or _name(os.getuid())
    groups = frozenset((*os.getgroups(), os.getgid())) if user in (None, _name(os.getuid())) else None
    return Machine(
        tree=tree,
        facts=read_facts(tree),
        robot=robot,
        user=user or caller,
        session_groups=groups if not os.environ.get("SUDO_USER") else None,
        python=Python(sys.version_info[:2], sys.prefix, tuple(path for path in sys.path if path)),
        free_bytes=_free(robot.bundle if robot is not None else Path.cwd()),
    )


def _name(uid: int) -> str | None:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def _free(folder: Path) -> int | None:
    """Of the nearest folder above that exists."""
    for place in (folder, *folder.parents):
        try:
            return shutil.disk_usage(place).free
        except OSError:
            continue
    return None
