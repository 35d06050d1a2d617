"""The robot that a policy was trained for: the layouts of its state and its actions, and its poses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from wall_edge.bundle.embodiment.layout import Degree, Layout
from wall_edge.checks import require_name, require_title
from wall_edge.config_loader import Invalid


@dataclass(frozen=True)
class Pose:
    """An end-effector pose: ``tip`` in the axes of ``frame``; all three are links of the robot's URDF.

    ``offset_axes``: what an offset of a pose is in. ``base``: p = p₀ + Δp, R = ΔR·R₀; ``tip``:
    p = p₀ + R₀·Δp, R = R₀·ΔR, as in the universal manipulation interface (Chi et al., arXiv 2402.10329).
    """

    base: str
    tip: str
    frame: str
    offset_axes: Literal["base", "tip"] = "base"

    def __post_init__(self) -> None:
        for key in ("base", "tip", "frame"):
            require_name(key, getattr(self, key))


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
                raise Invalid(
                    key, degree.of, expected=f"one of poses: {', '.join(self.poses) or 'there is none'}"
                )
        for degree in self.state.degrees:
            if degree.reference != "absolute":
                raise Invalid("state.degrees", degree.reference, expected=f"absolute for {degree.name}")
        for degree in self.action.degrees:
            missing = unreferred(degree, self.action.degrees, self.state.degrees, self.poses)
            if missing:
                raise Invalid("action.degrees", degree.reference, expected=missing)

    def _degrees(self) -> Iterator[tuple[str, Degree]]:
        for key, layout in (("state.degrees", self.state), ("action.degrees", self.action)):
            yield from ((key, degree) for degree in layout.degrees)

    def same_layout(self, other: Embodiment) -> bool:
        """Whether both mean the same by every slot, whatever the statistics."""
        return self.poses == other.poses and all(
            (mine.degrees, mine.rotations) == (theirs.degrees, theirs.rotations)
            for mine, theirs in ((self.state, other.state), (self.action, other.action))
        )


def unreferred(
    degree: Degree, action: Sequence[Degree], state: Sequence[Degree], poses: Mapping[str, Pose]
) -> str:
    """What an action's ``degree`` of freedom lacks to be an offset, in words; empty where it lacks nothing.

    An offset from the state needs that state, in the same unit; an offset of a pose in the axes of its tip
    needs the rotation that they are turned by. What is held, nobody follows.
    """
    if degree.reference == "absolute" or degree.part == "held":
        return ""
    referred = state if degree.reference == "state" else action
    name = (
        f"the state that {degree.name} is an offset from" if degree.reference == "state" else "the first step"
    )
    if degree.part in ("joint", "sink"):
        same = [d for d in referred if (d.part, d.of, d.index) == (degree.part, degree.of, degree.index)]
        if not same or same[0].unit != degree.unit:
            return f"{name}, in {degree.unit}"
        return ""
    parts = {d.part for d in referred if d.of == degree.of}
    if degree.part not in parts:
        return f"{name}, a {degree.part} of {degree.of}"
    if "rotation" not in parts and poses[degree.of].offset_axes == "tip":
        return f"the rotation of {degree.of}: its offsets are in the axes of its tip"
    return ""
