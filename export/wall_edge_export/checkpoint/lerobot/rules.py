"""LeRobot's normalisation rules as an offset and a scale, by mode (``processor/normalize_processor.py``)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wall_edge.config_loader import Invalid
from wall_edge_export.checkpoint.lerobot.kinds import STATE, Feature
from wall_edge_export.checkpoint.lerobot.pipelines import Statistics
from wall_edge_export.checkpoint.scaling import Scaling

RANGES = {"MIN_MAX": ("min", "max"), "QUANTILES": ("q01", "q99"), "QUANTILE10": ("q10", "q90")}
IDENTITY = "IDENTITY"
MODES = (IDENTITY, "MEAN_STD", *RANGES)


@dataclass(frozen=True)
class Normalizer:
    """The saved settings of a (un)normaliser step."""

    features: dict[str, Feature]
    norm_map: dict[str, str]
    eps: float = 1e-8
    normalize_observation_keys: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not 0 < self.eps <= 1e-2:
            raise Invalid("eps", self.eps, expected="more than 0, at most 0.01")

    @property
    def state_mode(self) -> str:
        """How the state is normalised: only features that the step lists are, and keys may narrow that
        down."""
        feature, only = self.features.get(STATE), self.normalize_observation_keys
        if feature is None or (only is not None and STATE not in only):
            return IDENTITY
        return self.norm_map.get(feature.type, IDENTITY)


def affine(
    mode: str, statistics: Statistics, eps: float, dof: int, *, restores: bool, clip: float | None = None
) -> Scaling:
    """LeRobot's rule for ``mode`` as an offset and a scale; raises ValueError on unfit statistics.

    Normalising by mean and standard deviation divides by ``std + eps``, but restoring multiplies by ``std``
    alone, so the two directions differ. A range that is empty counts as ``eps``.
    """
    if mode == IDENTITY:
        return Scaling(np.zeros(dof), np.ones(dof), clip)
    low, high = (_values(statistics, name, dof) for name in RANGES.get(mode, ("mean", "std")))
    if mode == "MEAN_STD":
        # Where nothing ever moved LeRobot restores the mean; eps does too, and can be divided by.
        offset, scale = low, np.where(high == 0, eps, high) if restores else high + eps
    else:
        span = np.where(high == low, eps, high - low)
        offset, scale = low + span / 2, span / 2
    if not np.all(np.isfinite(offset)) or not np.all(scale > 0) or not np.all(np.isfinite(scale)):
        raise ValueError(f"spread {scale.tolist()}")
    return Scaling(offset, scale, clip)


def _values(statistics: Statistics, name: str, dof: int) -> npt.NDArray[np.float64]:
    values = statistics.get(name)
    if values is None:
        raise ValueError(f"no {name}")
    if values.shape != (dof,) or not np.all(np.isfinite(values)):
        raise ValueError(f"{name} {values.tolist()}")
    return values
