"""The robot that a policy was trained for: what each of the model's slots means, and its statistics.

The values of a policy's state and actions, each in its own unit, are *policy values*: what data sets,
sessions and goldens hold. ``wall_edge.body`` makes joint positions of them and needs ROBOT.yaml and a URDF
for it; nothing that has the manifest alone does.
"""

from wall_edge.bundle.embodiment.layout import (
    ROTATION_SIZES,
    Degree,
    Layout,
    Part,
    Reference,
    RotationForm,
    Unit,
    joint_layout,
)
from wall_edge.bundle.embodiment.robot import Embodiment, Pose, unreferred

__all__ = [
    "ROTATION_SIZES",
    "Degree",
    "Embodiment",
    "Layout",
    "Part",
    "Pose",
    "Reference",
    "RotationForm",
    "Unit",
    "joint_layout",
    "unreferred",
]
