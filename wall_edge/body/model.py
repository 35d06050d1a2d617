"""A robot's URDF in terms of ROBOT.yaml's joints: which chain each pose has, and which motors move it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wall_edge.array_types import Floats
from wall_edge.body.frames import Frame, fixed_frame
from wall_edge.bundle import Pose
from wall_edge.config import KinematicsConfig, RobotConfig, UrdfJoint
from wall_edge.errors import ConfigError, KinematicsError
from wall_edge.kinematics.chain import Chain, chain_between
from wall_edge.kinematics.robot import Robot
from wall_edge.kinematics.urdf import read_urdf

_ROUNDED = 1e-3
"""rad or m: by so much the limits in ROBOT.yaml may pass those of a URDF, where π is often 3.14."""


@dataclass(frozen=True, eq=False)
class PoseChain:
    """The chain of one of ``kinematics.poses``, within the limits of ROBOT.yaml's joints.

    ``columns [n]``: the chain's joints in a vector of ROBOT.yaml's joints; the chain's positions ``q`` are
    ``scale · joint + offset``. ``frame``: that of the base link in the frame that the pose's numbers are in.
    """

    name: str
    chain: Chain
    columns: npt.NDArray[np.intp]
    scale: Floats
    offset: Floats
    frame: Frame

    def chain_positions(self, joints: Floats) -> Floats:
        """The chain's positions ``[..., n]`` of joint positions ``[..., dof]``."""
        positions: Floats = joints[..., self.columns] * self.scale + self.offset
        return positions

    def joint_positions(self, q: Floats) -> Floats:
        """The other way: those of ``columns`` ``[..., n]``."""
        positions: Floats = (q - self.offset) / self.scale
        return positions

    def forward(self, joints: Floats) -> tuple[Floats, Floats]:
        """The pose of joints ``[..., dof]``: positions ``[..., 3]`` [m], rotations ``[..., 3, 3]``."""
        q = self.chain_positions(np.asarray(joints, np.float64))
        positions, rotations = self.chain.forward(q.reshape(-1, q.shape[-1]))
        shape = q.shape[:-1]
        return self.frame.apply(positions.reshape(*shape, 3), rotations.reshape(*shape, 3, 3))


@dataclass(frozen=True, eq=False)
class RobotModel:
    """``urdf``, what of it each joint of ROBOT.yaml moves (``joints``), and the poses."""

    urdf: Robot
    joints: dict[str, UrdfJoint]
    columns: dict[str, int]
    """Where each joint of ROBOT.yaml is in a vector of joint positions."""
    chains: dict[str, PoseChain]

    @classmethod
    def of(cls, config: RobotConfig) -> RobotModel:
        """Raises :class:`ConfigError` or :class:`KinematicsError` in one line for what does not fit together:

        no URDF, links or joints that it does not have, joints of a chain that no motor moves, two joints for
        one of the URDF's, a frame that moves against its base, limits that the URDF does not allow.
        """
        kinematics = config.kinematics
        if kinematics is None:
            raise ConfigError(
                "ROBOT.yaml has no section kinematics", expected="kinematics.urdf, the file of its links"
            )
        urdf = read_urdf(kinematics.urdf)
        joints = _moved_joints(config, kinematics, urdf)
        columns = {joint.name: i for i, joint in enumerate(config.joints)}
        for joint in config.joints:
            if joint.name in joints:
                _require_limits(joint.name, (joint.lower, joint.upper), joints[joint.name], urdf)
        model = cls(urdf, joints, columns, {})
        for name, pose in kinematics.poses.items():
            try:
                model.chains[name] = model._chain(config, name, pose)
            except KinematicsError as error:
                raise KinematicsError(f"kinematics.poses.{name}: {error}") from None
        return model

    def urdf_positions(self, joints: Floats) -> dict[str, Floats]:
        """Positions ``[...]`` (rad, m of sliders) of the URDF's joints that ``joints [..., dof]`` move."""
        return {
            entry.joint: joints[..., self.columns[name]] * entry.scale + entry.offset
            for name, entry in self.joints.items()
        }

    def slider(self, joint: str) -> UrdfJoint | None:
        """What a joint of ROBOT.yaml is in the URDF if that is prismatic."""
        entry = self.joints.get(joint)
        return entry if entry is not None and self.urdf.joints[entry.joint].kind == "prismatic" else None

    def _chain(self, config: RobotConfig, name: str, pose: Pose) -> PoseChain:
        chain = chain_between(self.urdf, pose.base, pose.tip)
        ours = {entry.joint: joint for joint, entry in self.joints.items()}
        for joint in chain.joints:
            if joint not in ours:
                raise KinematicsError(
                    f"joint {joint} between {pose.base} and {pose.tip} is moved by no joint of ROBOT.yaml",
                    expected=f"one of {', '.join(self.columns)} as kinematics.joints.….joint",
                    fix="name the motor that moves it, or make it fixed in the URDF",
                )
        entries = [self.joints[ours[joint]] for joint in chain.joints]
        columns = np.array([self.columns[ours[joint]] for joint in chain.joints])
        scale = np.array([entry.scale for entry in entries])
        offset = np.array([entry.offset for entry in entries])
        ends = (
            np.array([(config.joints[c].lower, config.joints[c].upper) for c in columns]).T * scale + offset
        )
        velocity = np.array([config.joints[c].max_velocity for c in columns]) * np.abs(scale)
        limited = chain.limited(ends.min(axis=0), ends.max(axis=0), velocity)
        frame = fixed_frame(self.urdf, pose.base, pose.frame)
        return PoseChain(name, limited, columns, scale, offset, frame)


