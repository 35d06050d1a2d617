"""Whether a graph is what the ONNX parser of TensorRT 10.3 documents to take: ``parser_10_3.yaml``.

JetPack 6.2's parser cannot run here, and parsers of later versions take more. Strongly typed networks convert
nothing by themselves, so operators' inputs must agree in type. How quantisation must be placed: NVIDIA,
"Working with Quantized Types"; onnx-tensorrt, ``QuantDequantLinearHelper``; NVIDIA/TensorRT#4832 (the type of
a scale is the type that its product is computed in).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from wall_edge.bundle import GraphSpec
from wall_edge.bundle.graphs.wire import Damaged
from wall_edge.config_loader import from_mapping, read_yaml
from wall_edge.errors import BundleError
from wall_edge_engines.build.check.onnx_file import TYPES, Constant, Node, OnnxGraph, read_graph

PROVES = (
    "The lint holds operators, opset, types and quantisation against what TensorRT 10.3's parser documents"
    " to take. It does not show that 10.3 builds the graphs, how fast they are, or what they compute."
)
_ONE_TYPE = (
    *("Add", "Sub", "Mul", "Div", "Pow", "MatMul", "Gemm", "Concat", "Max", "Min", "Sum", "Clip"),
    *("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Xor"),
)
"""Operators whose inputs have one type, as the last two of a Where do."""
_TO_BOOL = (
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "And",
    "Or",
    "Xor",
    "Not",
    "IsNaN",
    "IsInf",
)
_TO_INT64 = ("Shape", "Size", "ArgMax", "ArgMin", "NonZero")
_PRODUCTS = ("Gemm", "MatMul")
_QUANTISE, _DEQUANTISE = "QuantizeLinear", "DequantizeLinear"


@dataclass(frozen=True)
class _Operators:
    types: tuple[str, ...]
    names: tuple[str, ...]


@dataclass(frozen=True)
class Parser:
    """What a parser takes, and who says so."""

    source: str
    version: str
    opsets: tuple[int, int]
    int4_opset: int
    operators: tuple[_Operators, ...]
    constant_inputs: dict[str, tuple[int, ...]]

    def types(self, op_type: str) -> tuple[str, ...]:
        """What an operator computes with; nothing for one that the parser lacks."""
        return next((group.types for group in self.operators if op_type in group.names), ())


@cache
def parser_10_3() -> Parser:
    """TensorRT 10.3's."""
    path = Path(__file__).with_name("parser_10_3.yaml")
    return from_mapping(Parser, read_yaml(path), path.name)


def lint(folder: Path, spec: GraphSpec) -> list[str]:
    """What TensorRT 10.3 is not documented to take of a bundle's graph, a line each. Raises BundleError."""
    try:
        graph = read_graph((folder / spec.file).read_bytes())
        return list(_Lint(graph, spec, folder / spec.data).problems())
    except Damaged as problem:
        raise BundleError(f"{spec.file}: {problem}", expected="a graph that was exported") from None


