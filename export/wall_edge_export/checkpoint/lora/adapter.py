"""LoRA adapters of PEFT, merged into the base's weights while they are read, one tensor at a time.

Format and arithmetic are PEFT's (github.com/huggingface/peft, 0.21: ``tuners/lora/layer.py`` and the
documentation's page on checkpoints): ``W + scale · B @ A`` with ``scale`` being ``alpha / r``, or
``alpha / sqrt(r)`` for rsLoRA.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from wall_edge.arrays import require_finite
from wall_edge.config_loader import Invalid, from_mapping
from wall_edge.errors import CheckpointError
from wall_edge.files import shown
from wall_edge_export.checkpoint.lora.matching import matches
from wall_edge_export.checkpoint.lora.targets import Targets
from wall_edge_export.checkpoint.names import candidates
from wall_edge_export.checkpoint.tensor_types import refuse_quantised
from wall_edge_export.checkpoint.weights import StoredTensor, read_header, read_json

T = TypeVar("T")

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."
_FIX = "take the adapter that was trained on this checkpoint"
_PIECE = 1 << 24  # values looked at together: whole embeddings in float64 take gigabytes

# What changes the arithmetic in another way, or the base's own weights before training.
_UNSUPPORTED = (
    "use_dora",
    "use_qalora",
    "use_bdlora",
    "lora_bias",
    "fan_in_fan_out",
    "layer_replication",
    "target_parameters",
    "trainable_token_indices",
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "monteclora_config",
    "velora_config",
    "loftq_config",
)
# What says nothing about arithmetic, or only about how training began.
_NEUTRAL = frozenset(
    {
        "peft_type", "peft_version", "task_type", "auto_mapping", "base_model_name_or_path", "revision",
        "inference_mode", "r", "lora_alpha", "lora_dropout", "bias", "use_rslora", "init_lora_weights",
        "target_modules", "exclude_modules", "modules_to_save", "layers_to_transform", "layers_pattern",
        "rank_pattern", "alpha_pattern", "megatron_config", "megatron_core", "eva_config", "corda_config",
        "lora_ga_config", "qalora_group_size", "runtime_config", "ensure_weight_tying",
    }
)  # fmt: skip
_MOST_ALPHA = 1e6
_PLAIN_INITS = (True, False, None, "gaussian", "eva", "orthogonal")
_LINEAR = re.compile(r"(?P<module>.+)\.lora_(?P<side>[AB])(\.default)?\.weight")
_EMBEDDING = re.compile(r"(?P<module>.+)\.lora_embedding_(?P<side>[AB])(\.default)?")
_WHOLE = re.compile(r"(?P<module>.+?)(\.base_layer|\.modules_to_save(\.default)?)?\.(?P<leaf>weight|bias)")


@dataclass(frozen=True)
class _Config:
    r: int
    lora_alpha: float
    use_rslora: bool = False
    rank_pattern: dict[str, int] | None = None
    alpha_pattern: dict[str, float] | None = None

    def __post_init__(self) -> None:
        for alpha in (self.lora_alpha, *(self.alpha_pattern or {}).values()):
            if not 0 < alpha <= _MOST_ALPHA:
                raise Invalid("lora_alpha", alpha, expected=f"more than 0, at most {_MOST_ALPHA:g}")


@dataclass(frozen=True)
class _Pair:
    """``A [r, in]`` and ``B [out, r]`` of one weight; an embedding's product is transposed."""

    a: StoredTensor
    b: StoredTensor
    scale: float
    embedding: bool

    def delta_shape(self) -> tuple[int, ...]:
        out, size = self.b.shape[0], self.a.shape[1:]
        return (*size, out) if self.embedding else (out, *size)

    def add_to(self, weight: Tensor) -> Tensor:
        """The merged weight in float32; kernels of a convolution are flattened as PEFT's product does."""
        a, b = self.a.read().float().flatten(1), self.b.read().float().flatten(1)
        left, right = (a.T, b.T) if self.embedding else (b, a)
        flat = torch.addmm(weight.float().flatten(1), left, right, alpha=self.scale)
        return flat.reshape(weight.shape)


def stored_adapter(folder: Path) -> dict[str, StoredTensor]:
    """The tensors of the adapter in ``folder``, by its own names. Raises :class:`CheckpointError`."""
    path = folder / WEIGHTS
    if not path.is_file():
        pickled = (folder / "adapter_model.bin").is_file()
        fix = "save it again with safe_serialization=True: pickles are not read" if pickled else _FIX
        raise CheckpointError(f"{path}: no such file", expected="the adapter's weights", fix=fix)
    if (folder / f"{WEIGHTS}.index.json").exists():
        what, expected = f"an index of shards beside {WEIGHTS}", "the whole adapter in one file"
        raise CheckpointError(f"{folder}: {what}", expected=expected, fix=_FIX)
    stored = read_header(path)
    refuse_quantised(folder, stored)
    return stored


