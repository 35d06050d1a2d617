"""The ``kinematics`` section of ROBOT.yaml: the URDF, what of it the motors move, and end-effector poses."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from wall_edge.bundle import Pose
from wall_edge.checks import LEAST_POSITIVE, MAX_DOF, between, counted, require_name, require_text
from wall_edge.config.limits import MAX_PATH
from wall_edge.config_loader import Invalid

_LARGEST = 1e3
_LEAST_WEIGHT = 1e-3
"""m/rad: the solver takes no less."""


@dataclass(frozen=True)
class UrdfJoint:
    """The URDF's joint that a joint of ROBOT.yaml is: position there = ``scale`` · here + ``offset``."""

    joint: str
    scale: float = 1.0
    """-1 for a joint that counts the other way; of a slider [m/rad]."""
    offset: float = 0.0
    """[rad], [m] of a slider."""

    def __post_init__(self) -> None:
        require_name("joint", self.joint)
        between("scale", self.scale, -_LARGEST, _LARGEST)
        between("offset", self.offset, -_LARGEST, _LARGEST)
        if abs(self.scale) < LEAST_POSITIVE:
            raise Invalid("scale", self.scale, expected="another number: the joint would never move")


@dataclass(frozen=True)
class KinematicsConfig:
    """What is known of the robot's geometry."""

    urdf: Path
    """Absolute after :func:`wall_edge.config.load_robot`."""
    poses: dict[str, Pose] = field(default_factory=dict)
    """End-effector poses by name: base link, tip link, and the link whose axes their numbers are in."""
    joints: dict[str, UrdfJoint] = field(default_factory=dict)
    """By joint of ROBOT.yaml, where its name, sense or zero differs from the URDF's."""
    gravity: bool = False
    """Whether setpoints carry the torque that holds the links' weight, for drives that take effort."""
    gravity_share: float = 1.0
    """Of that torque, 0 to 1."""
    cap_ms: float = 6.0
    """Longest inverse kinematics of one chunk and pose [ms]; what is not solved by then is only near."""
    orientation_m: float = 0.2
    """How many m of position an rad of orientation weighs; less for arms with five joints."""

    def __post_init__(self) -> None:
        require_text("urdf", str(self.urdf), MAX_PATH)
        counted("poses", self.poses, 0, MAX_DOF)
        for name in (*self.poses, *self.joints):
            require_name(f"poses.{name}", name)
        between("gravity_share", self.gravity_share, 0, 1)
        between("cap_ms", self.cap_ms, 0.1, 1000, "ms")
        between("orientation_m", self.orientation_m, 0, 10, "m/rad")
        if 0 < self.orientation_m < _LEAST_WEIGHT:
            expected = f"0 (no orientation is followed), or {_LEAST_WEIGHT:g} to 10 m/rad"
            raise Invalid("orientation_m", self.orientation_m, expected=expected)
