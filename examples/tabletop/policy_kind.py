"""What the tabletop policy's files say: its joints, its cameras and its words."""

from __future__ import annotations

import itertools

from examples.training.policy_files import PolicyKind
from wall_edge.bundle import ImageGeometry
from wall_edge.sim.blocks import COLOURS, STEP_HZ
from wall_edge.sim.tabletop.arm import JOINTS, LOWER, UPPER
from wall_edge.sim.tabletop.expert import HORIZON
from wall_edge.sim.tabletop.render import CAMERAS, SIZE

GEOMETRY = ImageGeometry(width=SIZE, height=SIZE, resolution=SIZE)

KIND = PolicyKind(
    robot="tabletop",
    cameras=dict.fromkeys(CAMERAS, GEOMETRY),
    horizon=HORIZON,
    action_rate_hz=float(STEP_HZ),
    dof=dict.fromkeys(JOINTS, 1),
    choices=COLOURS,
    full_attention=(1, 3),
)
RANGE = (LOWER, UPPER)


def tasks() -> list[tuple[str, str]]:
    """Every instruction, each with its first subgoal."""
    return [
        (f"touch the {first} block, then the {second} block.", f"touch the {first} block.")
        for first, second in itertools.permutations(COLOURS, 2)
    ]