def adapted_shapes(stored: Mapping[str, StoredTensor]) -> dict[str, tuple[int, ...]]:
    """Shapes of what an adapter of linear layers changes, under every name that it may have in a base."""
    shapes: dict[str, tuple[int, ...]] = {}
    for key, tensor in stored.items():
        shape, leaf = tensor.shape, "weight"
        if match := _LINEAR.fullmatch(key):
            other = stored.get(key.replace(".lora_B.", ".lora_A."))
            if match["side"] == "A" or other is None or not len(shape) == len(other.shape) == 2:
                continue
            shape = (shape[0], other.shape[1])
        elif match := _WHOLE.fullmatch(key):
            leaf = match["leaf"]
        else:
            continue
        shapes |= {f"{name}.{leaf}": shape for name in candidates(match["module"])}
    return shapes


class LoraAdapter:
    """The adapter in ``folder`` for a base whose tensors have ``shapes``; ``stored``: the adapter's tensors.

    Raises :class:`CheckpointError` naming what is not supported or does not fit.
    """

    def __init__(
        self, folder: Path, stored: Mapping[str, StoredTensor], shapes: Mapping[str, tuple[int, ...]]
    ) -> None:
        self.folder, self._shapes = folder, shapes
        where = folder / CONFIG
        raw = read_json(where, "a PEFT adapter's folder")
        self._refuse_unsupported(raw)
        self._config = from_mapping(_Config, raw, str(where), CheckpointError, strict=False)
        targets = from_mapping(Targets, raw, str(where), CheckpointError, strict=False)
        self._whole: dict[str, StoredTensor] = {}
        halves: dict[tuple[str, bool], dict[str, tuple[str, StoredTensor]]] = {}
        for key, tensor in stored.items():
            self._sort(key, tensor, halves)
        self._scales(halves)
        self._pairs = {
            f"{module}.weight": self._pair(module, embedding, sides)
            for (module, embedding), sides in halves.items()
        }
        if not self._pairs and not self._whole:
            raise self._wrong("holds no tensors", "lora_A and lora_B of at least one layer")
        names = {module: next(iter(sides.values()))[0] for (module, _), sides in halves.items()}
        self._require_all_layers(targets, {m: name.removeprefix(_PREFIX) for m, name in names.items()})
        self._require_finite(stored)

    def files(self) -> list[Path]:
        """What the merged weights depend on, beside the base."""
        return [self.folder / CONFIG, self.folder / WEIGHTS]

    def touched(self) -> set[str]:
        """Names of the tensors that the adapter changes."""
        return set(self._pairs) | set(self._whole)

    def merged(self, name: str, base: Callable[[], Tensor]) -> Tensor:
        """The tensor ``name`` with the adapter in it; ``base`` reads the stored one.

        A sum is float32 whatever the base is: a small update would be lost again in bfloat16's 8 bits, and
        training never rounded it either, since it adds the adapter's output to the layer's.
        """
        weight = self._whole[name].read() if name in self._whole else base()
        return self._pairs[name].add_to(weight) if name in self._pairs else weight

    def _refuse_unsupported(self, raw: Mapping[str, Any]) -> None:
        unsupported = [(key, raw[key]) for key in _UNSUPPORTED if raw.get(key)]
        unsupported += [("peft_type", raw.get("peft_type"))] if raw.get("peft_type") != "LORA" else []
        unsupported += [("bias", raw["bias"])] if raw.get("bias", "none") != "none" else []
        init = raw.get("init_lora_weights")
        unsupported += [("init_lora_weights", init)] if init not in _PLAIN_INITS else []
        unsupported += [(k, v) for k, v in raw.items() if v and k not in _NEUTRAL and k not in _UNSUPPORTED]
        if unsupported:
            settings = ", ".join(f"{shown(key, 60)} {shown(repr(value), 60)}" for key, value in unsupported)
            raise CheckpointError(
                f"{self.folder / CONFIG}: {settings} is not supported",
                expected="plain LoRA (or rsLoRA) without trained biases",
                fix="merge the adapter with PEFT's merge_and_unload and export the result",
            )

    def _sort(
        self,
        key: str,
        tensor: StoredTensor,
        halves: dict[tuple[str, bool], dict[str, tuple[str, StoredTensor]]],
    ) -> None:
        """Put a tensor where it belongs: half of a pair, or a whole replacement."""
        for pattern in (_LINEAR, _EMBEDDING):
            if match := pattern.fullmatch(key):
                module = self._base_module(match["module"], "weight", key)
                sides = halves.setdefault((module, pattern is _EMBEDDING), {})
                if match["side"] in sides or (module, pattern is not _EMBEDDING) in halves:
                    raise self._wrong(f"tensor {key}: {module} is there twice", "one adapter of a layer")
                sides[match["side"]] = (match["module"], tensor)
                return
        match = _WHOLE.fullmatch(key)
        if match is None:
            raise self._wrong(f"tensor {key} matches nothing in the base", "lora_A, lora_B or whole weights")
        leaf = match["leaf"]
        name = f"{self._base_module(match['module'], leaf, key)}.{leaf}"
        if tensor.shape != self._shapes[name]:
            raise self._other_shapes(key, tensor.shape, name)
        if name in self._whole:
            raise self._wrong(f"tensor {key}: {name} is there twice", "one of them")
        self._whole[name] = tensor

    def _base_module(self, module: str, leaf: str, key: str) -> str:
        """The base's own name: adapters are trained on the whole model, LeRobot's policy or the decoder."""
        for name in candidates(module):
            if f"{name}.{leaf}" in self._shapes:
                return name
        raise self._wrong(f"tensor {key} matches nothing in the base", "layers of this checkpoint")

    def _pair(self, module: str, embedding: bool, sides: Mapping[str, tuple[str, StoredTensor]]) -> _Pair:
        missing = {"A", "B"} - set(sides)
        if missing:
            raise self._wrong(f"{module}: lora_{missing.pop()} is missing", "both lora_A and lora_B")
        (stored_name, a), (_, b) = sides["A"], sides["B"]
        rank, alpha = self._ranks[stored_name], self._alphas[stored_name]
        flat = min(len(a.shape), len(b.shape)) < 2 or math.prod(b.shape[2:]) != 1
        if flat or rank < 1 or (a.shape[0], b.shape[1]) != (rank, rank):
            what = f"{module}: lora_A {list(a.shape)} and lora_B {list(b.shape)}"
            raise self._wrong(what, f"rank {rank} by {CONFIG}")
        pair = _Pair(a, b, alpha / (math.sqrt(rank) if self._config.use_rslora else rank), embedding)
        if pair.delta_shape() != self._shapes[f"{module}.weight"]:
            raise self._other_shapes(module, pair.delta_shape(), f"{module}.weight")
        return pair

    def _scales(self, halves: Mapping[tuple[str, bool], Mapping[str, tuple[str, StoredTensor]]]) -> None:
        """Rank and alpha by stored name: all names at once, since patterns are matched by a process."""
        names = [next(iter(sides.values()))[0] for sides in halves.values()]
        config = self._config
        self._ranks = self._matched(config.rank_pattern or {}, names, config.r)
        self._alphas = self._matched(config.alpha_pattern or {}, names, config.lora_alpha)

    def _matched(self, patterns: Mapping[str, T], names: Sequence[str], default: T) -> dict[str, T]:
        """PEFT's rule: the first pattern that is the name, or what follows one of its dots."""
        if not patterns:
            return dict.fromkeys(names, default)
        short_names = [name.removeprefix(_PREFIX) for name in names]
        try:
            rows = matches([rf"(.*\.)?({pattern})$" for pattern in patterns], short_names)
        except ValueError as error:
            which = ", ".join(shown(repr(pattern), 60) for pattern in list(patterns)[:3])
            raise self._wrong(f"pattern {which}: {error}", "a regular expression, quick to match") from error
        values = list(patterns.values())
        return {
            name: next((values[i] for i, row in enumerate(rows) if row[column]), default)
            for column, name in enumerate(names)
        }

    def _require_all_layers(self, targets: Targets, names: Mapping[str, str]) -> None:
        """As many layers as were trained; ``names``: the adapter's names of the modules that it holds."""
        try:
            expected = targets.modules(names, self._shapes)
        except ValueError as error:
            raise self._wrong(f"target_modules or exclude_modules: {error}", "quick expressions") from error
        if expected is None:
            return
        if missing := sorted(expected - set(names)):
            what = f"holds {len(names)} of {len(expected)} layers, and not {missing[0]}"
            raise self._wrong(what, f"all that target_modules in {CONFIG} names")
        if strange := sorted(set(names) - expected):
            raise self._wrong(f"holds {strange[0]}", f"only layers that target_modules in {CONFIG} names")

    def _require_finite(self, stored: Mapping[str, StoredTensor]) -> None:
        for name, tensor in stored.items():
            what = f"{self.folder}: tensor {name}"
            for piece in torch.split(tensor.read().flatten(), _PIECE):
                require_finite(
                    piece.double().numpy(), what, CheckpointError, expected="finite weights", fix=_FIX
                )

    def _other_shapes(self, what: str, shape: tuple[int, ...], name: str) -> CheckpointError:
        return self._wrong(
            f"{what} is for {list(shape)}: a LoRA for other shapes", f"{list(self._shapes[name])}"
        )

    def _wrong(self, what: str, expected: str) -> CheckpointError:
        return CheckpointError(f"{self.folder}: {what}", expected=expected, fix=_FIX)
