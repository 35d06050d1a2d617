"""Whether calibration data is this robot's: its degrees of freedom, its cameras, its units.

Another robot's data, or data in other units, would make a model that looks right and moves wrongly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from wall_edge.array_types import Floats
from wall_edge.bundle import Degree, Embodiment, Layout
from wall_edge.errors import ConfigError, KinematicsError
from wall_edge.policies.rotation_range import written_in_range
from wall_edge.policies.transforms import relative
from wall_edge.session_format import Sample

_FAR, _FEW, _MOST = 3.0, 0.05, 0.5
"""A normalised value beyond the first is far out of range; more than the second part of all of them, or more
than the third of one degree of freedom's, is no accident."""
_ABSURD = 10.0
"""So many times half of its range, and at least ``_LEAST``, off its middle no value can be."""
_LEAST = {"rad": 4 * math.pi, "deg": 720.0, "percent": 400.0, "m": 10.0, "own": 0.0}
"""Two turns, four ranges, and what no arm reaches; a unit of its own has the range alone."""


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
    """Units cannot be seen in a file of numbers, but degrees are far outside of a range in rad.

    What is held is left out: nobody follows it, and a session has the value that was written for it.
    """
    try:
        states = np.stack([written_in_range(embodiment.state, s.observation.state) for s in samples])
        offsets = [relative(embodiment, s.actions, s.observation.state) for s in samples]
        actions = np.concatenate([written_in_range(embodiment.action, each) for each in offsets])
    except KinematicsError as problem:
        raise ConfigError(f"{folder}: {problem}") from problem
    for what, layout, values in (
        ("states", embodiment.state, states),
        ("actions", embodiment.action, actions),
    ):
        live = [i for i, degree in enumerate(layout.degrees) if degree.part != "held"]
        if not live:
            continue
        normalised = replace(layout, clip=None).normalize(values)[:, live]
        far: Floats = (np.abs(normalised) > _FAR).mean(axis=0)
        if far.mean() > _FEW or far.max() > _MOST:
            worst = layout.degrees[live[int(far.argmax())]]
            raise ConfigError(
                f"{folder}: the units look wrong: {far.mean():.0%} of {what} are more than {_FAR:g} times "
                f"outside of the checkpoint's range ({worst.name} most often, {far.max():.0%})",
                expected=f"policy values, {worst.name} in {_unit(worst)}",
                fix="take data in the units that the policy was trained in, as ROBOT.yaml describes them",
            )


def refuse_absurd(folder: Path, samples: Sequence[Sample], embodiment: Embodiment) -> None:
    """A single value that cannot be: shares and means over all of them would not show it."""
    for what, layout in (("state", embodiment.state), ("action", embodiment.action)):
        middle, room = _rooms(layout, embodiment)
        for number, sample in enumerate(samples):
            values = sample.observation.state[None] if what == "state" else sample.actions
            over = np.argwhere(np.abs(values - middle) > room)
            if len(over):
                step, column = over[0]
                name, unit = layout.names[column], _unit(layout.degrees[column])
                raise ConfigError(
                    f"{folder}: {what} of {name} is {values[step, column]:g} {unit} in sample {number}",
                    expected=f"within {room[column]:.3g} {unit} of {middle[column]:.3g}",
                    fix="leave out the samples whose encoder was misread",
                )


def _unit(degree: Degree) -> str:
    return "its own unit" if degree.unit == "own" else degree.unit


def _rooms(layout: Layout, embodiment: Embodiment) -> tuple[Floats, Floats]:
    """Middle of what each degree of freedom may be, and how far off it, ``[degrees]`` both."""
    ranges = np.array(list(_ranges(layout, embodiment.state)))
    least = np.array([_LEAST[degree.unit] for degree in layout.degrees])
    # What never moved in training has no range to speak of.
    least = np.maximum(least, np.abs(ranges[:, 0]) + 1.0)
    held = np.array([degree.part == "held" for degree in layout.degrees])
    return ranges[:, 0], np.where(held, np.inf, np.maximum(_ABSURD * ranges[:, 1], least))


def _ranges(layout: Layout, state: Layout) -> Iterator[tuple[float, float]]:
    """Middle and half of its range, by degree of freedom; of an offset from the state, the state's."""
    for i, degree in enumerate(layout.degrees):
        observed = [
            (state.offset[k], state.scale[k])
            for k, other in enumerate(state.degrees)
            if degree.reference == "state" and (other.part, other.of, other.index) == _target(degree)
        ]
        yield observed[0] if observed else (layout.offset[i], layout.scale[i])


def _target(degree: Degree) -> tuple[str, str, int]:
    return degree.part, degree.of, degree.index
