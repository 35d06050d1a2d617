"""Embodiments for tests: two arms in poses as WALL-OSS has them, in any form, reference and axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from wall_edge.bundle import ROTATION_SIZES, Degree, Embodiment, Layout, Pose, Reference, RotationForm

Axes = Literal["base", "tip"]


def pose_degrees(
    pose: str, form: RotationForm, first_slot: int = 0, reference: Reference = "absolute"
) -> tuple[Degree, ...]:
    """Position and rotation of a pose, in slots one after the other."""
    position = [
        Degree(f"{pose}_pos_{i}", first_slot + i, "position", pose, i, "m", reference) for i in range(3)
    ]
    unit: Literal["own", "rad"] = "own" if form in ("quaternion", "6d", "6d_rows") else "rad"
    rotation = [
        Degree(f"{pose}_rot_{i}", first_slot + 3 + i, "rotation", pose, i, unit, reference)
        for i in range(ROTATION_SIZES[form])
    ]
    return (*position, *rotation)


def layout(degrees: Sequence[Degree], **rotations: RotationForm) -> Layout:
    """Statistics with room for every rotation, and for ±2 of all else."""
    scale = tuple(_half_range(degree, rotations) for degree in degrees)
    return Layout(tuple(degrees), (0.0,) * len(degrees), scale, rotations=rotations)


def _half_range(degree: Degree, rotations: dict[str, RotationForm]) -> float:
    if degree.part != "rotation":
        return 2.0
    form = rotations.get(degree.of, "rpy")
    angles = {"rpy": (math.pi, math.pi / 2, math.pi), "rotvec": (math.pi,) * 3}
    return {**angles, "euler_zyx": angles["rpy"]}.get(form, (1.0,) * 6)[degree.index]


def one_arm(
    state_form: RotationForm, action_form: RotationForm, reference: Reference, axes: Axes = "base"
) -> Embodiment:
    """A pose, a joint and a sink; the state lists them in another order than the actions."""
    arm = Pose("base", "tip", "base", axes)
    state = (
        Degree("grip", 30, "joint", "grip", unit="own"),
        Degree("lift", 31, "sink", "lift", unit="own"),
        *pose_degrees("arm", state_form, 3)[::-1],
    )
    actions = pose_degrees("arm", action_form, 0, reference)
    last = (
        Degree("grip", 20, "joint", "grip", unit="own", reference=reference),
        Degree("lift", 21, "sink", "lift", unit="own", reference=reference),
        Degree("spare", 22, "held", unit="own", reference=reference),
    )
    return Embodiment(
        "one_arm", layout(state, arm=state_form), layout((*actions, *last), arm=action_form), {"arm": arm}
    )
