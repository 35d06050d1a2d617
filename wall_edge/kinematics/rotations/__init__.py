"""Rotations: matrices, the ways in which policies write them, and what lies between two of them.

All functions take any leading axes. Nothing here averages components: rpy on either side of π would come out
180° off.
"""

from wall_edge.kinematics.rotations.geodesic import AMBIGUOUS, ambiguous, blend, distance, exp, log, mean
from wall_edge.kinematics.rotations.kinds import LARGEST_ANGLE, SIZES, from_matrix, to_matrix
from wall_edge.kinematics.rotations.series import nearest_values, unwrap

__all__ = [
    "AMBIGUOUS",
    "LARGEST_ANGLE",
    "SIZES",
    "ambiguous",
    "blend",
    "distance",
    "exp",
    "from_matrix",
    "log",
    "mean",
    "nearest_values",
    "to_matrix",
    "unwrap",
]
