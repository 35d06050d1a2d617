"""What a manifest says of a graph file: its tensors, in order, and its precision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from wall_edge.checks import between, counted, one_of, require_file_name, require_name, require_names
from wall_edge.config_loader import Invalid

MAX_SIZE = 1 << 24
"""Of one axis of a tensor: a vocabulary has 2^18 rows."""

INT8 = "int8"
"""The precision whose matrix products take 8-bit weights and 8-bit activations."""
PRECISIONS = ("fp32", "fp16", "bf16", "int8", "int8-weights", "int4-weights")
ElementType = Literal["float32", "float16", "bfloat16", "int64", "int32", "int8", "uint8", "bool"]
"""What a tensor's elements are; numpy has no bfloat16."""
ONNX_TYPES: dict[int, ElementType] = {
    1: "float32",
    2: "uint8",
    3: "int8",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    16: "bfloat16",
}
"""By their numbers in ONNX (``TensorProto.DataType``)."""


@dataclass(frozen=True)
class TensorSpec:
    """A graph's input or output; a name in ``shape`` is a dynamic axis."""

    shape: tuple[int | str, ...]
    dtype: ElementType

    def __post_init__(self) -> None:
        counted("shape", self.shape, 0, 8)
        for i, axis in enumerate(self.shape):
            if isinstance(axis, str):
                require_name(f"shape[{i}]", axis)
            else:
                between(f"shape[{i}]", axis, 1, 1 << 31)


Tensors = dict[str, TensorSpec]


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


Graphs = Mapping[str, GraphSpec]
GraphTensors = dict[str, tuple[Tensors, Tensors]]
"""Inputs and outputs, by graph."""


def axis_size(graphs: Graphs, graph: str, tensor: str, axis: int, rank: int) -> int:
    """A size that only the manifest knows, of one of a tensor's ``rank`` axes; raises :class:`Invalid`."""
    spec = {**graphs[graph].inputs, **graphs[graph].outputs}.get(tensor)
    shape = spec.shape if spec is not None else ()
    size = shape[axis] if len(shape) == rank else ""
    if not isinstance(size, int) or not 1 <= size <= MAX_SIZE:
        raise Invalid(f"graphs.{graph}", list(shape), expected=f"a tensor {tensor} of {rank} axes")
    return size
