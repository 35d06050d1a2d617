"""What ROBOT.yaml's ``workspace`` bounds, found in the URDF: which tips, and which pairs of them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

from wall_edge.body.frames import Frame, fixed_frame
from wall_edge.body.model import PoseChain, RobotModel
from wall_edge.config import PoseBounds, WorkspaceConfig
from wall_edge.errors import KinematicsError


@dataclass(frozen=True, eq=False)
class BoundedPose:
    """A pose with its bounds. ``frame``: that of the chain's base link in the axes that ``bounds`` are in."""

    name: str
    bounds: PoseBounds
    chain: PoseChain
    frame: Frame


def bounded_poses(workspace: WorkspaceConfig, model: RobotModel) -> list[BoundedPose]:
    """Raises KinematicsError, in one line, for a frame that does not stand still to the pose's base link."""
    bounded = []
    for name, bounds in workspace.poses.items():
        chain = model.chains[name]
        try:
            frame = fixed_frame(model.urdf, chain.chain.base, bounds.frame)
        except KinematicsError as error:
            raise KinematicsError(f"workspace.poses.{name}.frame: {error}") from None
        bounded.append(BoundedPose(name, bounds, chain, frame))
    return bounded


def tip_pairs(workspace: WorkspaceConfig, model: RobotModel) -> list[tuple[str, str]]:
    """Those of ``kinematics.poses`` whose tips keep a distance: all that move against each other.

    Raises KinematicsError, in one line, where no two arms are there, or where they move against each other.
    """
    if workspace.tip_distance_m is None:
        return []
    pairs = []
    for first, second in combinations(model.chains.values(), 2):
        ours, theirs = set(first.columns.tolist()), set(second.columns.tolist())
        if ours <= theirs or theirs <= ours:
            continue  # two poses of one arm are as far apart as they are
        try:
            fixed_frame(model.urdf, second.chain.base, first.chain.base)
        except KinematicsError as error:
            where = f"workspace.tip_distance_m, {first.name} and {second.name}"
            raise KinematicsError(f"{where}: {error}") from None
        pairs.append((first.name, second.name))
    if not pairs:
        raise KinematicsError(
            f"workspace.tip_distance_m with the poses {', '.join(model.chains)}",
            expected="poses of two arms in kinematics.poses",
        )
    return pairs
