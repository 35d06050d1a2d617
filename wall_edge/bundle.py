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
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt
import yaml

from .checks import (
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
from .errors import BundleError
from .fast import FAST_TOKENIZER, FastSettings
from .files import (
    ARRAY_BYTES,
    JSON_BYTES,
    YAML_BYTES,
    open_regular,
    parse_yaml,
    read_arrays,
    read_bytes,
    shown,
)
from .geometry import ImageGeometry
from .graph_file import check_graph
from .loader import from_mapping
from .manifest_checks import check_embodiment, check_manifest
from .second_opinion import SecondOpinion

FORMAT_VERSION = 2
MANIFEST, DIGEST, TOKENIZER, GOLDENS = "manifest.yaml", "manifest.sha256", "tokenizer.json", "goldens.npz"
HEAD_TOKENS = "lm_head_tokens.npy"
INT8 = "int8"
"""The precision whose matrix products take 8-bit weights and 8-bit activations."""
PRECISIONS = ("fp32", "fp16", "int8", "int8-weights", "int4-weights")
_REDO = "export the bundle again with 'wall-edge export'"
_DATA_BYTES = 64 << 30
"""Of one graph's weights: the largest published model has 16 GB in float32."""


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
    """Whose words the prompts are in (``wall_edge.prompt.Wording``); bundles before it had but one."""

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


Status = tuple[int, int, int, int, int]


class Bundle:
    """An opened bundle; every file has been checked against its digest.

    Raises :class:`BundleError` naming the file that is missing, damaged or of another format version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._checked: dict[str, Status] = {}
        self._digests = {MANIFEST: _read_digest(folder)}
        self.manifest = _load_manifest(self._read(MANIFEST, YAML_BYTES), shown(folder / MANIFEST))
        self._digests |= self.manifest.files
        graphs = self.manifest.graphs.values()
        needed = [TOKENIZER, GOLDENS, *(graph.file for graph in graphs), *(graph.data for graph in graphs)]
        needed += [name for name in (self.manifest.head_tokens,) if name is not None]
        needed += [FAST_TOKENIZER] if self.manifest.fast is not None else []
        for name in needed:
            self.path(name)  # nothing runs whose digest was not checked
        for name, graph in self.manifest.graphs.items():  # what it says of its weights bounds their size
            content, where = self._read(graph.file, ARRAY_BYTES), shown(folder / graph.file)
            inputs = check_graph(content, graph, self._size(graph.data), where)
            if name == "vision" and inputs != list(self.manifest.cameras):
                # The prompt names the cameras in the manifest's order, the graph joins them in its own.
                cameras = ", ".join(self.manifest.cameras)
                raise BundleError(f"{where}: frames of {', '.join(inputs)}", expected=cameras, fix=_REDO)
        for name in self.manifest.files:
            if name not in self._checked:
                self._check(name)

    def path(self, name: str) -> Path:
        """A file of the bundle that the manifest lists."""
        if name not in self.manifest.files:
            raise BundleError(f"{shown(self.folder)}: file {shown(name)} is not in the manifest", fix=_REDO)
        return self.folder / name

    def require_unchanged(self, *names: str) -> None:
        """Raise :class:`BundleError` unless these files still are what was checked; all of them by default.

        Libraries open files by name: asked after they have, it says that they read what the digest is of.
        """
        for name in names or self._checked:
            try:
                found = _status(os.stat(self.folder / name))  # noqa: PTH116 - one name for file and descriptor
            except OSError:
                found = None
            if found != self._checked[name]:
                raise BundleError(
                    f"{shown(self.folder / name)}: replaced or written to while it was being read",
                    expected="a bundle that nobody writes to",
                    fix="try again when the copy or the export is done",
                )

    @cached_property
    def goldens(self) -> dict[str, npt.NDArray[Any]]:
        """Golden inputs and outputs by name; no pickled objects are read."""
        arrays = read_arrays(self.path(GOLDENS), BundleError, fix=_REDO)
        self.require_unchanged(GOLDENS)
        return arrays

    def _size(self, name: str) -> int:
        with open_regular(self.folder / name, BundleError, _DATA_BYTES, _REDO) as file:
            return os.fstat(file.fileno()).st_size

    def _read(self, name: str, limit: int) -> bytes:
        """A file's bytes, which have the digest that they should have."""
        return self._check(name, limit, keep=True)

    def _check(self, name: str, limit: int = _DATA_BYTES, *, keep: bool = False) -> bytes:
        path, digest, kept = self.folder / name, hashlib.sha256(), []
        limit = {TOKENIZER: JSON_BYTES, FAST_TOKENIZER: JSON_BYTES, GOLDENS: ARRAY_BYTES}.get(name, limit)
        with open_regular(path, BundleError, limit, _REDO) as file:
            status = _status(os.fstat(file.fileno()))
            for block in _blocks(file, path):
                digest.update(block)
                kept += [block] if keep else []
            if _status(os.fstat(file.fileno())) != status:
                raise BundleError(f"{shown(path)}: written to while it was being read", fix="try again")
        found, wanted = digest.hexdigest(), self._digests[name]
        if found != wanted:
            raise BundleError(
                f"{shown(path)}: damaged, SHA-256 {found[:12]}…",
                expected=f"{wanted[:12]}…",
                fix=f"copy it again or {_REDO}",
            )
        self._checked[name] = status
        return b"".join(kept)


def _blocks(file: BinaryIO, path: Path) -> Iterator[bytes]:
    try:
        while block := file.read(1 << 20):
            yield block
    except OSError as error:
        raise BundleError(
            f"{shown(path)}: {error.strerror}", expected="a readable file", fix=_REDO
        ) from error


def _status(status: os.stat_result) -> Status:
    """What changes when a file is replaced or written to."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def file_digest(*paths: Path) -> str:
    """SHA-256 over the files' bytes, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with open_regular(path, BundleError, _DATA_BYTES) as file:
            for block in _blocks(file, path):
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
        path = folder / MANIFEST
        text = read_bytes(path, BundleError, YAML_BYTES).decode(errors="replace")
        manifest = parse_yaml(text, shown(path), BundleError)
        known = {MANIFEST, DIGEST, *manifest["files"]}
        return "format_version" in manifest and {path.name for path in folder.iterdir()} <= known
    except (BundleError, OSError, KeyError, TypeError):
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


def _read_digest(folder: Path) -> str:
    """The digest in ``manifest.sha256``, which holds exactly what ``sha256sum`` would write."""
    if not os.path.exists(folder / MANIFEST):  # noqa: PTH110 - says no to names that no file can have
        raise BundleError(f"{shown(folder)}: no {MANIFEST}", expected="a bundle folder", fix=_REDO)
    path = folder / DIGEST
    text = read_bytes(path, BundleError, 4096, _REDO).decode(errors="replace")
    found = re.fullmatch(rf"([0-9a-f]{{64}})  {re.escape(MANIFEST)}\n", text)
    if found is None:
        raise BundleError(f"{shown(path)}: damaged", expected=f"a SHA-256 and the name {MANIFEST}", fix=_REDO)
    return found[1]


def _load_manifest(content: bytes, where: str) -> Manifest:
    try:
        data = parse_yaml(content.decode(), where, BundleError)
    except UnicodeDecodeError:
        raise BundleError(f"{where}: not UTF-8 text", expected="a manifest", fix=_REDO) from None
    version = data.get("format_version") if isinstance(data, dict) else None
    if version != FORMAT_VERSION or isinstance(version, bool):
        raise BundleError(
            f"{where}: format version {shown(version, 60)}", expected=str(FORMAT_VERSION), fix=_REDO
        )
    return from_mapping(Manifest, data, where, BundleError)


def _plain(value: Any) -> Any:
    """Tuples as lists, so that plain YAML can hold them."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
