"""The bundle: what export leaves and engines load.

A folder with ``manifest.yaml``, its digest ``manifest.sha256``, the graphs and the files that hold their
weights, the tokenizer and golden inputs/outputs. The manifest holds the SHA-256 of every other file; opening
a bundle checks them all, so a flipped bit is refused by name before anything runs. Bundles appear whole or
not at all.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import yaml

from .errors import BundleError
from .fast import FastSettings
from .geometry import ImageGeometry
from .loader import from_mapping
from .second_opinion import SecondOpinion

FORMAT_VERSION = 2
MANIFEST, DIGEST, TOKENIZER, GOLDENS = "manifest.yaml", "manifest.sha256", "tokenizer.json", "goldens.npz"
HEAD_TOKENS = "lm_head_tokens.npy"
INT8 = "int8"
"""The precision whose matrix products take 8-bit weights and 8-bit activations."""
_REDO = "export the bundle again with 'wall-edge export'"


@dataclass(frozen=True)
class TensorSpec:
    """A graph's input or output; a name in ``shape`` is a dynamic axis."""

    shape: tuple[int | str, ...]
    dtype: str


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

    def normalize(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Physical → normalised, last axis ``[dof]``."""
        scaled: npt.NDArray[np.float64] = (values - np.array(self.offset)) / np.array(self.scale)
        return scaled if self.clip is None else np.clip(scaled, -self.clip, self.clip)

    def restore(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Normalised → physical, last axis ``[dof]``; not clipped."""
        restored: npt.NDArray[np.float64] = values * np.array(self.scale) + np.array(self.offset)
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


@dataclass(frozen=True)
class Source:
    """Which checkpoint the bundle was made from; the digest covers its config and its weights."""

    checkpoint: str
    sha256: str


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


@dataclass(frozen=True)
class FamilyLoss:
    """What quantisation costs a layer family: relative L2 error of its layers' outputs in calibration."""

    graph: str
    family: str
    precision: str
    mean: float
    worst: float
    worst_layer: str


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
    """Whose words the prompts are in (``wall_edge.prompt.Wording``); bundles before it had but one."""

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


class Bundle:
    """An opened bundle; every file has been checked against its digest.

    Raises :class:`BundleError` naming the file that is missing, damaged or of another format version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not os.access(folder / MANIFEST, os.R_OK):
            raise BundleError(f"{folder}: no {MANIFEST}", expected="a bundle folder", fix=_REDO)
        self._check(MANIFEST, _read_digest(folder / DIGEST))
        self.manifest = _load_manifest(folder / MANIFEST)
        for name, digest in self.manifest.files.items():
            self._check(name, digest)
        graphs = self.manifest.graphs.values()
        for needed in (TOKENIZER, *(graph.file for graph in graphs), *(graph.data for graph in graphs)):
            self.path(needed)  # nothing runs whose digest was not checked

    def path(self, name: str) -> Path:
        """A file of the bundle that the manifest lists."""
        if name not in self.manifest.files:
            raise BundleError(f"{self.folder}: file {name} is not in the manifest", fix=_REDO)
        return self.folder / name

    @cached_property
    def goldens(self) -> dict[str, npt.NDArray[Any]]:
        """Golden inputs and outputs by name; no pickled objects are read."""
        with np.load(self.path(GOLDENS), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}

    def _check(self, name: str, digest: str) -> None:
        path = self.folder / name
        if Path(name).name != name or not path.is_file():
            raise BundleError(f"{path}: file is missing", expected=f"SHA-256 {digest[:12]}…", fix=_REDO)
        try:
            found = file_digest(path)
        except OSError as error:
            raise BundleError(f"{path}: {error.strerror}", expected="a readable file", fix=_REDO) from error
        if found != digest:
            raise BundleError(
                f"{path}: damaged, SHA-256 {found[:12]}…",
                expected=f"{digest[:12]}…",
                fix=f"copy it again or {_REDO}",
            )


def file_digest(*paths: Path) -> str:
    """SHA-256 over the files' bytes, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.yaml`` and its digest; ``manifest.files`` must list all other files."""
    path = folder / MANIFEST
    path.write_text(yaml.safe_dump(_plain(asdict(manifest)), sort_keys=False, width=110))
    (folder / DIGEST).write_text(f"{file_digest(path)}  {MANIFEST}\n")


def require_replaceable(out: Path) -> None:
    """Raise :class:`BundleError` unless ``out`` is free, empty, or holds a bundle and nothing else."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not out.is_dir() or not _holds_only_a_bundle(out):
        raise BundleError(
            f"{out}: exists and is no bundle", expected="a new folder", fix="choose another --out"
        )


def _holds_only_a_bundle(folder: Path) -> bool:
    """Damaged or not, but with no file that an export did not write."""
    try:
        manifest = yaml.safe_load((folder / MANIFEST).read_text())
        known = {MANIFEST, DIGEST, *manifest["files"]}
        return "format_version" in manifest and {path.name for path in folder.iterdir()} <= known
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError):
        return False


def put_in_place(work: Path, out: Path) -> None:
    """Give the finished folder ``work`` the name ``out``; an earlier bundle there is replaced."""
    old = replaced_name(work)
    shutil.rmtree(old, ignore_errors=True)  # an export that was killed right here left it
    if out.exists():
        out.rename(old)
    work.rename(out)
    descriptor = os.open(out.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    shutil.rmtree(old, ignore_errors=True)


def replaced_name(work: Path) -> Path:
    """What an earlier bundle is called while ``work`` takes its place."""
    return work.with_name(f"{work.name}.old")


def _read_digest(path: Path) -> str:
    """The digest in ``manifest.sha256``, which holds exactly what ``sha256sum`` would write."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(
            f"{path}: missing or unreadable", expected="the manifest's SHA-256", fix=_REDO
        ) from error
    found = re.fullmatch(rf"([0-9a-f]{{64}})  {re.escape(MANIFEST)}\n", text)
    if found is None:
        raise BundleError(f"{path}: damaged", expected=f"a SHA-256 and the name {MANIFEST}", fix=_REDO)
    return found[1]


def _load_manifest(path: Path) -> Manifest:
    try:
        data = yaml.safe_load(path.read_text())
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise BundleError(f"{path}: not valid YAML", expected="a manifest", fix=_REDO) from error
    version = data.get("format_version") if isinstance(data, dict) else None
    if version != FORMAT_VERSION:
        raise BundleError(f"{path}: format version {version}", expected=str(FORMAT_VERSION), fix=_REDO)
    return from_mapping(Manifest, data, str(path), BundleError)


def _plain(value: Any) -> Any:
    """Tuples as lists, so that plain YAML can hold them."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
