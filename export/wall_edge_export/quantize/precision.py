"""Precision as data: which layer family of which graph is stored and computed how.

A recipe (``export/recipes/*.yaml``, or a file of one's own) names a precision for every family:

================  ==========================================================================================
``fp32``          float32
``fp16``          weights and products in half precision
``bf16``          weights and products in bfloat16: float32's range, which fp16 lacks, with 8 bits of mantissa
``int8``          8-bit weights (symmetric, per output channel) and 8-bit activations (symmetric, calibrated,
                  smoothed as in SmoothQuant, arXiv 2211.10438); needs calibration data
``int8-weights``  8-bit weights (symmetric, per output channel), float products
``int4-weights``  4-bit weights in blocks along the input (GPTQ, arXiv 2210.17323), float products; needs
                  calibration data
================  ==========================================================================================

The family ``activations`` (fp32, fp16 or bf16) is the type of what lies between the products: biases,
residuals, attention, keys/values, image tokens and hidden states, and of the scales of quantised weights,
whose products are computed in it. The decoder's graphs hand over keys/values, so they agree. In every recipe
float32 are: norms, rotary angles, the action head, logits, and the graph ``guided``. The matrices of adaptive
norms have the activations' type.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from wall_edge.bundle import INT8, ElementType
from wall_edge.config_loader import Invalid, from_mapping, read_yaml
from wall_edge.errors import ConfigError
from wall_edge_export.model.inventory import Weight
from wall_edge_export.onnx.graphs import GRAPHS, GUIDED, Activations

Float = Literal["fp32", "fp16", "bf16"]
Weights = Literal["fp32", "fp16", "bf16", "int8-weights"]
Precision = Literal["fp32", "fp16", "bf16", "int8", "int8-weights", "int4-weights"]

FP32, FP16, BF16, INT8_WEIGHTS, INT4_WEIGHTS = "fp32", "fp16", "bf16", "int8-weights", "int4-weights"
BITS = {FP32: 32, FP16: 16, BF16: 16, INT8: 8, INT8_WEIGHTS: 8, INT4_WEIGHTS: 4}
ELEMENT_TYPES: dict[str, ElementType] = {FP32: "float32", FP16: "float16", BF16: "bfloat16"}
"""Of the precisions that are a type."""
ACTIVATIONS, ACTION_HEAD = "activations", "action_head"
"""Families that hold no weights, or none that a recipe changes."""
CALIBRATED = (INT8, INT4_WEIGHTS)
INT4_BLOCKS = (64, 32, 16)
"""Weights along the input that share a scale. TensorRT has 4-bit kernels for blocks of 64 and 128 (NVIDIA,
"Quantization Schemes"); where 64 does not divide the inputs, the smaller blocks run in ONNX Runtime only."""


@dataclass(frozen=True)
class VisionFamilies:
    patch_embed: Float
    attention: Precision
    mlp: Precision
    merger: Precision
    activations: Float = "fp32"


@dataclass(frozen=True)
class PrefixFamilies:
    embedding: Float
    qkv: Precision
    o: Precision
    mlp: Precision
    action_head: Literal["fp32"] = "fp32"
    activations: Float = "fp32"


@dataclass(frozen=True)
class HeadFamilies:
    lm_head: Weights
    activations: Float = "fp32"


@dataclass(frozen=True)
class ExpertFamilies:
    qkv: Precision
    o: Precision
    mlp: Precision
    action_head: Literal["fp32"] = "fp32"
    activations: Float = "fp32"


@dataclass(frozen=True)
class Recipe:
    """One precision a layer family, graph by graph."""

    name: str
    vision: VisionFamilies
    prefix: PrefixFamilies
    lm_head: HeadFamilies
    expert: ExpertFamilies

    def __post_init__(self) -> None:
        for graph in ("expert", "lm_head"):
            if self.families(graph)[ACTIVATIONS] != self.prefix.activations:
                raise Invalid(
                    f"{graph}.{ACTIVATIONS}",
                    self.families(graph)[ACTIVATIONS],
                    expected=f"{self.prefix.activations} as in prefix, whose keys/values it reads",
                )

    @property
    def activations(self) -> Activations:
        """The types between the products."""
        return Activations(*(ELEMENT_TYPES[part.activations] for part in (self.vision, self.prefix)))

    def families(self, graph: str) -> dict[str, str]:
        """Family → precision of one graph; ``guided`` is the expert in float32: rounding has no gradient."""
        if graph == GUIDED:
            return dict.fromkeys(asdict(self.expert), FP32)
        return asdict(getattr(self, graph))

    def precision(self, graph: str, weight: Weight) -> str | None:
        """What a weight is in one of its graphs; None for those of norms and biases, which have no family."""
        return None if weight.family is None else self.families(graph)[weight.family]

    def as_dict(self) -> dict[str, object]:
        """As plain data, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Recipe:
        """What :meth:`as_dict` gave, or a recipe file's content and its name."""
        return from_mapping(cls, data, "recipe", ConfigError)

    def calibrated(self, graphs: Sequence[str] = ("vision", "prefix", "lm_head", "expert")) -> bool:
        """Whether some family of these graphs cannot be quantised without calibration data."""
        return any(precision in CALIBRATED for graph in graphs for precision in self.families(graph).values())

    def with_family(self, graph: str, family: str, precision: str) -> Recipe:
        """A copy with one family changed."""
        return Recipe.from_dict({**asdict(self), graph: {**self.families(graph), family: precision}})


def int4_block(weight: str, columns: int) -> int:
    """The block size of a 4-bit weight with ``columns`` inputs; raises :class:`ConfigError`.

    Blocks must divide the inputs: TensorRT infers the size from the number of scales.
    """
    for block in INT4_BLOCKS:
        if columns % block == 0:
            return block
    raise ConfigError(
        f"tensor {weight} with {columns} inputs in {INT4_WEIGHTS}",
        expected=f"a multiple of {INT4_BLOCKS[-1]} inputs",
        fix=f"put this layer family in {INT8_WEIGHTS}",
    )


def summary(families: Mapping[str, str]) -> str:
    """A graph's precision in a word: its families' precisions, lowest first, without the action head's."""
    used = {precision for name, precision in families.items() if name != ACTION_HEAD}
    return "+".join(sorted(used, key=lambda precision: (BITS[precision], precision)))


def recipe_folder() -> Path:
    """Where the recipes are: beside the package in a checkout, inside it in a wheel."""
    here = Path(__file__).parents[1]
    return here / "recipes" if (here / "recipes").is_dir() else here.parent / "recipes"


def recipe_names() -> list[str]:
    """The recipes that come with wall-edge."""
    return sorted(path.stem for path in recipe_folder().glob("*.yaml"))


def load_recipe(name: str) -> Recipe:
    """A recipe by name, or from a YAML file; raises :class:`ConfigError`."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else recipe_folder() / f"{name}.yaml"
    if not path.is_file():
        raise ConfigError(
            f"precision {name!r}",
            expected=f"auto, one of {', '.join(recipe_names())}, or a recipe's YAML file",
        )
    return from_mapping(Recipe, {"name": path.stem, **_mapping(path)}, str(path), ConfigError)


def _mapping(path: Path) -> dict[str, object]:
    loaded = read_yaml(path, ConfigError)
    if not isinstance(loaded, dict) or "name" in loaded:
        raise ConfigError(
            f"{path}: no recipe", expected=f"the graphs {', '.join(GRAPHS)} with their families"
        )
    return loaded
