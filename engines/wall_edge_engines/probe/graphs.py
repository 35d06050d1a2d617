"""The graphs that a probe runs: linear layers one behind the other, as a policy's graphs have them.

A layer is ``Gemm(x, W)`` of the graph's type, or, in 8 bits, between QuantizeLinear and DequantizeLinear as
the exporter writes it, with a scale a row and the activations in bfloat16.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from wall_edge.bundle import ElementType, GraphSpec, TensorSpec
from wall_edge_engines.element_types import STORAGE, to_storage
from wall_edge_engines.probe.onnx_encoder import Node, Weight, encode

Kind = Literal["fp32", "bf16", "int8"]
ACTIVATIONS: dict[Kind, ElementType] = {"fp32": "float32", "bf16": "bfloat16", "int8": "bfloat16"}
KINDS: tuple[Kind, ...] = ("fp32", "bf16", "int8")
INPUT, OUTPUT = "x", "y"
_ALIGNED = 4096
_BLOCK = 1 << 22
"""Random bytes that weights repeat: making as many as a cache does not hold takes seconds."""


@dataclass(frozen=True)
class Layers:
    """``count`` products of ``[rows, inner]`` with weights ``[outer, inner]``; square ones where several."""

    kind: Kind
    rows: int
    inner: int
    outer: int
    count: int = 1

    @property
    def operations(self) -> int:
        return 2 * self.rows * self.inner * self.outer * self.count

    @property
    def weight_bytes(self) -> int:
        width = 1 if self.kind == "int8" else STORAGE[ACTIVATIONS[self.kind]].itemsize
        return width * self.inner * self.outer * self.count

    @property
    def name(self) -> str:
        return f"{self.kind}_{self.rows}x{self.inner}x{self.outer}x{self.count}"


def write_graph(folder: Path, layers: Layers) -> GraphSpec:
    """The graph's two files in ``folder``, and what a manifest would say of them."""
    dtype = ACTIVATIONS[layers.kind]
    inputs = {INPUT: TensorSpec((layers.rows, layers.inner), dtype)}
    outputs = {OUTPUT: TensorSpec((layers.rows, layers.outer), dtype)}
    spec = GraphSpec(
        f"{layers.name}.onnx", f"{layers.name}.data", layers.kind, {"mlp": layers.kind}, inputs, outputs
    )
    nodes: list[Node] = []
    with _DataFile(folder / spec.data) as data:
        for number in range(layers.count):
            source = INPUT if number == 0 else f"h{number}"
            target = OUTPUT if number == layers.count - 1 else f"h{number + 1}"
            if layers.kind == "int8":
                source, weight = _rounded(data, nodes, source, layers, number)
            else:
                weight = data.weight(f"w{number}", dtype, (layers.outer, layers.inner))
            nodes.append(Node("Gemm", (source, weight), target, {"transB": 1}))
    (folder / spec.file).write_bytes(encode(nodes, data.weights, spec.data, inputs, outputs))
    return spec


def _rounded(data: _DataFile, nodes: list[Node], source: str, layers: Layers, number: int) -> tuple[str, str]:
    """The layer's input after rounding to 8 bits, and its 8-bit weight with a scale a row."""
    dtype, rows = ACTIVATIONS[layers.kind], (layers.outer,)
    scale = data.constant(f"scale{number}", dtype, (), 0.05)
    zero = data.constant(f"zero{number}", "int8", (), 0)
    stored = data.weight(f"w{number}", "int8", (layers.outer, layers.inner))
    scales = data.constant(f"w{number}.scale", dtype, rows, 0.0005)
    zeros = data.constant(f"w{number}.zero", "int8", rows, 0)
    rounded, back, wide = f"q{number}", f"d{number}", f"w{number}.wide"
    nodes += [
        Node("QuantizeLinear", (source, scale, zero), rounded),
        Node("DequantizeLinear", (rounded, scale, zero), back),
        Node("DequantizeLinear", (stored, scales, zeros), wide, {"axis": 0}),
    ]
    return back, wide


class _DataFile:
    """The file of a graph's weights, written one behind the other."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.weights: list[Weight] = []
        random = np.random.default_rng(0)
        normal = random.standard_normal(_BLOCK // 4) * 0.02
        self._blocks = {
            "float32": to_storage(normal.astype(np.float32), "float32").tobytes(),
            "bfloat16": to_storage(normal.astype(np.float32), "bfloat16").tobytes(),
            "int8": random.integers(-127, 128, _BLOCK, dtype=np.int8).tobytes(),
        }

    def __enter__(self) -> _DataFile:
        self._file = self._path.open("wb")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def weight(self, name: str, dtype: ElementType, shape: tuple[int, ...]) -> str:
        """Random values; small enough that a long chain of layers stays finite."""
        return self._add(name, dtype, shape, self._blocks[dtype])

    def constant(self, name: str, dtype: ElementType, shape: tuple[int, ...], value: float) -> str:
        """The same value everywhere."""
        one = np.array([value], dtype=np.int8 if dtype == "int8" else np.float32)
        return self._add(name, dtype, shape, to_storage(one, dtype).tobytes())

    def _add(self, name: str, dtype: ElementType, shape: Sequence[int], block: bytes) -> str:
        length = int(np.prod(shape, dtype=np.int64)) * STORAGE[dtype].itemsize
        offset = -(-self._file.tell() // _ALIGNED) * _ALIGNED
        self._file.seek(offset)
        for start in range(0, length, len(block)):
            self._file.write(block[: length - start])
        self.weights.append(Weight(name, dtype, tuple(shape), offset, length))
        return name
