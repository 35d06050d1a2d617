"""Chains of joints from a base link to a tip link, and where they bring it: many postures at once.

Each joint's frame is turned so that its axis is z. What is fixed between two joints is one 4×3 product, and
arrays have the postures last, ``[…, 3, B]``: 64 postures of six joints take about as long as three.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from wall_edge.array_types import Floats
from wall_edge.errors import KinematicsError
from wall_edge.kinematics.frames import joints_between, origin_of, standing, turn_of
from wall_edge.kinematics.robot import Robot


@dataclass(frozen=True, eq=False)
class Motion:
    """Of B postures: the joints' axes and origins ``[n, 3, B]``, the tip ``[3, B]``, its frame ``[3, 3, B]``.

    Of ``columns`` the first index is the column: ``columns[j, i]`` is element (i, j) of the rotation matrix.
    """

    axes: Floats
    origins: Floats
    tip: Floats
    columns: Floats


@dataclass(frozen=True, eq=False)
class Chain:
    """n joints between two links. ``lower``, ``upper`` (rad, m) and ``velocity`` (rad/s, m/s) are ``[n]``.

    ``steps [n, 4, 3]`` lead from one joint's frame to the next one's: three columns of a rotation, then the
    translation; ``last [4, 3]`` leads to the tip. Postures ``q`` are in the order of ``joints``.
    """

    base: str
    tip: str
    joints: tuple[str, ...]
    sliding: tuple[bool, ...]
    lower: Floats
    upper: Floats
    velocity: Floats
    steps: Floats
    last: Floats

    def limited(self, lower: Floats, upper: Floats, velocity: Floats) -> Chain:
        """The same chain within these limits too ``[n]``: a robot may allow less than its URDF.

        Raises:
            KinematicsError: where a joint is left without a range or a speed.
        """
        lower, upper = np.maximum(self.lower, lower), np.minimum(self.upper, upper)
        for name, low, high in zip(self.joints, lower, upper, strict=True):
            if not low < high:
                raise KinematicsError(
                    f"joint {name} may move from {low:.6g} to {high:.6g}", expected="a range"
                )
        velocity = np.minimum(self.velocity, velocity)
        for name, speed in zip(self.joints, velocity, strict=True):
            if not speed > 0:
                raise KinematicsError(
                    f"joint {name} may move at {speed:.6g} rad/s or m/s", expected="more than 0"
                )
        return replace(self, lower=lower, upper=upper, velocity=velocity)

    def forward(self, q: Floats) -> tuple[Floats, Floats]:
        """Of ``q [B, n]``: tip positions ``[B, 3]`` (m, in the base's frame), rotations ``[B, 3, 3]``."""
        motion = self.motion(np.asarray(q, np.float64).T)
        return np.array(motion.tip.T), np.array(motion.columns.transpose(2, 1, 0))

    def origins(self, q: Floats) -> Floats:
        """Positions ``[B, n + 1, 3]`` of all joints, then of the tip, m."""
        motion = self.motion(np.asarray(q, np.float64).T)
        return np.array(np.concatenate([motion.origins, motion.tip[None]]).transpose(2, 0, 1))

    def jacobian(self, q: Floats) -> Floats:
        """``[B, 6, n]``: the tip's velocity (m/s), then its turning (rad/s), for 1 rad/s or m/s a joint."""
        return np.array(self.jacobian_of(self.motion(np.asarray(q, np.float64).T)).transpose(2, 0, 1))

    def motion(self, q: Floats) -> Motion:
        """All frames for ``q [n, B]``."""
        count, batch = q.shape
        axes, origins = np.empty((count, 3, batch)), np.empty((count, 3, batch))
        cosine = np.cos(q)[:, None, None]
        sine = np.sin(q)[:, None, None] * np.array([1.0, -1.0])[:, None, None]
        position: Floats = np.zeros((3, batch))
        columns = np.repeat(np.eye(3)[:, :, None], batch, 2)
        for i, step in enumerate(self.steps):
            frame = (step @ columns.reshape(3, -1)).reshape(4, 3, batch)
            position = position + frame[3]
            if self.sliding[i]:
                position += frame[2] * q[i]
            else:  # x' = cos x + sin y, y' = cos y − sin x
                turned = frame[:2] * cosine[i]
                turned += frame[1::-1] * sine[i]
                frame[:2] = turned
            columns = frame[:3]
            axes[i], origins[i] = frame[2], position
        frame = (self.last @ columns.reshape(3, -1)).reshape(4, 3, batch)
        return Motion(axes, origins, position + frame[3], frame[:3])

    def jacobian_of(self, motion: Motion) -> Floats:
        """``[6, n, B]``, as :meth:`jacobian`."""
        result = np.empty((6, *motion.axes.shape[::2]))
        arm = motion.tip - motion.origins
        x, y, z = motion.axes[:, 0], motion.axes[:, 1], motion.axes[:, 2]
        result[0] = y * arm[:, 2] - z * arm[:, 1]
        result[1] = z * arm[:, 0] - x * arm[:, 2]
        result[2] = x * arm[:, 1] - y * arm[:, 0]
        result[3:] = motion.axes.transpose(1, 0, 2)
        for i, sliding in enumerate(self.sliding):
            if sliding:
                result[:3, i], result[3:, i] = motion.axes[i], 0.0
        return result


def chain_between(robot: Robot, base: str, tip: str, locked: Mapping[str, float] | None = None) -> Chain:
    """The chain of a robot from link ``base`` down to link ``tip``.

    ``locked`` joints stand where it says (rad, m) and are none of the chain's.

    Raises:
        KinematicsError: for links that are not there or not one above the other, for a chain without a joint
            that moves, and for a joint that follows another one, unless it is locked.
    """
    locked = dict(locked or {})
    for name in locked:
        if name not in robot.joints:
            raise KinematicsError(f"no joint {name} to lock", expected=f"one of {', '.join(robot.joints)}")
    names, limits, sliding, steps = [], [], [], []
    pending = np.eye(4)
    for joint in joints_between(robot, base, tip):
        if joint.kind == "fixed" or joint.name in locked:
            pending = pending @ standing(joint, locked.get(joint.name, 0.0))
            continue
        if joint.mimic is not None:
            what = f"joint {joint.name} between {base} and {tip} follows {joint.mimic.joint}"
            raise KinematicsError(
                what, expected="joints that move by themselves", fix="lock it, or move the tip link"
            )
        turn = turn_of(joint)
        steps.append(_step(pending @ origin_of(joint) @ turn))
        names.append(joint.name)
        sliding.append(joint.kind == "prismatic")
        limits.append((joint.limits.lower, joint.limits.upper, joint.limits.velocity))
        pending = turn.T
    if not names:
        raise KinematicsError(f"no joint moves between {base} and {tip}", expected="at least one")
    lower, upper, velocity = np.array(limits).T
    return Chain(
        base, tip, tuple(names), tuple(sliding), lower, upper, velocity, np.array(steps), _step(pending)
    )


def _step(transform: Floats) -> Floats:
    return np.vstack([transform[:3, :3].T, transform[:3, 3]])
