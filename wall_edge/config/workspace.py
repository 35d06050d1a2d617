"""The ``workspace`` section of ROBOT.yaml: where tips may be, and how fast."""

from __future__ import annotations

from dataclasses import dataclass, field

from wall_edge.checks import between, positive, require_name
from wall_edge.config_loader import Invalid

_FAR = 100.0
"""m"""


@dataclass(frozen=True)
class Box:
    """Lowest and highest x, y, z [m]."""

    x: tuple[float, float]
    y: tuple[float, float]
    z: tuple[float, float]

    def __post_init__(self) -> None:
        for axis in "xyz":
            low, high = getattr(self, axis)
            between(f"{axis}[0]", low, -_FAR, _FAR, "m")
            between(f"{axis}[1]", high, -_FAR, _FAR, "m")
            if low >= high:
                raise Invalid(axis, [low, high], expected="the lower end first")


@dataclass(frozen=True)
class PoseBounds:
    """Of one pose of ``kinematics.poses``; numbers are in the axes of ``frame``, a link of the URDF."""

    frame: str
    box: Box | None = None
    """Where the tip may be."""
    table_z: float | None = None
    """What no frame of the arm behind its base may be below [m]; null: nothing."""
    max_speed: float | None = None
    """Of the tip [m/s]; chunks are kept to less, as the motion between their steps is not exactly theirs."""

    def __post_init__(self) -> None:
        require_name("frame", self.frame)
        between("table_z", self.table_z, -_FAR, _FAR, "m")
        positive("max_speed", self.max_speed, "m/s", _FAR)


@dataclass(frozen=True)
class WorkspaceConfig:
    """Applied to chunks with ``margin_m`` to spare, and watched at every tick."""

    poses: dict[str, PoseBounds] = field(default_factory=dict)
    tip_distance_m: float | None = None
    """Least distance between any two tips [m]."""
    margin_m: float = 0.005
    """How far inside of the bounds chunks are kept."""

    def __post_init__(self) -> None:
        for name in self.poses:
            require_name(f"poses.{name}", name)
        positive("tip_distance_m", self.tip_distance_m, "m", _FAR)
        between("margin_m", self.margin_m, 0, 1, "m")
        for name, bounds in self.poses.items():
            self._require_room(f"poses.{name}", bounds)

    def _require_room(self, key: str, bounds: PoseBounds) -> None:
        """The margins must leave something of the box, and the table too."""
        if bounds.box is None:
            return
        for axis in "xyz":
            low, high = getattr(bounds.box, axis)
            if axis == "z" and bounds.table_z is not None:
                low = max(low, bounds.table_z)
            if high - low <= 2 * self.margin_m:
                where = f"above table_z ({bounds.table_z:g}) " if low == bounds.table_z else ""
                expected = f"more than 2 · margin_m ({2 * self.margin_m:g} m) from end to end {where}".strip()
                raise Invalid(f"{key}.box.{axis}", list(getattr(bounds.box, axis)), expected=expected)
