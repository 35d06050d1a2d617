"""Whether calibration data is this robot's: its joints, its cameras, its units.

Another robot's data, or data in other units, would make a model that looks right and moves wrongly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from wall_edge.bundle import Embodiment
from wall_edge.errors import ConfigError
from wall_edge.session_format import Sample

_FAR, _FEW = 3.0, 0.05
"""A normalised value beyond the first is far out of range; more than this part of them is no accident."""
_ABSURD, _TWO_TURNS = 10.0, 4 * np.pi
"""So many times half of its range, and at least two turns [rad], off its middle no joint can be."""


def require_names(where: Path, names: Sequence[str], expected: Sequence[str]) -> None:
    """Raise :class:`ConfigError` unless both list the same degrees of freedom in the same order."""
    if tuple(names) != tuple(expected):
        raise ConfigError(
            f"{where}: calibration data of another embodiment: {', '.join(names)}",
            expected=f"{', '.join(expected)}, in this order",
            fix="take data of the robot that the checkpoint was trained for",
        )


def require_camera(where: Path, name: str, size: tuple[int, int] | None, expected: tuple[int, int]) -> None:
    """Raise :class:`ConfigError` unless the camera is there (not None) with this width and height."""
    if size != expected:
        what = f"frames of {name} are {size[0]}x{size[1]}" if size is not None else f"no camera {name}"
        raise ConfigError(
            f"{where}: calibration data of another embodiment: {what}",
            expected=f"{name} of {expected[0]}x{expected[1]} pixels",
            fix="take data of the robot's own cameras, under their names in ROBOT.yaml",
        )


def require_units(folder: Path, samples: Sequence[Sample], embodiment: Embodiment) -> None:
    """Units cannot be seen in a file of numbers, but degrees are far outside of a range in rad."""
    states = np.stack([sample.observation.state for sample in samples])
    actions = np.stack([sample.actions for sample in samples])
    if embodiment.action_reference == "state":
        actions = actions - states[:, None]
    normalised = np.concatenate(
        [
            replace(embodiment.state, clip=None).normalize(states),
            replace(embodiment.action, clip=None).normalize(actions).reshape(-1, states.shape[1]),
        ]
    )
    far: npt.NDArray[np.float64] = (np.abs(normalised) > _FAR).mean(axis=0)
    if far.mean() > _FEW:
        worst = embodiment.dof_names[int(far.argmax())]
        raise ConfigError(
            f"{folder}: the units look wrong: {far.mean():.0%} of states and actions are more than "
            f"{_FAR:g} times outside of the checkpoint's range ({worst} most often, {far.max():.0%})",
            expected=f"joint positions in {embodiment.data_unit}",
            fix="convert degrees or per cent of the range to rad",
        )


def refuse_absurd(folder: Path, samples: Sequence[Sample], embodiment: Embodiment) -> None:
    """A single value that no joint can have: shares and means over all of them would not show it.

    Where the robot's limits are known they count, else what the policy was trained on.
    """
    relative = embodiment.action_reference == "state"
    for what, normalization in (
        ("state", embodiment.state),
        ("action", embodiment.state if relative else embodiment.action),
    ):
        middle, half = np.array(normalization.offset), np.array(normalization.scale)
        if embodiment.lower is not None and embodiment.upper is not None:
            lower, upper = np.array(embodiment.lower), np.array(embodiment.upper)
            middle, half = (lower + upper) / 2, (upper - lower) / 2
        room = np.maximum(_ABSURD * half, _TWO_TURNS)
        for number, sample in enumerate(samples):
            values = sample.observation.state[None] if what == "state" else sample.actions
            over = np.argwhere(np.abs(values - middle) > room)
            if len(over):
                step, joint = over[0]
                raise ConfigError(
                    f"{folder}: {what} of {embodiment.dof_names[joint]} is {values[step, joint]:g} rad in "
                    f"sample {number}",
                    expected=f"within {room[joint]:.3g} rad of {middle[joint]:.3g}",
                    fix="leave out the samples whose encoder was misread",
                )
