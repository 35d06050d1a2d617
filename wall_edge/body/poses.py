"""Poses in a vector of policy values: which degrees of freedom they are, and what is no pose at all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wall_edge.array_types import Floats
from wall_edge.body.model import PoseChain
from wall_edge.bundle import Layout
from wall_edge.errors import KinematicsError, PolicyError
from wall_edge.kinematics.chain import Chain
from wall_edge.kinematics.rotations import from_matrix, to_matrix

_ABSURD = 3.0
"""Times the chain's length: what is farther away is a mistake of units, not a pose out of reach."""


@dataclass(frozen=True, eq=False)
class PoseColumns:
    """Where a pose stands in a layout's vectors; either part may be missing."""

    pose: str
    position: list[int]
    rotation: list[int]
    form: str

    @classmethod
    def all_of(cls, layout: Layout) -> list[PoseColumns]:
        """Of each pose that the layout has."""
        poses = dict.fromkeys(d.of for d in layout.degrees if d.part in ("position", "rotation"))
        return [
            cls(
                pose,
                layout.columns("position", pose),
                layout.columns("rotation", pose),
                layout.rotations.get(pose, "rpy"),
            )
            for pose in poses
        ]

    def write(self, values: Floats, positions: Floats, rotations: Floats) -> None:
        """Into ``values [..., degrees]``: ``positions [..., 3]`` and ``rotations [..., 3, 3]`` in their form.

        A rotation is written as data sets have it: angles within ±π (pitch and the like within ±π/2), a
        rotation vector of at most π, a quaternion with w ≥ 0. Where a policy was trained on another way of
        writing the same rotation, ``wall_edge.policies`` finds it by the statistics.
        """
        if self.position:
            values[..., self.position] = positions
        if self.rotation:
            values[..., self.rotation] = from_matrix(self.form, rotations)

    def read(self, values: Floats) -> tuple[Floats, Floats | None]:
        """Positions ``[horizon, 3]``, rotations ``[horizon, 3, 3]``, if there are any.

        Raises :class:`PolicyError` for numbers that are no rotation.
        """
        positions = values[:, self.position]
        if not self.rotation:
            return positions, None
        try:
            return positions, to_matrix(self.form, values[:, self.rotation])
        except KinematicsError as problem:
            raise PolicyError(f"the action chunk, pose {self.pose}: {problem}") from None


def chain_length(chain: Chain) -> float:
    """What the tip cannot be farther from the base than [m]; infinite with a slider without end."""
    links = np.linalg.norm(chain.steps[:, 3], axis=-1).sum() + np.linalg.norm(chain.last[3])
    ends = np.maximum(np.abs(chain.lower), np.abs(chain.upper))
    return float(links + ends[np.array(chain.sliding)].sum())


def require_near(chain: PoseChain, positions: Floats, rotations: Floats) -> None:
    """Raise :class:`PolicyError` for a pose that lies absurdly far from the arm's base."""
    in_base, _ = chain.frame.undo(positions, rotations)
    distance = np.linalg.norm(in_base, axis=-1)
    bound = _ABSURD * chain_length(chain.chain)
    if distance.max() > bound:
        step = int(np.argmax(distance))
        raise PolicyError(
            f"the action chunk puts pose {chain.name} {distance[step]:.4g} m from {chain.chain.base} "
            f"at step {step}",
            expected=f"at most {bound:.3g} m, three times what the arm reaches",
            fix="check the unit and the frame of its positions",
        )
