"""Graphs computed by ONNX Runtime on bytes that play a GPU's memory, in the types that the graph says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from wall_edge_engines.build.check.onnx_file import TensorType, read_graph
from wall_edge_engines.element_types import STORAGE, from_storage, to_storage

from wall_edge.array_types import Array
from wall_edge.bundle import ElementType

_HALVES = ("float16", "bfloat16")


@dataclass(frozen=True)
class Tensor:
    """-1 in ``shape`` is a dynamic axis, whose name is in ``axes``."""

    shape: tuple[int, ...]
    axes: tuple[str, ...]
    dtype: ElementType

    @classmethod
    def of(cls, tensor: TensorType) -> Tensor:
        shape = tuple(-1 if isinstance(axis, str) else axis for axis in tensor.shape)
        axes = tuple(axis if isinstance(axis, str) else "" for axis in tensor.shape)
        return cls(shape, axes, cast(ElementType, tensor.dtype))


class Graph:
    """An ONNX file; weights are read when it is first computed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        graph = read_graph(path.read_bytes())
        self.inputs = {name: Tensor.of(tensor) for name, tensor in graph.inputs.items()}
        self.outputs = {name: Tensor.of(tensor) for name, tensor in graph.outputs.items()}
        self.tensors = {**self.inputs, **self.outputs}
        self._softmaxes = [node.name for node in graph.nodes if node.op_type == "Softmax"]

    def layers(self, profile: int) -> list[dict[str, str]]:
        """As TensorRT's inspector names them: attention fuses in half types, and in no other."""
        half = any(tensor.dtype in _HALVES for tensor in self.tensors.values())
        parts = ("_gemm_mha_v2",) if half else ("node_matmul", "__myl_Max", "__myl_ExpSum", "node_matmul_1")
        names = [*(part for _ in self._softmaxes for part in parts), "node_linear"]
        return [
            {"Name": f"{name}_myl{profile}_{number}", "LayerType": "kgen", "Metadata": ""}
            for number, name in enumerate(names)
        ]

    @cached_property
    def _session(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 2, 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if not any(tensor.dtype in _HALVES for tensor in self.tensors.values()):
            return onnxruntime.InferenceSession(str(self.path), options, providers=["CPUExecutionProvider"])
        from wall_edge_engines.widen import widen

        folder = "session.model_external_initializers_file_folder_path"
        options.add_session_config_entry(folder, str(self.path.parent))
        return onnxruntime.InferenceSession(
            widen(self.path.read_bytes()), options, providers=["CPUExecutionProvider"]
        )

    def compute(self, stored: Mapping[str, Array]) -> dict[str, Array]:
        """Inputs as they are stored → outputs as they are stored."""
        feeds = {name: self._fed(array, self.inputs[name].dtype) for name, array in stored.items()}
        outputs = self._session.run(list(self.outputs), feeds)
        return {
            name: to_storage(value, tensor.dtype)
            for (name, tensor), value in zip(self.outputs.items(), outputs, strict=True)
        }

    @staticmethod
    def _fed(array: Array, dtype: ElementType) -> Array:
        return from_storage(array, dtype) if dtype in _HALVES else array


def itemsize(dtype: ElementType) -> int:
    return STORAGE[dtype].itemsize