class _Lint:
    def __init__(self, graph: OnnxGraph, spec: GraphSpec, data: Path) -> None:
        self._graph, self._data, self._parser = graph, data, parser_10_3()
        self._types: dict[str, str] = {name: tensor.dtype for name, tensor in spec.inputs.items()}
        self._types |= {name: constant.dtype for name, constant in graph.constants.items()}
        self._makers = {output: node for node in graph.nodes for output in node.outputs}
        self._readers: dict[str, list[Node]] = {}
        for node in graph.nodes:
            for name in node.inputs:
                self._readers.setdefault(name, []).append(node)

    def problems(self) -> Iterator[str]:
        yield from self._opset()
        for node in self._graph.nodes:
            self._types |= dict.fromkeys(node.outputs, self._output_type(node))
            problems = (*self._types_of(node), *self._constants_of(node), *self._quantisation_of(node))
            yield from (f"{node.op_type} {node.name}: {problem}" for problem in problems)

    def _opset(self) -> Iterator[str]:
        least, most = self._parser.opsets
        if "int4" in self._types.values():
            most = self._parser.int4_opset
        if not least <= self._graph.opset <= most:
            yield f"opset {self._graph.opset}: the parser takes {least} to {most}"

    def _output_type(self, node: Node) -> str:
        if node.op_type == "Cast":
            return TYPES.get(node.attributes["to"], "another type")
        if node.op_type in _TO_BOOL:
            return "bool"
        if node.op_type in _TO_INT64:
            return "int64"
        if node.op_type == _QUANTISE:
            return self._type(node.inputs[2]) if len(node.inputs) > 2 else "int8"
        if node.op_type == "ConstantOfShape":
            return node.tensor.dtype if node.tensor is not None else "float32"
        if not node.inputs:
            return node.tensor.dtype if node.tensor is not None else "no type"
        return self._type(node.inputs[1 if node.op_type in ("Where", _DEQUANTISE) else 0])

    def _type(self, name: str) -> str:
        return self._types.get(name, "no type")

    def _types_of(self, node: Node) -> Iterator[str]:
        allowed = self._parser.types(node.op_type)
        if not allowed:
            yield "the parser has no such operator"
            return
        several = node.op_type in _ONE_TYPE or node.op_type == "Where"
        inputs = [self._type(name) for name in (node.inputs if several else node.inputs[:1]) if name]
        if odd := sorted(set(inputs) - set(allowed)):
            yield f"computes with {', '.join(odd)}, the parser takes {', '.join(allowed)}"
        types = sorted(set(inputs[1:] if node.op_type == "Where" else inputs))
        if len(types) > 1:
            yield f"its inputs are {' and '.join(types)}; nothing is converted by itself"

    def _constants_of(self, node: Node) -> Iterator[str]:
        for index in self._parser.constant_inputs.get(node.op_type, ()):
            if index < len(node.inputs) and node.inputs[index] not in self._graph.constants:
                yield f"input {index} must be a constant"

    def _quantisation_of(self, node: Node) -> Iterator[str]:
        if node.op_type not in (_QUANTISE, _DEQUANTISE):
            return
        scale = self._graph.constants.get(node.inputs[1])
        if scale is None:
            yield "its scale must be a constant"
            return
        yield from self._scale_values(scale)
        if len(node.inputs) > 2:
            yield from self._zero_point(node.inputs[2], scale)
        weight = self._graph.constants.get(node.inputs[0])
        if node.op_type == _DEQUANTISE and weight is not None:
            yield from _weight_scales(node, weight, scale)
        else:
            yield from self._activation(node, scale)

    def _scale_values(self, scale: Constant) -> Iterator[str]:
        stored = scale.content(self._data)
        if scale.dtype == "bfloat16":
            values = (np.frombuffer(stored, "<u2").astype(np.uint32) << 16).view(np.float32)
        elif scale.dtype in ("float16", "float32"):
            values = np.frombuffer(stored, "<f2" if scale.dtype == "float16" else "<f4").astype(np.float32)
        else:
            yield f"its scale is {scale.dtype}"
            return
        if not (values.size and (values > 0).all() and np.isfinite(values).all()):
            yield "its scales must be positive"

    def _zero_point(self, name: str, scale: Constant) -> Iterator[str]:
        zero = self._graph.constants.get(name)
        if zero is None or zero.dtype != "int8" or any(zero.content(self._data)):
            yield "its zero point must be a constant int8 0"
        elif zero.count != scale.count:
            yield f"it has {scale.count} scales and {zero.count} zero points"

    def _activation(self, node: Node, scale: Constant) -> Iterator[str]:
        if scale.count != 1:
            yield "what is not a weight has one scale"
        if node.op_type == _QUANTISE:
            if odd := self._other_readers(node, _DEQUANTISE):
                yield f"only DequantizeLinear may follow, not {odd}"
        elif odd := self._other_readers(node, *_PRODUCTS):
            yield f"only products may follow, not {odd}: around anything else it costs time"
        elif not all(
            self._of_weight(name) for reader in self._readers_of(node) for name in reader.inputs[1:2]
        ):
            yield "the product's weight must be 8 bits too"

    def _of_weight(self, name: str) -> bool:
        maker = self._makers.get(name)
        return maker is not None and maker.op_type == _DEQUANTISE and maker.inputs[0] in self._graph.constants

    def _readers_of(self, node: Node) -> list[Node]:
        return self._readers.get(node.outputs[0], [])

    def _other_readers(self, node: Node, *op_types: str) -> str:
        return ", ".join(sorted({r.op_type for r in self._readers_of(node)} - set(op_types)))


def _weight_scales(node: Node, weight: Constant, scale: Constant) -> Iterator[str]:
    """A scale a tensor, a channel, or a block along one axis of a matrix."""
    axis = node.attributes.get("axis", 1)
    if weight.dtype == "int4" and weight.shape[-1] % 2:
        yield "4-bit weights need an even last axis"
    if node.attributes.get("block_size"):
        ratios = [size / blocks for size, blocks in zip(weight.shape, scale.shape, strict=False)]
        whole = len(weight.shape) == len(scale.shape) == 2 and all(ratio.is_integer() for ratio in ratios)
        if not whole or min(ratios) != 1:
            yield f"scales {list(scale.shape)} of weights {list(weight.shape)}: no blocks along one axis"
    elif scale.count != 1 and list(scale.shape) != [weight.shape[axis]]:
        yield f"{scale.count} scales for {weight.shape[axis]} channels"
