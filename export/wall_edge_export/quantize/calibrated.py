"""What calibration leaves behind for one graph."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from wall_edge.array_types import Floats32


@dataclass(frozen=True)
class InputScaling:
    """How a layer's input is rounded to 8 bits: ``x / smoothing [K]`` in steps of ``scale``."""

    smoothing: Floats32
    scale: float


@dataclass
class Calibrated:
    """By input group how it is rounded, and by weight name the ready 4-bit weights.

    4-bit weights are ``(q int8 [N, K] in -8..7, scale [N, blocks])``.
    """

    inputs: dict[str, InputScaling] = field(default_factory=dict)
    int4: dict[str, tuple[npt.NDArray[np.int8], Floats32]] = field(default_factory=dict)
    losses: dict[tuple[str, str], float] = field(default_factory=dict)
    """Relative L2 error of a layer's outputs on calibration rows, by weight name and precision."""

    def save(self, path: Path) -> None:
        """One npz without pickled objects."""
        arrays: dict[str, npt.NDArray[np.float32] | npt.NDArray[np.int8]] = {}
        for group, scaling in self.inputs.items():
            arrays[f"smoothing:{group}"] = scaling.smoothing
            arrays[f"scale:{group}"] = np.array(scaling.scale, dtype=np.float32)
        for weight, (q, scale) in self.int4.items():
            arrays[f"int4:{weight}"], arrays[f"int4_scale:{weight}"] = q, scale
        for (weight, precision), loss in self.losses.items():
            arrays[f"loss:{precision}:{weight}"] = np.array(loss, dtype=np.float32)
        np.savez(path, **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: Path) -> Calibrated:
        """What :meth:`save` wrote."""
        calibrated = cls(losses=cls.load_losses(path))
        with np.load(path, allow_pickle=False) as file:
            for name in file.files:
                kind, key = name.split(":", 1)
                if kind == "smoothing":
                    calibrated.inputs[key] = InputScaling(file[name], float(file[f"scale:{key}"]))
                elif kind == "int4":
                    calibrated.int4[key] = (file[name], file[f"int4_scale:{key}"])
        return calibrated

    @staticmethod
    def load_losses(path: Path) -> dict[tuple[str, str], float]:
        """The losses alone, without reading the weights beside them."""
        losses = {}
        with np.load(path, allow_pickle=False) as file:
            for name in file.files:
                if name.startswith("loss:"):
                    _, precision, weight = name.split(":", 2)
                    losses[weight, precision] = float(file[name])
        return losses
