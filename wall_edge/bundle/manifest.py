"""The bundle: what export leaves and engines load.

A folder with ``manifest.yaml``, its digest ``manifest.sha256``, the graphs and the files that hold their
weights, the tokenizer and golden inputs/outputs. The manifest holds the SHA-256 of every other file; opening
a bundle checks them all, so a flipped bit is refused by name before anything runs. Bundles appear whole or
not at all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from wall_edge.array_types import Floats
from wall_edge.bundle.fast_settings import FastSettings
from wall_edge.bundle.image_geometry import ImageGeometry
from wall_edge.bundle.manifest_checks import check_embodiment, check_manifest
from wall_edge.bundle.second_opinion import SecondOpinion
from wall_edge.checks import (
    MAX_DOF,
    between,
    counted,
    one_of,
    positive,
    require_file_name,
    require_name,
    require_names,
    require_sha256,
    require_text,
    require_title,
    require_unique,
)

FORMAT_VERSION = 2
MANIFEST, DIGEST, TOKENIZER, GOLDENS = "manifest.yaml", "manifest.sha256", "tokenizer.json", "goldens.npz"
HEAD_TOKENS = "lm_head_tokens.npy"
INT8 = "int8"
"""The precision whose matrix products take 8-bit weights and 8-bit activations."""
PRECISIONS = ("fp32", "fp16", "int8", "int8-weights", "int4-weights")


@dataclass(frozen=True)
class TensorSpec:
    """A graph's input or output; a name in ``shape`` is a dynamic axis."""

    shape: tuple[int | str, ...]
    dtype: str

    def __post_init__(self) -> None:
        counted("shape", self.shape, 0, 8)
        for i, axis in enumerate(self.shape):
            if isinstance(axis, str):
                require_name(f"shape[{i}]", axis)
            else:
                between(f"shape[{i}]", axis, 1, 1 << 31)


@dataclass(frozen=True)
class GraphSpec:
    """One graph file with its tensors, in order.

    ``data`` is the file of its weights (ONNX external data); ``families`` says in which precision each layer
    family's matrix products are stored and computed, ``precision`` sums that up.
    """

    file: str
    data: str
    precision: str
    families: dict[str, str]
    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]

    def __post_init__(self) -> None:
        require_file_name("file", self.file, ".onnx")
        require_file_name("data", self.data, ".data")
        require_name("precision", self.precision, also="+")
        require_names("families", self.families)
        for family, precision in self.families.items():
            one_of(f"families.{family}", precision, PRECISIONS)

    @property
    def quantized_activations(self) -> bool:
        """Whether some matrix products take 8-bit activations."""
        return INT8 in self.families.values()


@dataclass(frozen=True)
class Normalization:
    """``normalised = (physical - offset) / scale``, per degree of freedom; ``clip`` bounds the result."""

    offset: tuple[float, ...]
    scale: tuple[float, ...]
    clip: float | None = None

    def __post_init__(self) -> None:
        for i, offset in enumerate(self.offset):
            between(f"offset[{i}]", offset, -1e4, 1e4)
        for i, scale in enumerate(self.scale):
            positive(f"scale[{i}]", scale, "", 1e4)
        positive("clip", self.clip, "", 1e4)

    def normalize(self, values: Floats) -> Floats:
        """Physical → normalised, last axis ``[dof]``."""
        scaled: Floats = (values - np.array(self.offset)) / np.array(self.scale)
        return scaled if self.clip is None else np.clip(scaled, -self.clip, self.clip)

    def restore(self, values: Floats) -> Floats:
        """Normalised → physical, last axis ``[dof]``; not clipped."""
        restored: Floats = values * np.array(self.scale) + np.array(self.offset)
        return restored


RADIANS = {"rad": 1.0, "deg": math.pi / 180}
"""How many rad a unit is."""


@dataclass(frozen=True)
class Embodiment:
    """The robot that the policy was trained for.

    ``action_reference``: ``absolute``, or ``state`` when actions are offsets from the observed joints.
    ``state_slots`` and ``action_slots`` say which of the model's slots each degree of freedom takes; the
    slots that no one takes are masked out (WALL-OSS has 20, a small arm fills a few).
    """

    name: str
    dof_names: tuple[str, ...]
    unit: str
    action_reference: str
    state: Normalization
    action: Normalization
    state_slots: tuple[int, ...]
    action_slots: tuple[int, ...]
    lower: tuple[float, ...] | None = None
    upper: tuple[float, ...] | None = None
    data_unit: Literal["rad", "deg"] = "rad"
    """What the joint angles in the data set of the policy's training are in."""

    def __post_init__(self) -> None:
        require_title("name", self.name)
        one_of("unit", self.unit, ("rad",))
        one_of("action_reference", self.action_reference, ("absolute", "state"))
        counted("dof_names", self.dof_names, 1, MAX_DOF)
        require_names("dof_names", self.dof_names)
        for key, slots in (("state_slots", self.state_slots), ("action_slots", self.action_slots)):
            require_unique(key, slots)
            for i, slot in enumerate(slots):
                between(f"{key}[{i}]", slot, 0, 1 << 20)
        check_embodiment(self)


@dataclass(frozen=True)
class Source:
    """Which checkpoint the bundle was made from; the digest covers its config and its weights."""

    checkpoint: str
    sha256: str

    def __post_init__(self) -> None:
        require_text("checkpoint", self.checkpoint)
        require_sha256("sha256", self.sha256)


@dataclass(frozen=True)
class Tolerance:
    """How far a stage may be off: ``measure`` is ``max_abs`` or ``relative_l2``; a limit of 0 is exact."""

    measure: Literal["max_abs", "relative_l2"]
    limit: float


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


@dataclass(frozen=True)
class Manifest:
    """Everything that a device needs to know to run the graphs."""

    format_version: int
    source: Source
    embodiment: Embodiment
    cameras: dict[str, ImageGeometry]
    prompt_flavour: str
    horizon: int
    action_rate_hz: float
    time_grid: tuple[float, ...]
    max_prompt_tokens: int
    recipe: str
    graphs: dict[str, GraphSpec]
    tolerances: dict[str, Tolerance]
    files: dict[str, str]
    calibration: CalibrationRecord | None = None
    second_opinion: SecondOpinion | None = None
    """What transformers agreed to at export; none where nobody asked it."""
    losses: tuple[FamilyLoss, ...] = ()
    sensitivity: tuple[Sensitivity, ...] = ()
    head_tokens: str | None = None
    """File (npy) with the token id of each row of a trimmed vocabulary head; none when it has them all."""
    fast: FastSettings | None = None
    """Set for FAST actions, whose tokenizer is in ``fast_tokenizer.json``; none for flow actions."""
    prompt_wording: Literal["lerobot", "upstream", "wall-edge"] = "wall-edge"
    """Whose words the prompts are in (``prompt_text.Wording``); bundles before it had but one."""

    def __post_init__(self) -> None:
        check_manifest(self)

    @property
    def dof(self) -> int:
        return len(self.embodiment.dof_names)

    @property
    def action_slots(self) -> int:
        """The model's action slots: the robot's degrees of freedom are some of them."""
        if "expert" not in self.graphs:  # FAST actions have the robot's degrees of freedom only
            return self.dof
        return int(self.graphs["expert"].inputs["noisy_action"].shape[1])

    @property
    def state_slots(self) -> int:
        """The model's state slots."""
        return int(self.graphs["prefix"].inputs["state"].shape[0])
