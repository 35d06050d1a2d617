"""The robot that a policy was trained for: degrees of freedom, their statistics and limits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from wall_edge.array_types import Floats
from wall_edge.checks import (
    MAX_DOF,
    between,
    counted,
    one_of,
    positive,
    require_names,
    require_title,
    require_unique,
)
from wall_edge.config_loader import Invalid

RADIANS = {"rad": 1.0, "deg": math.pi / 180}
"""How many rad a unit is."""
_PHYSICAL = 1000.0
"""Offsets, scales and limits in rad; 300 degrees are 5."""


@dataclass(frozen=True)
class Normalization:
    """``normalised = (physical - offset) / scale``, per degree of freedom; ``clip`` bounds the result."""

    offset: tuple[float, ...]
    scale: tuple[float, ...]
    clip: float | None = None

    def __post_init__(self) -> None:
        for i, offset in enumerate(self.offset):
            between(f"offset[{i}]", offset, -1e4, 1e4)
        for i, scale in enumerate(self.scale):
            positive(f"scale[{i}]", scale, "", 1e4)
        positive("clip", self.clip, "", 1e4)

    def normalize(self, values: Floats) -> Floats:
        """Physical → normalised, last axis ``[dof]``."""
        ratio: Floats = (values - np.array(self.offset)) / np.array(self.scale)
        return ratio if self.clip is None else np.clip(ratio, -self.clip, self.clip)

    def restore(self, values: Floats) -> Floats:
        """Normalised → physical, last axis ``[dof]``; not clipped."""
        physical: Floats = values * np.array(self.scale) + np.array(self.offset)
        return physical


@dataclass(frozen=True)
class Embodiment:
    """The robot that the policy was trained for.

    ``action_reference``: ``absolute``, or ``state`` when actions are offsets from the observed joints.
    ``state_slots`` and ``action_slots`` say which of the model's slots each degree of freedom takes; the
    slots that no one takes are masked out (WALL-OSS has 20, a small arm fills a few).
    """

    name: str
    dof_names: tuple[str, ...]
    unit: str
    action_reference: str
    state: Normalization
    action: Normalization
    state_slots: tuple[int, ...]
    action_slots: tuple[int, ...]
    lower: tuple[float, ...] | None = None
    upper: tuple[float, ...] | None = None
    data_unit: Literal["rad", "deg"] = "rad"
    """What the joint angles in the data set of the policy's training are in."""

    def __post_init__(self) -> None:
        require_title("name", self.name)
        one_of("unit", self.unit, ("rad",))
        one_of("action_reference", self.action_reference, ("absolute", "state"))
        counted("dof_names", self.dof_names, 1, MAX_DOF)
        require_names("dof_names", self.dof_names)
        for key, slots in (("state_slots", self.state_slots), ("action_slots", self.action_slots)):
            require_unique(key, slots)
            for i, slot in enumerate(slots):
                between(f"{key}[{i}]", slot, 0, 1 << 20)
        for key, values in self._vectors():
            if len(values) != len(self.dof_names):
                expected = f"{len(self.dof_names)} values, one for each of dof_names"
                raise Invalid(key, list(values), expected=expected)
        self._check_limits()

    def _vectors(self) -> Iterator[tuple[str, Sequence[float]]]:
        """Whatever has one value a degree of freedom."""
        yield "state.offset", self.state.offset
        yield "state.scale", self.state.scale
        yield "action.offset", self.action.offset
        yield "action.scale", self.action.scale
        yield "state_slots", self.state_slots
        yield "action_slots", self.action_slots
        for key, limits in (("lower", self.lower), ("upper", self.upper)):
            if limits is not None:
                yield key, limits

    def _check_limits(self) -> None:
        for i, (low, high) in enumerate(zip(self.lower or (), self.upper or (), strict=False)):
            if low >= high:
                raise Invalid(f"lower[{i}]", low, expected=f"less than upper[{i}] ({high:g})")
        for key, limits in (("lower", self.lower), ("upper", self.upper)):
            for i, value in enumerate(limits or ()):
                between(f"{key}[{i}]", value, -_PHYSICAL, _PHYSICAL, self.unit)
