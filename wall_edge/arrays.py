"""What is asked of arrays in several places: how far one is from another, and whether it is finite."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from wall_edge.errors import WallEdgeError


def relative_l2(actual: npt.NDArray[Any], golden: npt.NDArray[Any]) -> float:
    """``|actual - golden| / |golden|`` over all elements of two arrays of one shape, in float64.

    0 where both are zero; infinite where only ``golden`` is, or where it holds NaN: that meets no limit.
    """
    right = golden.astype(np.float64).ravel()
    error = float(np.linalg.norm(actual.astype(np.float64).ravel() - right))
    size = float(np.linalg.norm(right))
    if size > 0:
        return error / size
    return 0.0 if error == 0 else float("inf")


def require_finite(
    values: npt.ArrayLike,
    what: str,
    error: type[WallEdgeError],
    *,
    expected: str = "finite values",
    fix: str = "",
) -> None:
    """Raise ``error`` where a value is NaN or infinite; ``what`` begins its message."""
    if not np.all(np.isfinite(values)):
        raise error(f"{what} holds values that are not finite", expected=expected, fix=fix)
