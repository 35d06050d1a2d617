"""LoRA adapters of PEFT, merged into the base's weights while they are read, one tensor at a time.

Format and arithmetic are PEFT's (github.com/huggingface/peft, 0.21: ``tuners/lora/layer.py`` and the
documentation's page on checkpoints): ``W + scale · B @ A`` with ``scale`` being ``alpha / r``, or
``alpha / sqrt(r)`` for rsLoRA.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wall_edge.errors import CheckpointError
from wall_edge.loader import from_mapping

from .weights import StoredTensor, read_header, read_json

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."
_FIX = "take the adapter that was trained on this checkpoint"

# What changes the arithmetic in another way, or the base's own weights before training.
_REFUSED = (
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
_PLAIN_INITS = (True, False, None, "gaussian", "eva", "orthogonal")
_LINEAR = re.compile(r"(?P<module>.+)\.lora_(?P<side>[AB])(\.default)?\.weight")
_EMBEDDING = re.compile(r"(?P<module>.+)\.lora_embedding_(?P<side>[AB])(\.default)?")
_WHOLE = re.compile(r"(?P<module>.+?)(\.base_layer|\.modules_to_save(\.default)?)?\.(?P<leaf>weight|bias)")


@dataclass(frozen=True)
class _Config:
    r: int
    lora_alpha: float
    use_rslora: bool = False
    rank_pattern: dict[str, int] = field(default_factory=dict)
    alpha_pattern: dict[str, float] = field(default_factory=dict)


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


class LoraAdapter:
    """The adapter in ``folder`` for a base whose tensors have ``shapes``.

    Raises :class:`CheckpointError` naming what is not supported or does not fit.
    """

    def __init__(self, folder: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.folder, self._shapes = folder, shapes
        where = folder / CONFIG
        raw = read_json(where, "a PEFT adapter's folder")
        self._refuse_unsupported(raw)
        self._config = from_mapping(_Config, raw, str(where), CheckpointError, strict=False)
        stored = self._stored()
        self._whole: dict[str, StoredTensor] = {}
        halves: dict[tuple[str, bool], dict[str, tuple[str, StoredTensor]]] = {}
        for key, tensor in stored.items():
            self._sort(key, tensor, halves)
        self._pairs = {
            f"{module}.weight": self._pair(module, embedding, sides)
            for (module, embedding), sides in halves.items()
        }
        if not self._pairs and not self._whole:
            raise self._wrong("holds no tensors", "lora_A and lora_B of at least one layer")

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

    def _stored(self) -> dict[str, StoredTensor]:
        path = self.folder / WEIGHTS
        if not path.is_file():
            pickled = (self.folder / "adapter_model.bin").is_file()
            fix = "save it again with safe_serialization=True: pickles are not read" if pickled else _FIX
            raise CheckpointError(f"{path}: no such file", expected="the adapter's weights", fix=fix)
        return read_header(path)

    def _refuse_unsupported(self, raw: Mapping[str, Any]) -> None:
        refused = [(key, raw[key]) for key in _REFUSED if raw.get(key)]
        refused += [("peft_type", raw.get("peft_type"))] if raw.get("peft_type") != "LORA" else []
        refused += [("bias", raw["bias"])] if raw.get("bias", "none") != "none" else []
        init = raw.get("init_lora_weights")
        refused += [("init_lora_weights", init)] if init not in _PLAIN_INITS else []
        if refused:
            given = ", ".join(f"{key} {value!r}" for key, value in refused)
            raise CheckpointError(
                f"{self.folder / CONFIG}: {given} is not supported",
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
            if found := pattern.fullmatch(key):
                module = self._base_module(found["module"], "weight", key)
                sides = halves.setdefault((module, pattern is _EMBEDDING), {})
                sides[found["side"]] = (found["module"], tensor)
                return
        found = _WHOLE.fullmatch(key)
        if found is None:
            raise self._wrong(f"tensor {key} matches nothing in the base", "lora_A, lora_B or whole weights")
        leaf = found["leaf"]
        name = f"{self._base_module(found['module'], leaf, key)}.{leaf}"
        if tensor.shape != self._shapes[name]:
            raise self._other_shapes(key, tensor.shape, name)
        self._whole[name] = tensor

    def _base_module(self, module: str, leaf: str, key: str) -> str:
        """The base's own name: adapters are trained on the whole model, LeRobot's policy or the decoder."""
        own = module.removeprefix(_PREFIX)
        for name in (own, own.removeprefix("model."), f"model.{own}"):
            if f"{name}.{leaf}" in self._shapes:
                return name
        raise self._wrong(f"tensor {key} matches nothing in the base", "layers of this checkpoint")

    def _pair(self, module: str, embedding: bool, sides: Mapping[str, tuple[str, StoredTensor]]) -> _Pair:
        missing = {"A", "B"} - set(sides)
        if missing:
            raise self._wrong(f"{module}: lora_{missing.pop()} is missing", "both lora_A and lora_B")
        (stored_name, a), (_, b) = sides["A"], sides["B"]
        config, own = self._config, stored_name.removeprefix(_PREFIX)
        rank = self._match(config.rank_pattern, own, config.r)
        alpha = self._match(config.alpha_pattern, own, config.lora_alpha)
        flat = min(len(a.shape), len(b.shape)) < 2 or math.prod(b.shape[2:]) != 1
        if flat or rank < 1 or (a.shape[0], b.shape[1]) != (rank, rank):
            found = f"{module}: lora_A {list(a.shape)} and lora_B {list(b.shape)}"
            raise self._wrong(found, f"rank {rank} by {CONFIG}")
        pair = _Pair(a, b, alpha / (math.sqrt(rank) if config.use_rslora else rank), embedding)
        if pair.delta_shape() != self._shapes[f"{module}.weight"]:
            raise self._other_shapes(module, pair.delta_shape(), f"{module}.weight")
        return pair

    def _match(self, patterns: Mapping[str, Any], name: str, default: Any) -> Any:
        """PEFT's rule: the first pattern that is the name, or what follows one of its dots."""
        for pattern, value in patterns.items():
            try:
                if re.match(rf"(.*\.)?({pattern})$", name):
                    return value
            except re.error as error:
                raise self._wrong(f"pattern {pattern!r}: {error}", "a regular expression") from error
        return default

    def _other_shapes(self, what: str, found: tuple[int, ...], name: str) -> CheckpointError:
        return self._wrong(
            f"{what} is for {list(found)}: a LoRA for other shapes", f"{list(self._shapes[name])}"
        )

    def _wrong(self, found: str, expected: str) -> CheckpointError:
        return CheckpointError(f"{self.folder}: {found}", expected=expected, fix=_FIX)
