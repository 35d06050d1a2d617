"""The devices that engines are built for, ``engines/targets/*.yaml``; and whatever GPU is at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from wall_edge.checks import between, counted, one_of, require_name, require_names, require_text
from wall_edge.config_loader import Invalid, from_mapping, read_yaml
from wall_edge.errors import ConfigError
from wall_edge.files import shown
from wall_edge_engines.cuda.driver import DeviceFacts

ELEMENT_TYPES = ("fp32", "fp16", "bf16", "int8", "int4", "fp8", "nvfp4")
NO_TARGET = "gpu"
"""The name of a GPU that no file describes."""
SUFFIX = ".yaml"
_LEAST_MEASURED = 1e-6
"""1 kB or 1 million operations a second: below, a time is no number that JSON can hold."""
_SAME_MEMORY = 0.2
"""A GPU tells less memory than it was sold with: 61.4 GiB of an AGX Orin's 64."""


@dataclass(frozen=True)
class Ceiling:
    """How fast something can be: by the data sheet (dense), and as somebody measured it.

    ``measured``: the least and the largest figure, the same twice where there is one; empty where nobody did.
    A source says where a figure comes from, or why there is none.
    """

    theoretical: float | None
    theoretical_source: str
    measured: tuple[float, ...]
    measured_source: str

    def __post_init__(self) -> None:
        between("theoretical", self.theoretical, 0.1, 1e6)
        if len(self.measured) not in (0, 2) or list(self.measured) != sorted(self.measured):
            raise Invalid("measured", list(self.measured), expected="the least and the largest, or nothing")
        for i, figure in enumerate(self.measured):
            between(f"measured[{i}]", figure, _LEAST_MEASURED, 1e6)
        for name in ("theoretical_source", "measured_source"):
            require_text(name, getattr(self, name), 400)
            if not getattr(self, name):
                raise Invalid(name, "", expected="where the figure comes from, or why there is none")


@dataclass(frozen=True)
class Target:
    """A device. ``sm``: ten times its compute capability, none for a processor; ``multiprocessors``: how many
    SMs it has."""

    name: str
    title: str
    sm: int | None
    multiprocessors: int | None
    memory_gib: float | None
    """As sold; none for a target that stands for no device."""
    integrated: bool
    """Whether the GPU shares the host's memory."""
    element_types: tuple[str, ...]
    recipes: tuple[str, ...]
    """To export with, the best first."""
    bandwidth_gb_s: Ceiling
    fp32_tflops: Ceiling
    bf16_tflops: Ceiling
    """Of fp16 too."""
    int8_tops: Ceiling
    notes: tuple[str, ...] = ()

    @property
    def memory_bytes(self) -> int | None:
        return None if self.memory_gib is None else int(self.memory_gib * (1 << 30))

    @property
    def kind(self) -> str:
        """What it is in a word: ``SM87``, or a processor."""
        return "a processor" if self.sm is None else f"SM{self.sm}"

    def __post_init__(self) -> None:
        require_name("name", self.name)
        require_text("title", self.title, 128)
        between("sm", self.sm, 50, 200)
        between("multiprocessors", self.multiprocessors, 1, 1024)
        between("memory_gib", self.memory_gib, 0.5, 1024, "GiB")
        counted("element_types", self.element_types, 1, len(ELEMENT_TYPES))
        for i, element_type in enumerate(self.element_types):
            one_of(f"element_types[{i}]", element_type, ELEMENT_TYPES)
        counted("recipes", self.recipes, 1, 16)
        require_names("recipes", self.recipes)


def target_folder() -> Path:
    """Where the targets are: beside the package in a checkout, inside it in a wheel."""
    here = Path(__file__).parents[2]
    return here / "targets" if (here / "targets").is_dir() else here.parent / "targets"


@cache
def targets() -> Mapping[str, Target]:
    """Every target by its name. Raises :class:`ConfigError`."""
    return {path.stem: _read(path) for path in sorted(target_folder().glob(f"*{SUFFIX}"))}


def named_target(name: str) -> Target:
    """A target by its name, or by the path of a file as ``wall-edge probe`` writes it (``….yaml``).

    Raises :class:`ConfigError` for a name that no target has, and for a file that describes none.
    """
    if name.endswith(SUFFIX):
        return _read(Path(name))
    if name not in targets():
        expected = f"one of {', '.join(targets())}, or a target's YAML file"
        raise ConfigError(f"target {shown(name, 100)!r}", expected=expected)
    return targets()[name]


def target_of(device: DeviceFacts) -> Target:
    """The target that a GPU is, or one of its own for a GPU that none describes."""
    memory = device.memory_bytes / (1 << 30)
    for target in targets().values():
        sold = target.memory_gib
        if target.sm == device.sm and sold is not None and abs(memory - sold) <= _SAME_MEMORY * sold:
            return target
    nobody = Ceiling(None, "not looked up", (), "nobody measured it")
    types = element_types_of(device.sm)
    return Target(
        name=NO_TARGET,
        title=device.name,
        sm=device.sm,
        multiprocessors=None,
        memory_gib=memory,
        integrated=device.integrated,
        element_types=types,
        recipes=("bf16",) if "bf16" in types else ("fp32",),
        bandwidth_gb_s=nobody,
        fp32_tflops=nobody,
        bf16_tflops=nobody,
        int8_tops=nobody,
    )


def element_types_of(sm: int) -> tuple[str, ...]:
    """What products a compute capability computes or reads weights in.

    Source: the hardware tables of docs.nvidia.com, "TensorRT Support Matrix" and "TensorRT-RTX Support
    Matrix" (7.5 has neither bf16 nor weight-only products).
    """
    first = {"fp32": 50, "fp16": 53, "bf16": 80, "int8": 80, "int4": 80, "fp8": 89, "nvfp4": 100}
    return tuple(name for name in ELEMENT_TYPES if sm >= first[name])


def _read(path: Path) -> Target:
    data = read_yaml(path)
    if not isinstance(data, dict):
        raise ConfigError(f"{shown(path)}: no target", expected="a mapping (key: value)")
    return from_mapping(Target, {"name": path.stem, **data}, shown(path))
