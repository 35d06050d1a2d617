"""The torque that holds the links' weight: feed-forward for motors that take effort."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from wall_edge_bridge.drives import Joint
from wall_edge_bridge.kinds import kind_named

from wall_edge.array_types import Floats
from wall_edge.body.model import RobotModel
from wall_edge.config import RobotConfig
from wall_edge.kinematics.chain import chain_between
from wall_edge.kinematics.frames import joints_between
from wall_edge.kinematics.gravity import Gravity


class _Part:
    """A chain from the root to where no further motor is, and which of its torques are asked for.

    ``joints``: of each joint of the chain its index in a vector of joint positions, scale, offset, and the
    most torque [Nm]; 0 for one that gets none.
    """

    def __init__(
        self, gravity: Gravity, joints: Sequence[tuple[int, float, float, float]], share: float
    ) -> None:
        self._gravity, self._joints, self._share = gravity, joints, share

    def fill(self, position: Sequence[float], efforts: Floats) -> None:
        q = [position[i] * scale + offset for i, scale, offset, _ in self._joints]
        for (i, scale, _, most), torque in zip(self._joints, self._gravity.torques(q), strict=True):
            if most > 0:
                efforts[i] = min(max(self._share * scale * torque, -most), most)


class HoldingTorque:
    """Of one robot whose URDF's root link stands upright, z up; no more than the URDF's effort allows.

    A joint below which two arms hang is held as in the first arm's chain, the other one at its joints' 0.
    """

    def __init__(self, parts: Sequence[_Part], dof: int) -> None:
        self._parts = parts
        self._efforts: Floats = np.zeros(dof)

    @classmethod
    def of(cls, config: RobotConfig) -> HoldingTorque | None:
        """Of a robot with ``kinematics.gravity`` and drives that take effort; else None.

        Raises ConfigError, KinematicsError for a URDF that is not this robot's.
        """
        kinematics = config.kinematics
        if kinematics is None or not kinematics.gravity:
            return None
        most = [_most_effort(joint) if _takes_effort(config, joint) else 0.0 for joint in config.joints]
        if not any(most):
            return None
        model = RobotModel.of(config)
        ours = {entry.joint: name for name, entry in model.joints.items()}
        moving = [joint for joint in model.urdf.joints.values() if joint.kind != "fixed"]
        locked = {joint.name: 0.0 for joint in moving if joint.name not in ours}
        parts = []
        for end in _ends(model):
            chain = chain_between(model.urdf, model.urdf.root, end, locked)
            joints = []
            for name in chain.joints:
                entry, i = model.joints[ours[name]], model.columns[ours[name]]
                allowed = model.urdf.joints[name].limits.effort or math.inf  # exporters write 0 for unknown
                joints.append((i, entry.scale, entry.offset, min(most[i], abs(entry.scale) * allowed)))
                most[i] = 0.0
            parts.append(_Part(Gravity(model.urdf, chain), joints, kinematics.gravity_share))
        return cls(parts, config.dof)

    def at(self, position: Sequence[float]) -> Floats:
        """[dof] Nm at joint positions [dof, rad]; N of a slider's motor that counts m.

        Not to be written to, and valid until the next call.
        """
        for part in self._parts:
            part.fill(position, self._efforts)
        return self._efforts


def effortless(config: RobotConfig) -> str:
    """What to say of drives to which ``kinematics.gravity`` means nothing; empty where there is none."""
    if config.kinematics is None or not config.kinematics.gravity:
        return ""
    drives = dict.fromkeys(joint.drive for joint in config.joints if not _takes_effort(config, joint))
    names = ", ".join(f"{name} ({config.drives[name].kind})" for name in drives)
    return f"kinematics.gravity means nothing to {names}: such motors take no effort" if names else ""


def _takes_effort(config: RobotConfig, joint: Joint) -> bool:
    return kind_named(config.drives[joint.drive].kind).capabilities.effort_feedforward


def _most_effort(joint: Joint) -> float:
    most: float | None = getattr(joint, "max_effort", None)  # a kind's own key, or what its motors can do
    return math.inf if most is None else most


def _ends(model: RobotModel) -> list[str]:
    """The links behind the last motor of each branch, in the order of ROBOT.yaml's joints."""
    urdf = model.urdf
    children = [urdf.joints[entry.joint].child for entry in model.joints.values()]
    above = {joint.child for child in children for joint in joints_between(urdf, urdf.root, child)[:-1]}
    return [child for child in children if child not in above]
