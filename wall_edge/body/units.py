"""Joints in the units of policies: rad, degrees, percent of a range, metres of a slider, a gripper's own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wall_edge.array_types import Floats
from wall_edge.body.entries import joint_ends
from wall_edge.body.model import RobotModel
from wall_edge.bundle import Degree, Layout
from wall_edge.config import Entry
from wall_edge.errors import ConfigError


@dataclass(frozen=True, eq=False)
class JointUnits:
    """The joints of a layout: position = ``gain`` · value + ``bias``, ``[n]`` each.

    ``degrees [n]``: where they are in a vector of policy values; ``joints [n]``: in one of joint positions.
    """

    degrees: npt.NDArray[np.intp]
    joints: npt.NDArray[np.intp]
    gain: Floats
    bias: Floats

    @classmethod
    def of(
        cls,
        layout: Layout,
        entries: Mapping[str, Entry],
        columns: Mapping[str, int],
        model: RobotModel | None,
    ) -> JointUnits:
        """``columns``: where each joint is. Raises :class:`ConfigError` for a unit that it cannot have."""
        which = [i for i, degree in enumerate(layout.degrees) if degree.part == "joint"]
        lines = []
        for i in which:
            degree = layout.degrees[i]
            if degree.of not in columns:
                raise ConfigError(
                    f"{degree.name} is joint {degree.of}", expected=f"one of joints: {', '.join(columns)}"
                )
            lines.append(_line(degree, entries, model))
        gain, bias = np.array(lines, np.float64).reshape(-1, 2).T
        joints = np.array([columns[layout.degrees[i].of] for i in which], np.intp)
        return cls(np.array(which, np.intp), joints, gain, bias)

    def positions(self, values: Floats) -> Floats:
        """Joint positions ``[..., n]`` of policy values ``[..., degrees]``."""
        positions: Floats = values[..., self.degrees] * self.gain + self.bias
        return positions

    def values(self, joints: Floats) -> Floats:
        """Values ``[..., n]`` of joint positions ``[..., dof]``."""
        values: Floats = (joints[..., self.joints] - self.bias) / self.gain
        return values


def _line(degree: Degree, entries: Mapping[str, Entry], model: RobotModel | None) -> tuple[float, float]:
    """Gain and bias of one joint."""
    slider = model.slider(degree.of) if model is not None else None
    if degree.unit in ("percent", "own"):
        ends = joint_ends(entries, degree.name)
        if ends is None:
            raise ConfigError(
                f"{degree.name} is in {degree.unit}", expected=f"its range in embodiment ({degree.of})"
            )
        (low, high), (start, end) = ends
        gain = (end - start) / (high - low)
        return gain, start - gain * low
    if degree.unit == "m":
        if slider is None:
            raise ConfigError(
                f"{degree.name} is in m, and joint {degree.of} is no slider of the URDF",
                expected="rad, deg, percent or own",
            )
        return 1 / slider.scale, -slider.offset / slider.scale
    if (
        degree.unit == "deg" and slider is not None and slider.scale == 1
    ):  # counted in m, not by a motor's angle
        raise ConfigError(
            f"{degree.name} is in deg, and joint {degree.of} is a slider", expected="m, percent or own"
        )
    return (math.pi / 180 if degree.unit == "deg" else 1.0), 0.0
