"""What a bundle remembers of its quantisation: the calibration data, and what each layer family lost."""

from __future__ import annotations

from dataclasses import dataclass

from wall_edge.bundle.graphs.specs import PRECISIONS
from wall_edge.checks import between, one_of, require_name, require_sha256, require_text


@dataclass(frozen=True)
class CalibrationRecord:
    """The data that quantisation was calibrated on."""

    name: str
    sha256: str
    samples: int

    def __post_init__(self) -> None:
        require_text("name", self.name)
        require_sha256("sha256", self.sha256)
        between("samples", self.samples, 1, 1 << 20)


@dataclass(frozen=True)
class Sensitivity:
    """What one layer family alone does to the final action chunk when it is put in ``precision``.

    ``action_error`` is the relative L2 error of the normalised chunk against float32; ``bytes_saved`` is
    read less for every chunk.
    """

    graph: str
    family: str
    precision: str
    action_error: float
    bytes_saved: int

    def __post_init__(self) -> None:
        require_name("graph", self.graph)
        require_name("family", self.family)
        one_of("precision", self.precision, PRECISIONS)
        between("action_error", self.action_error, 0, 1e30)
        between("bytes_saved", self.bytes_saved, -(1 << 50), 1 << 50)


@dataclass(frozen=True)
class FamilyLoss:
    """What quantisation costs a layer family: relative L2 error of its layers' outputs in calibration."""

    graph: str
    family: str
    precision: str
    mean: float
    worst: float
    worst_layer: str

    def __post_init__(self) -> None:
        require_name("graph", self.graph)
        require_name("family", self.family)
        one_of("precision", self.precision, PRECISIONS)
        between("mean", self.mean, 0, 1e30)
        between("worst", self.worst, 0, 1e30)
        require_text("worst_layer", self.worst_layer)
