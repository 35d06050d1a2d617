"""One inventory of a model's weights, made in one pass over its modules.

Which graphs a weight goes into, which layer family a recipe finds it in, which layers share its input: what
graphs, precision, calibration, rewriting, memory estimates and intake ask. It follows from where the module
is, and never from a piece of a name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from torch import nn

from wall_edge_export.model.action_head import ActionHead
from wall_edge_export.model.decoder import Attention, Decoder, DecoderLayer
from wall_edge_export.model.layers import AdaptiveRMSNorm, ByExpert, SwiGLU
from wall_edge_export.model.shapes import ACTION_EXPERT, TEXT_EXPERT
from wall_edge_export.model.vision import PatchMerger, VisionAttention, VisionBlock, VisionTower
from wall_edge_export.model.wall import WallModel

Family = Literal[
    "patch_embed", "attention", "mlp", "merger", "embedding", "qkv", "o", "action_head", "lm_head"
]
Part = Literal["vision", "decoder"]


@dataclass(frozen=True)
class Weight:
    """What is known of one of the checkpoint's tensors."""

    name: str
    shape: tuple[int, ...]
    graphs: tuple[str, ...]
    """The graphs that hold it, in order; ``guided`` holds what ``expert`` does."""
    part: Part
    """Whose activations lie around it."""
    exact: bool
    """Whether it is float32 in every recipe."""
    layer: Family | None
    """The layer family that it belongs to; None for norms, whose matrices have the type of what is around
    them."""
    matrix: bool
    """Whether it multiplies, or is a table: of a layer family, a recipe says what becomes of it."""
    input_group: str | None
    """The name of the input that it is multiplied with: layers that read the same one share it."""
    expert: int | None
    """The expert that has it to itself; None where all tokens use it."""
    residual: bool
    """Whether its product is added to the residual stream."""

    @property
    def family(self) -> Family | None:
        """The layer family that a recipe finds it in; None for norms and biases."""
        return self.layer if self.matrix else None


Inventory = Mapping[str, Weight]
"""By name, in the order of the model's state."""


@dataclass(frozen=True)
class _Said:
    """What a module says of one of its children, and so of all weights below it; None leaves it as it is."""

    graphs: tuple[str, ...] | None = None
    part: Part | None = None
    exact: bool | None = None
    family: Family | None = None
    shares: str | None = None
    """The name of the input that it reads beside its siblings."""
    residual: bool | None = None


_VISION = _Said(("vision",), "vision", exact=False)
_PREFIX, _EXPERT = ("prefix",), ("expert", "guided")
_NORM, _HEAD = _Said(exact=True), _Said(family="action_head")
_QKV, _O = _Said(family="qkv", shares="qkv_input"), _Said(family="o", residual=True)
_GATE_UP = _Said(family="mlp", shares="mlp_input")
_SAID: Mapping[type[nn.Module], Mapping[str, _Said]] = {
    WallModel: {
        "visual": _VISION,
        "model": _Said((*_PREFIX, *_EXPERT), "decoder", exact=False),
        "lm_head": _Said(("lm_head",), "decoder", exact=False, family="lm_head"),
        "action_preprocessor": _Said(_EXPERT, "decoder", exact=True),
    },
    VisionTower: {"patch_embed": _Said(family="patch_embed")},
    VisionBlock: {"norm1": _NORM, "norm2": _NORM},
    VisionAttention: {"qkv": _Said(family="attention"), "proj": _Said(family="attention", residual=True)},
    PatchMerger: {"ln_q": _NORM, "mlp": _Said(family="merger")},
    SwiGLU: {"gate_proj": _GATE_UP, "up_proj": _GATE_UP, "down_proj": _Said(family="mlp", residual=True)},
    Decoder: {"embed_tokens": _Said(_PREFIX, family="embedding"), "norm": _NORM, "norms": _NORM},
    DecoderLayer: dict.fromkeys(
        (
            f"{name}{suffix}"
            for name in ("input_layernorm", "post_attention_layernorm")
            for suffix in ("", "s")
        ),
        _NORM,
    ),
    Attention: {
        **dict.fromkeys((f"{name}_proj{suffix}" for name in "qkv" for suffix in ("", "_experts")), _QKV),
        **dict.fromkeys(("o_proj", "o_proj_experts"), _O),
    },
    ActionHead: {
        **dict.fromkeys(("w1", "w2", "w3", "action_proj_back", "time_mlp_in", "time_mlp_out"), _HEAD),
        "propri_proj": _Said(_PREFIX, family="action_head"),
    },
    AdaptiveRMSNorm: {"dense": _Said(exact=False)},
}
_OF_EXPERT = {TEXT_EXPERT: _PREFIX, ACTION_EXPERT: _EXPERT}


@dataclass(frozen=True)
class _Place:
    """What the modules above one say of the weights in it."""

    graphs: tuple[str, ...] = ()
    part: Part = "decoder"
    exact: bool = False
    family: Family | None = None
    shared_input: str | None = None
    expert: int | None = None
    residual: bool = False

    def below(self, module: nn.Module, name: str, child: str) -> _Place:
        """That of a child of ``module``, which is called ``name``."""
        if isinstance(module, ByExpert):
            expert = int(child)
            shared = None if self.shared_input is None else f"{self.shared_input}.{expert}"
            return replace(self, expert=expert, graphs=_OF_EXPERT[expert], shared_input=shared)
        said = _SAID.get(type(module), {}).get(child, _Said())
        return replace(
            self,
            graphs=said.graphs or self.graphs,
            part=said.part or self.part,
            exact=self.exact if said.exact is None else said.exact,
            family=said.family or self.family,
            shared_input=self.shared_input if said.shares is None else f"{name}.{said.shares}",
            residual=self.residual if said.residual is None else said.residual,
        )

    def weight(self, name: str, parameter: nn.Parameter, matrix: bool) -> Weight:
        """A weight here; ``matrix``: of a layer that multiplies, or of a table."""
        group = (self.shared_input or f"{name.removesuffix('weight')}input") if matrix else None
        return Weight(
            name,
            tuple(parameter.shape),
            self.graphs,
            self.part,
            self.exact,
            self.family,
            matrix,
            group,
            self.expert,
            self.residual and matrix,
        )


def inventory(model: WallModel) -> Inventory:
    """Every weight of a model, hollow or not."""
    return {weight.name: weight for weight in _weights(model, "", _Place())}


def of_graph(weights: Inventory, graph: str) -> Inventory:
    """Those that a graph holds."""
    return {name: weight for name, weight in weights.items() if graph in weight.graphs}


def _weights(module: nn.Module, name: str, place: _Place) -> Iterator[Weight]:
    for leaf, parameter in module.named_parameters(recurse=False):
        matrix = leaf == "weight" and isinstance(module, (nn.Linear, nn.Embedding, nn.Conv3d))
        yield place.weight(f"{name}.{leaf}", parameter, matrix)
    for child_name, child in module.named_children():
        inner = f"{name}.{child_name}" if name else child_name
        yield from _weights(child, inner, place.below(module, name, child_name))
