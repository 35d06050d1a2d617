"""The scripted demonstrator of the two-handed task: a pure function of what can be seen.

The active hand flies at hover height towards its block and sinks into a funnel above it, closed; the other
one rises, goes home and opens. Speeds and heights are smooth functions of the poses, so the same picture
always asks for nearly the same motion. A hand that comes near the other one slows down.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wall_edge.array_types import Floats
from wall_edge.kinematics.rotations import exp, log, to_matrix
from wall_edge.sim.blocks import TOUCH_HEIGHT, TOUCH_RADIUS
from wall_edge.sim.two_handed.hands import BASES, CLOSED, OPEN, OUTWARD, Hands

SERVO_GAIN = 0.6  # the servos cover this part of the way to their command in one step
SPEED = 0.008  # tip, m per step
APPROACH = 0.22  # part of the remaining distance per step
HORIZON = 32

HOVER = TOUCH_HEIGHT + TOUCH_RADIUS + 0.018  # clear of every block's touch sphere, with room for errors
HOME: Floats = np.stack((np.full(2, 0.13), BASES[:, 1] + 0.05 * OUTWARD, np.full(2, 0.11)), axis=-1)
"""Where an idle hand waits [2, 3], table frame (m)."""
HOME.setflags(write=False)

_FUNNEL = (0.012, 0.045)  # lateral distances: fully down, fully at hover height
_RISE = 0.03  # this far below the goal height, the tip only rises
_NEAR = (0.08, 0.16)  # distances between the tips: no further towards each other, as fast as one likes
_TURN = 0.06  # rad per step
_YAW = 0.8  # part of the tip's azimuth that the tool turns along with the arm
_LEAST_X = 0.06  # closer to the base than this, the azimuth no longer turns faster


def goal_height(lateral: Floats) -> Floats:
    """Height of the active tip [...] (m) at this lateral distance from its block [...] (m)."""
    funnel = smooth((lateral - _FUNNEL[0]) / (_FUNNEL[1] - _FUNNEL[0]))
    return TOUCH_HEIGHT + (HOVER - TOUCH_HEIGHT) * funnel


def yaw(position: Floats) -> Floats:
    """The tool's yaw [..., 2] (rad) that goes with tips at [..., 2, 3] (table frame)."""
    x, y, _ = np.moveaxis(position - BASES, -1, 0)
    return np.asarray(np.clip(_YAW * np.arctan2(y, np.maximum(x, _LEAST_X)), -1.0, 1.0))


def upright(position: Floats) -> Floats:
    """Rotations [..., 2, 3, 3] of tools that point straight down at [..., 2, 3]."""
    turn = yaw(position)
    return to_matrix("rpy", np.stack((0 * turn, 0 * turn, turn), axis=-1))


def command(hands: Hands, target: Floats, active: npt.NDArray[np.int64]) -> Hands:
    """What the demonstrator commands for hands [B, 2, …].

    ``target`` [B, 2] is the block (m), ``active`` [B] the hand that touches it. The command lies beyond the
    next wanted pose by as much as the servos will lag behind it.
    """
    step, turn, grip = _step(hands, target, np.arange(2) == np.asarray(active)[:, None])
    return Hands(
        hands.position + step / SERVO_GAIN,
        exp(turn / SERVO_GAIN) @ hands.rotation,
        hands.gripper + grip / SERVO_GAIN,
    )


def follow(hands: Hands, commanded: Hands) -> Hands:
    """Hands one step after the servos got ``commanded``."""
    turn = log(commanded.rotation @ np.swapaxes(hands.rotation, -1, -2))
    return Hands(
        hands.position + SERVO_GAIN * (commanded.position - hands.position),
        exp(SERVO_GAIN * turn) @ hands.rotation,
        hands.gripper + SERVO_GAIN * (commanded.gripper - hands.gripper),
    )


def rollout(
    hands: Hands, target: Floats, active: npt.NDArray[np.int64], horizon: int = HORIZON
) -> list[Hands]:
    """The next ``horizon`` commands of the demonstrator through the servos' lag."""
    commands = []
    for _ in range(horizon):
        commands.append(command(hands, target, active))
        hands = follow(hands, commands[-1])
    return commands


def smooth(x: Floats) -> Floats:
    """0 below 0, 1 above 1, and a slope without corners in between."""
    x = np.clip(x, 0.0, 1.0)
    return x * x * (3 - 2 * x)


def _step(hands: Hands, target: Floats, active: npt.NDArray[np.bool_]) -> tuple[Floats, Floats, Floats]:
    """The next motion: of tips [B, 2, 3] (m), of tools as rotation vectors [B, 2, 3], of grippers [B, 2]."""
    here = hands.position
    goal_xy = np.where(active[..., None], target[:, None], HOME[:, :2])
    across = goal_xy - here[..., :2]
    lateral = np.linalg.norm(across, axis=-1)
    up = np.where(active, goal_height(lateral), HOME[:, 2]) - here[..., 2]
    # An idle hand may cross blocks lower than its home, but not lower than hover height.
    lift = np.where(active, up, HOVER - here[..., 2])
    pace = smooth(1.0 - lift / _RISE) * np.minimum(APPROACH, SPEED / np.maximum(lateral, 1e-9))
    step = np.concatenate(
        (pace[..., None] * across, np.clip(APPROACH * up, -SPEED, SPEED)[..., None]), axis=-1
    )
    length = np.linalg.norm(step, axis=-1, keepdims=True)
    step = _kept_apart(here, step * np.minimum(1.0, SPEED / np.maximum(length, 1e-9)))

    turn = APPROACH * log(upright(here) @ np.swapaxes(hands.rotation, -1, -2))
    angle = np.linalg.norm(turn, axis=-1, keepdims=True)
    turn = turn * np.minimum(1.0, _TURN / np.maximum(angle, 1e-9))
    return step, turn, APPROACH * (np.where(active, CLOSED, OPEN) - hands.gripper)


def _kept_apart(here: Floats, step: Floats) -> Floats:
    """Steps whose part towards the other tip shrinks as the two come near."""
    between = here[:, ::-1] - here
    distance = np.linalg.norm(between, axis=-1, keepdims=True)
    direction = between / np.maximum(distance, 1e-9)
    towards = np.maximum(0.0, (step * direction).sum(axis=-1, keepdims=True))
    freedom = smooth((distance - _NEAR[0]) / (_NEAR[1] - _NEAR[0]))
    return np.asarray(step - (1.0 - freedom) * towards * direction)
