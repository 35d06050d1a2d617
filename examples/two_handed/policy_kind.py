"""What the two-handed policy's files say: upstream's 20 slots, its cameras and its words.

The slots are those of upstream's ``workspace/lerobot_example/config_qact.yml``: two hands, then head, height
and base, which this robot has not.
"""

from __future__ import annotations

import itertools

import numpy as np

from examples.training.policy_files import PolicyKind
from wall_edge.array_types import Floats
from wall_edge.bundle import ImageGeometry
from wall_edge.sim.blocks import COLOURS, STEP_HZ
from wall_edge.sim.two_handed.expert import HORIZON
from wall_edge.sim.two_handed.hands import HANDS
from wall_edge.sim.two_handed.render import CAMERAS, SIZES
from wall_edge.sim.two_handed.scene import Task, Touch

DOF = {
    "follow_left_ee_cartesian_pos": 3,
    "follow_left_ee_rotation": 3,
    "follow_left_gripper": 1,
    "follow_right_ee_cartesian_pos": 3,
    "follow_right_ee_rotation": 3,
    "follow_right_gripper": 1,
    "head_actions": 2,
    "height": 1,
    "car_pose": 3,
}
LIVE = 14

KIND = PolicyKind(
    robot="two_handed",
    cameras={
        camera: ImageGeometry(width=SIZES[camera][0], height=SIZES[camera][1], resolution=SIZES[camera][0])
        for camera in CAMERAS
    },
    horizon=HORIZON,
    action_rate_hz=float(STEP_HZ),
    dof=DOF,
    choices=(*COLOURS, *HANDS),
    full_attention=(0, 1, 2, 3),  # the front view is larger than a 112-pixel window
)


def tasks() -> list[tuple[str, str]]:
    """Every instruction, each with its first subgoal."""
    touches = [Touch(colour, hand) for colour in range(len(COLOURS)) for hand in range(len(HANDS))]
    pairs = [Task(a, b) for a, b in itertools.product(touches, touches) if a.colour != b.colour]
    return [(task.instruction, task.subgoal(0)) for task in pairs]


def padded(live: Floats, rest: float) -> Floats:
    """The 20 slots [..., 20] of the 14 live ones [..., 14], the dead ones being ``rest``."""
    dead = np.full((*live.shape[:-1], KIND.slots - LIVE), rest)
    return np.concatenate((live, dead), axis=-1)
