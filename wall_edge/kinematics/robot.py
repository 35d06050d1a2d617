"""A robot as kinematics knows it: a tree of links and joints."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

from wall_edge.errors import KinematicsError

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Link:
    """``mass`` in kg, ``center`` of it in the link's frame, m."""

    name: str
    mass: float = 0.0
    center: Vector = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Limits:
    """Of a joint: rad or m, rad/s or m/s, N m or N; infinite where none is set."""

    lower: float = -math.inf
    upper: float = math.inf
    velocity: float = math.inf
    effort: float = math.inf


@dataclass(frozen=True)
class Mimic:
    """A joint's position is ``multiplier`` times that of ``joint``, plus ``offset``."""

    joint: str
    multiplier: float
    offset: float


@dataclass(frozen=True)
class Joint:
    """Between two links: the child's frame at position 0 is at ``xyz``, ``rpy`` in that of the parent.

    ``kind`` is revolute, continuous, prismatic or fixed. ``axis`` is of length 1 (0 0 1 for a fixed joint,
    whose written one may be 0 0 0).
    """

    name: str
    kind: str
    parent: str
    child: str
    xyz: Vector = (0.0, 0.0, 0.0)
    rpy: Vector = (0.0, 0.0, 0.0)
    axis: Vector = (0.0, 0.0, 1.0)
    limits: Limits = field(default_factory=Limits)
    mimic: Mimic | None = None


@dataclass(frozen=True)
class Robot:
    """A tree of links: each but ``root`` is the child of one joint.

    Raises:
        KinematicsError: for joints of links that are not there, and for what is no tree.
    """

    name: str
    links: dict[str, Link]
    joints: dict[str, Joint]

    def __post_init__(self) -> None:
        for joint in self.joints.values():
            for end in (joint.parent, joint.child):
                if end not in self.links:
                    raise KinematicsError(
                        f"joint {joint.name} names the link {end}", expected="a link of the robot"
                    )
            if joint.mimic is not None and joint.mimic.joint not in self.joints:
                what = f"joint {joint.name} mimics {joint.mimic.joint}"
                raise KinematicsError(what, expected="a joint of the robot")
            if self.parents[joint.child] is not joint:
                what = f"two joints, {joint.name} and another, lead to the link {joint.child}"
                raise KinematicsError(what, expected="a tree")
        _require_one_root(self)

    @cached_property
    def parents(self) -> dict[str, Joint]:
        """The joint above each link but the root."""
        return {joint.child: joint for joint in self.joints.values()}

    @cached_property
    def root(self) -> str:
        """The link that is no joint's child."""
        return next(name for name in self.links if name not in self.parents)


def _require_one_root(robot: Robot) -> None:
    if not robot.links:
        raise KinematicsError("no link", expected="at least one")
    roots = [name for name in robot.links if name not in robot.parents]
    if len(roots) > 1:
        raise KinematicsError(f"no joint leads to {roots[0]} and none to {roots[1]}", expected="one root")
    for link in robot.links:
        above = link
        for _ in robot.links:
            if above in robot.parents:
                above = robot.parents[above].parent
        if above in robot.parents:
            raise KinematicsError(f"the joints above {link} go in a circle", expected="a tree")
