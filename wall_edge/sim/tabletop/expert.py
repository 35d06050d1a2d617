"""The scripted demonstrator: a pure function of what can be seen, with no phase of its own.

The tip flies at hover height towards the target and sinks into a funnel above it. Heights and speeds are
smooth functions of the lateral distance, so the same picture always asks for nearly the same motion,
and a tip that is low and far away rises before it moves sideways.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wall_edge.sim.blocks import TOUCH_HEIGHT, TOUCH_RADIUS
from wall_edge.sim.tabletop import arm
from wall_edge.sim.tabletop.arm import Array

SERVO_GAIN = 0.6  # the servos cover this part of the way to their command in one step
SPEED = 0.006  # tip, m per step; 9 mm crosses this small workspace in under a second
APPROACH = 0.22  # part of the remaining distance per step
HORIZON = 24

# Clear of every other block's touch sphere, with room for a learned policy's errors.
_HOVER = TOUCH_HEIGHT + TOUCH_RADIUS + 0.018
_FUNNEL = (0.012, 0.045)  # lateral distances: fully down, fully at hover height
_RISE = 0.03  # this far below the goal height, the tip only rises
_MIN_RADIUS = 0.08  # closer to the pan axis than this, turning no longer gets faster
_JOINT_STEP = 0.12  # rad per step, far above a normal motion


def command(q: npt.ArrayLike, target_xy: npt.ArrayLike) -> Array:
    """Joint command [..., 6] for joints ``q`` [..., 6] and a block at ``target_xy`` [..., 2] (m).

    The command lies beyond the next wanted position by as much as the servos will lag behind it.
    """
    joints = np.asarray(q, dtype=np.float64)
    step = _next_joints(joints, np.asarray(target_xy, dtype=np.float64)) - joints
    fastest = np.abs(step).max(axis=-1, keepdims=True)
    step *= np.minimum(1.0, _JOINT_STEP / np.maximum(fastest, 1e-9))
    return np.clip(joints + step / SERVO_GAIN, arm.LOWER, arm.UPPER)


def follow(q: npt.ArrayLike, commanded: npt.ArrayLike) -> Array:
    """Joints [..., 6] one step after the servos got ``commanded`` [..., 6] at joints ``q`` [..., 6]."""
    joints = np.asarray(q, dtype=np.float64)
    return joints + SERVO_GAIN * (np.asarray(commanded, dtype=np.float64) - joints)


def rollout(q: npt.ArrayLike, target_xy: npt.ArrayLike, horizon: int = HORIZON) -> Array:
    """The next ``horizon`` commands [..., horizon, 6] of the demonstrator through the servos' lag."""
    joints = np.asarray(q, dtype=np.float64)
    commands = np.empty((*joints.shape[:-1], horizon, joints.shape[-1]))
    for index in range(horizon):
        commands[..., index, :] = command(joints, target_xy)
        joints = follow(joints, commands[..., index, :])
    return commands


def goal_height(lateral: Array) -> Array:
    """Height of the tip [...] (m) the demonstrator steers to at this lateral distance [...] (m)."""
    funnel = _smooth((lateral - _FUNNEL[0]) / (_FUNNEL[1] - _FUNNEL[0]))
    return TOUCH_HEIGHT + (_HOVER - TOUCH_HEIGHT) * funnel


def _next_joints(q: Array, target_xy: Array) -> Array:
    """Where the joints should be one step later."""
    # Cylinder coordinates: between two blocks the tip goes round the base instead of through it.
    radius, height, pitch = arm.planar(q)
    lever = np.maximum(radius, _MIN_RADIUS)
    out = np.hypot(target_xy[..., 0], target_xy[..., 1]) - radius
    side = lever * (np.arctan2(target_xy[..., 1], target_xy[..., 0]) - q[..., 0])
    lateral = np.hypot(out, side)

    up = goal_height(lateral) - height
    freedom = _smooth(1.0 - up / _RISE)
    pace = freedom * np.minimum(APPROACH, SPEED / np.maximum(lateral, 1e-9))
    out, side, up = pace * out, pace * side, np.clip(APPROACH * up, -SPEED, SPEED)
    limit = np.minimum(1.0, SPEED / np.maximum(np.sqrt(out**2 + side**2 + up**2), 1e-9))

    upright = pitch + np.clip(APPROACH * (np.pi - pitch), -0.06, 0.06)
    goal = arm.from_planar(
        q[..., 0] + limit * side / lever, radius + limit * out, height + limit * up, upright
    )
    goal[..., 4] = q[..., 4] * (1 - APPROACH)
    goal[..., 5] = q[..., 5] + APPROACH * (arm.GRIPPER_CLOSED - q[..., 5])
    return goal


def _smooth(x: Array) -> Array:
    """0 below 0, 1 above 1, and a slope without corners in between."""
    x = np.clip(x, 0.0, 1.0)
    return x * x * (3 - 2 * x)