def _moved_joints(config: RobotConfig, kinematics: KinematicsConfig, urdf: Robot) -> dict[str, UrdfJoint]:
    """What each of ROBOT.yaml's joints is in the URDF; one that is not there by its own name is none."""
    names = [joint.name for joint in config.joints]
    moved: dict[str, UrdfJoint] = {}
    owners: dict[str, str] = {}
    for name in names:
        entry = kinematics.joints.get(name, UrdfJoint(name))
        if entry.joint not in urdf.joints and name not in kinematics.joints:
            continue
        _require_movable(name, entry.joint, urdf)
        if entry.joint in owners:
            raise ConfigError(
                f"joints {owners[entry.joint]} and {name} are both the URDF's {entry.joint}",
                expected="one joint for each",
                fix=f"set kinematics.joints.{name}.joint",
            )
        owners[entry.joint] = name
        moved[name] = entry
    return moved


def _require_movable(name: str, joint: str, urdf: Robot) -> None:
    movable = [each.name for each in urdf.joints.values() if each.kind != "fixed" and each.mimic is None]
    if joint not in movable:
        why = (
            "follows another joint" if joint in urdf.joints and urdf.joints[joint].mimic else "does not move"
        )
        what = why if joint in urdf.joints else "is not in the URDF"
        raise KinematicsError(
            f"joint {name} is to move the URDF's {joint}, which {what}",
            expected=f"one of {', '.join(movable)}",
            fix=f"set kinematics.joints.{name}.joint",
        )


def _require_limits(name: str, ends: tuple[float, float], entry: UrdfJoint, urdf: Robot) -> None:
    limits = urdf.joints[entry.joint].limits
    low, high = sorted(end * entry.scale + entry.offset for end in ends)
    if low >= limits.lower - _ROUNDED and high <= limits.upper + _ROUNDED:
        return
    least, most = sorted((limit - entry.offset) / entry.scale for limit in (limits.lower, limits.upper))
    raise KinematicsError(
        f"joint {name} may move from {ends[0]:g} to {ends[1]:g}, where the URDF's {entry.joint} allows "
        f"{least:.6g} to {most:.6g}",
        expected="limits within those of the URDF",
        fix=f"narrow joints' lower and upper, or correct kinematics.joints.{name}",
    )
