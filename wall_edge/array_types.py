"""Names of the array types that every room uses: each means one element type everywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
"""Physical quantities: rad, rad/s, seconds."""
Floats32 = npt.NDArray[np.float32]
"""What graphs take and give."""
Frame = npt.NDArray[np.uint8]
"""Pictures ``[height, width, 3]``, RGB."""
Array = npt.NDArray[Any]
"""Of whatever element type the graph or the file has."""
