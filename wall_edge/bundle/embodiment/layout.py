"""Degrees of freedom of a policy: what each is, the slot of the model that it takes, and its statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from wall_edge.array_types import Floats
from wall_edge.checks import (
    MAX_DOF,
    between,
    counted,
    positive,
    require_name,
    require_names,
    require_unique,
)
from wall_edge.config_loader import Invalid
from wall_edge.kinematics.rotations import SIZES

Part = Literal["joint", "position", "rotation", "sink", "held"]
"""What a degree of freedom is: a joint, a component of a pose's position or rotation, a value for a named
sink (a base, a lift), or one that is held and that nobody follows."""
Unit = Literal["rad", "deg", "percent", "m", "own"]
"""``percent`` and ``own`` are mapped onto a joint's range by ROBOT.yaml; a rotation's numbers are rad or have
none (``own``)."""
Reference = Literal["absolute", "state", "first"]
"""Actions are values, or offsets from the observed state, or (but for the first step, which is a value)
offsets from the chunk's first step."""
RotationForm = Literal["rpy", "euler_zyx", "rotvec", "quaternion", "6d", "6d_rows"]
"""How a rotation is written; ``wall_edge.kinematics.rotations`` says what each means."""
ROTATION_SIZES = SIZES
"""Numbers of each form."""
_MOST_SLOTS = 1 << 20


@dataclass(frozen=True)
class Degree:
    """One degree of freedom of the checkpoint: its own name, the slot that it takes, and what it is."""

    name: str
    slot: int
    part: Part = "joint"
    of: str = ""
    """The joint, the pose or the sink; empty for what is held."""
    index: int = 0
    """Which component of a pose's part, or of a sink."""
    unit: Unit = "rad"
    reference: Reference = "absolute"
    """Of an action; a state is absolute."""

    def __post_init__(self) -> None:
        require_name("name", self.name)
        between("slot", self.slot, 0, _MOST_SLOTS)
        between("index", self.index, 0, MAX_DOF)
        if (self.part == "held") != (self.of == ""):
            raise Invalid(
                "of", self.of, expected="the name of a joint, a pose or a sink (none for what is held)"
            )
        units = {"position": ("m",), "rotation": ("rad", "own")}.get(self.part)
        if units is not None and self.unit not in units:
            raise Invalid("unit", self.unit, expected=f"{' or '.join(units)}, of a {self.part}")


@dataclass(frozen=True)
class Layout:
    """Degrees of freedom with their statistics: ``normalised = (value - offset) / scale``, one each.

    ``clip`` bounds the normalised values; ``rotations`` says by pose how its rotation is written;
    ``masked [slots]`` what stands in the model's first slots (normalised) where no degree does, 0 behind.
    """

    degrees: tuple[Degree, ...]
    offset: tuple[float, ...]
    scale: tuple[float, ...]
    clip: float | None = None
    rotations: dict[str, RotationForm] = field(default_factory=dict)
    masked: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        counted("degrees", self.degrees, 1, MAX_DOF)
        require_names("degrees", self.names)
        require_unique("degrees", self.slots, "slot")
        for key in ("offset", "scale"):
            if len(getattr(self, key)) != len(self.degrees):
                expected = f"{len(self.degrees)} values, one for each of degrees"
                raise Invalid(key, list(getattr(self, key)), expected=expected)
        for i, offset in enumerate(self.offset):
            between(f"offset[{i}]", offset, -1e4, 1e4)
        for i, scale in enumerate(self.scale):
            positive(f"scale[{i}]", scale, "", 1e4)
        positive("clip", self.clip, "", 1e4)
        for i, value in enumerate(self.masked):
            between(f"masked[{i}]", value, -1e4, 1e4)
        self._check_parts()

    def _check_parts(self) -> None:
        moved = [(d.part, d.of, d.index) for d in self.degrees if d.part != "held"]
        require_unique("degrees", moved, "target")
        turned = dict.fromkeys(d.of for d in self.degrees if d.part == "rotation")
        if set(turned) != set(self.rotations):
            expected = f"how the rotations of {', '.join(turned) or 'no pose'} are written"
            raise Invalid("rotations", list(self.rotations), expected=expected)
        for part, of in dict.fromkeys((d.part, d.of) for d in self.degrees if d.part != "held"):
            self._check_components(part, of)
        for pose in dict.fromkeys(d.of for d in self.degrees if d.part in ("position", "rotation")):
            parts = [d for d in self.degrees if d.part in ("position", "rotation") and d.of == pose]
            if len({d.reference for d in parts}) > 1:
                said = ", ".join(dict.fromkeys(f"{d.part} {d.reference}" for d in parts))
                expected = "one reference for its position and its rotation"
                raise Invalid(f"reference of pose {pose}", said, expected=expected)

    def _check_components(self, part: Part, of: str) -> None:
        indices = [self.degrees[column].index for column in self.columns(part, of)]
        size = {"joint": 1, "position": 3, "sink": len(indices)}.get(part) or ROTATION_SIZES[
            self.rotations[of]
        ]
        if indices != list(range(size)):
            raise Invalid("degrees", indices, expected=f"all {size} components of {of}'s {part}")

    def __len__(self) -> int:
        return len(self.degrees)

    @property
    def names(self) -> tuple[str, ...]:
        """As the checkpoint has them, in the order of every vector of policy values."""
        return tuple(degree.name for degree in self.degrees)

    @property
    def slots(self) -> tuple[int, ...]:
        """Which of the model's slots each degree takes; those that none takes are masked out."""
        return tuple(degree.slot for degree in self.degrees)

    def columns(self, part: Part, of: str) -> list[int]:
        """Where the components of a pose's part (or a joint, or a sink) stand, in their order."""
        places = [(d.index, i) for i, d in enumerate(self.degrees) if (d.part, d.of) == (part, of)]
        return [column for _, column in sorted(places)]

    def normalize(self, values: Floats) -> Floats:
        """Policy values → normalised, last axis ``[degrees]``."""
        ratio: Floats = (values - np.array(self.offset)) / np.array(self.scale)
        return ratio if self.clip is None else np.clip(ratio, -self.clip, self.clip)

    def restore(self, values: Floats) -> Floats:
        """Normalised → policy values, last axis ``[degrees]``; not clipped."""
        physical: Floats = values * np.array(self.scale) + np.array(self.offset)
        return physical


def joint_layout(
    names: Sequence[str],
    offset: Sequence[float],
    scale: Sequence[float],
    slots: Sequence[int] | None = None,
    *,
    clip: float | None = None,
    reference: Reference = "absolute",
    unit: Unit = "rad",
) -> Layout:
    """The layout of a robot whose policy commands its joints by their own names."""
    taken = range(len(names)) if slots is None else slots
    degrees = tuple(
        Degree(name, slot, "joint", name, unit=unit, reference=reference)
        for name, slot in zip(names, taken, strict=True)
    )
    return Layout(degrees, tuple(offset), tuple(scale), clip)
