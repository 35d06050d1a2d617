"""The robot that a policy was trained for: what each of the model's slots means, and its statistics.

The values of a policy's state and actions, each in its own unit, are *policy values*: what data sets, sessions and
goldens hold. ``wall_edge.body`` makes joint positions of them and needs ROBOT.yaml and a URDF for it; nothing
that has the manifest alone does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from wall_edge.array_types import Floats
from wall_edge.checks import (
    MAX_DOF,
    between,
    counted,
    one_of,
    positive,
    require_name,
    require_names,
    require_title,
    require_unique,
)
from wall_edge.config_loader import Invalid

Part = Literal["joint", "position", "rotation", "sink", "held"]
"""What a degree of freedom is: a joint, a component of a pose's position or rotation, a value for a named
sink (a base, a lift), or one that is held and that nobody follows."""
Unit = Literal["rad", "deg", "percent", "m", "own"]
"""``percent`` and ``own`` are mapped onto a joint's range by ROBOT.yaml; a rotation's numbers are rad or have none
(``own``)."""
Reference = Literal["absolute", "state", "first"]
"""Actions are values, or offsets from the observed state, or (but for the first step, which is a value) offsets
from the chunk's first step."""
RotationForm = Literal["rpy", "euler_zyx", "rotvec", "quaternion", "6d"]
"""How a rotation is written; ``wall_edge.kinematics.rotations`` says what each means."""
ROTATION_SIZES: dict[str, int] = {"rpy": 3, "euler_zyx": 3, "rotvec": 3, "quaternion": 4, "6d": 6}
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
        require_name("name", self.name, also=".")
        between("slot", self.slot, 0, _MOST_SLOTS)
        between("index", self.index, 0, MAX_DOF)
        if (self.part == "held") != (self.of == ""):
            raise Invalid("of", self.of, expected="the name of a joint, a pose or a sink (none for what is held)")


@dataclass(frozen=True)
class Pose:
    """An end-effector pose: ``tip`` in the axes of ``frame``; all three are links of the robot's URDF.

    ``offset_axes``: what an offset of a pose is in. ``base``: p = p₀ + Δp, R = ΔR·R₀; ``tip``: p = p₀ + R₀·Δp,
    R = R₀·ΔR, as in the universal manipulation interface (Chi et al., arXiv 2402.10329).
    """

    base: str
    tip: str
    frame: str
    offset_axes: Literal["base", "tip"] = "base"

    def __post_init__(self) -> None:
        for key in ("base", "tip", "frame"):
            require_name(key, getattr(self, key))


@dataclass(frozen=True)
class Layout:
    """Degrees of freedom with their statistics: ``normalised = (value - offset) / scale``, one each.

    ``clip`` bounds the normalised values; ``rotations`` says by pose how its rotation is written.
    """

    degrees: tuple[Degree, ...]
    offset: tuple[float, ...]
    scale: tuple[float, ...]
    clip: float | None = None
    rotations: dict[str, RotationForm] = field(default_factory=dict)

    def __post_init__(self) -> None:
        counted("degrees", self.degrees, 1, MAX_DOF)
        require_names("degrees", self.names, also=".")
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
        self._check_parts()

    def _check_parts(self) -> None:
        moved = [(d.part, d.of, d.index) for d in self.degrees if d.part != "held"]
        require_unique("degrees", moved, "target")
        for pose, form in self.rotations.items():
            one_of(f"rotations.{pose}", form, tuple(ROTATION_SIZES))
        for pose in dict.fromkeys(d.of for d in self.degrees if d.part in ("position", "rotation")):
            for part, size in (("position", 3), ("rotation", ROTATION_SIZES[self.rotations.get(pose, "rpy")])):
                indices = sorted(d.index for d in self.degrees if (d.part, d.of) == (part, pose))
                if indices not in ([], list(range(size))):
                    raise Invalid("degrees", indices, expected=f"all {size} components of {pose}'s {part}")
            if len({d.reference for d in self.degrees if d.part in ("position", "rotation") and d.of == pose}) > 1:
                raise Invalid("degrees", pose, expected="one reference for position and rotation of a pose")

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
        """Where the components of a pose's part (or a joint, or a sink) stand, in their order; empty for none."""
        found = [(d.index, i) for i, d in enumerate(self.degrees) if (d.part, d.of) == (part, of)]
        return [column for _, column in sorted(found)]

    def normalize(self, values: Floats) -> Floats:
        """Policy values → normalised, last axis ``[degrees]``."""
        ratio: Floats = (values - np.array(self.offset)) / np.array(self.scale)
        return ratio if self.clip is None else np.clip(ratio, -self.clip, self.clip)

    def restore(self, values: Floats) -> Floats:
        """Normalised → policy values, last axis ``[degrees]``; not clipped."""
        physical: Floats = values * np.array(self.scale) + np.array(self.offset)
        return physical


@dataclass(frozen=True)
class Embodiment:
    """The robot that the policy was trained for: its state's and its actions' layouts, which may differ."""

    name: str
    state: Layout
    action: Layout
    poses: dict[str, Pose] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_title("name", self.name)
        for key, degree in self._degrees():
            if degree.part in ("position", "rotation") and degree.of not in self.poses:
                raise Invalid(key, degree.of, expected=f"one of poses: {', '.join(self.poses) or 'there is none'}")
        for degree in self.state.degrees:
            if degree.reference != "absolute":
                raise Invalid("state.degrees", degree.reference, expected=f"absolute for {degree.name}")
        for degree in self.action.degrees:
            if degree.reference == "state" and not self._observed(degree):
                expected = f"a state that {degree.name} is relative to, in the same unit"
                raise Invalid("action.degrees", degree.reference, expected=expected)

    def _degrees(self) -> Iterator[tuple[str, Degree]]:
        for key, layout in (("state.degrees", self.state), ("action.degrees", self.action)):
            yield from ((key, degree) for degree in layout.degrees)

    def _observed(self, action: Degree) -> bool:
        if action.part == "held":
            return True  # nobody follows it
        if action.part in ("position", "rotation"):
            return all(self.state.columns(part, action.of) for part in ("position", "rotation"))
        columns = self.state.columns(action.part, action.of)
        return any(self.state.degrees[c].index == action.index and self.state.degrees[c].unit == action.unit
                   for c in columns)

    def same_layout(self, other: Embodiment) -> bool:
        """Whether both mean the same by every slot, whatever the statistics."""
        return self.poses == other.poses and all(
            (mine.degrees, mine.rotations) == (theirs.degrees, theirs.rotations)
            for mine, theirs in ((self.state, other.state), (self.action, other.action))
        )


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
