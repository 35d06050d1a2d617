"""What a compiler made of a graph: its list of layers, read for what decides the speed on a device.

The list is what TensorRT-RTX 1.7 logs (:class:`wall_edge_engines.build.compile.Job`, ``layers``); no other
source of it needs no GPU.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

_LAYER = re.compile(r"Name: (?P<name>.*?), LayerType: (?P<kind>\w+), ")
_SOURCE = re.compile(r"\[ONNX Layer: (?P<node>[^\] ]+)")
_PROFILE = re.compile(r"_myl(?P<profile>\d+)_\d+$")
_ATTENTION = re.compile(r"_gem[mv]_mha_v\d+_")
"""A matrix product over scores that never leave the chip: of many tokens, or of one."""
_ON_THE_HOST = ("shape_call",)
_HOST_COPY = "ShapeHostToDevice"
"""A size that goes from the host to the device while it runs, which a CUDA graph cannot capture."""


@dataclass(frozen=True)
class Layer:
    """One launch on the device, or what the host does before; ``nodes`` are the graph's that went into it."""

    name: str
    kind: str
    nodes: tuple[str, ...]

    @property
    def is_attention(self) -> bool:
        return _ATTENTION.match(self.name) is not None


@dataclass(frozen=True)
class Fusion:
    """Of one profile's layers: how many kernels, how many fused attentions among them.

    ``block_kernels``: from one attention to the next, the most; 0 where there are no two.
    """

    kernels: int
    attentions: int
    block_kernels: int
    host_copies: int


def profile_layers(lines: Iterable[str]) -> list[list[Layer]]:
    """The layers in the order in which they run, a list for each profile."""
    profiles: dict[int, list[Layer]] = {}
    for line in lines:
        if match := _LAYER.match(line):
            layer = Layer(match["name"], match["kind"], tuple(_SOURCE.findall(line)))
            number = _PROFILE.search(layer.name)
            profiles.setdefault(int(number["profile"]) if number else 0, []).append(layer)
    return [profiles[number] for number in sorted(profiles)]


def fusion(layers: Sequence[Layer]) -> Fusion:
    """Count what one profile runs."""
    kernels = [layer for layer in layers if layer.kind not in _ON_THE_HOST]
    at = [index for index, layer in enumerate(kernels) if layer.is_attention]
    between = [after - before for before, after in pairwise(at)]
    copies = sum(_HOST_COPY in layer.kind or _HOST_COPY in layer.name for layer in layers)
    return Fusion(len(kernels), len(at), max(between, default=0), copies)


def kernels_until(layers: Sequence[Layer], node: str) -> int:
    """How many kernels run until ``node`` of the graph is computed, its own included.

    Raises :class:`LookupError` when no layer says that it computes it.
    """
    kernels = [layer for layer in layers if layer.kind not in _ON_THE_HOST]
    for count, layer in enumerate(kernels, 1):
        if node in layer.nodes:
            return count
    raise LookupError(node)
