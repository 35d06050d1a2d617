"""The reference engine: the torch modules themselves behind the engine contract.

It lives with the exporter because it runs a checkpoint's modules, not a bundle's graphs, and needs torch.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from wall_edge_engines import Engine
from wall_edge_engines.base import Binding, DeviceTensor, Lane
from wall_edge_engines.host_tensor import HostTensor

from wall_edge.bundle import ElementType
from wall_edge.errors import EngineError
from wall_edge_export.model.wall import WallModel
from wall_edge_export.onnx.graphs import GraphInputs, Stage, stages


class ReferenceEngine(Engine):
    """The stages of a :class:`WallModel` in float32 on the CPU."""

    def __init__(self, model: WallModel, graph_inputs: GraphInputs) -> None:
        self._stages = stages(model, graph_inputs)
        self.graphs = {name: stage.spec for name, stage in self._stages.items()}
        self.description = f"torch {torch.__version__} on the CPU, the checkpoint's modules in float32"

    def tensor(self, shape: tuple[int, ...], dtype: ElementType) -> HostTensor:
        return HostTensor.zeros(shape, dtype)

    def _bind(self, graph: str, tensors: Mapping[str, DeviceTensor], _lane: Lane) -> Binding:
        host: dict[str, HostTensor] = {}
        for name, tensor in tensors.items():
            if not isinstance(tensor, HostTensor):
                raise EngineError(f"graph {graph}: tensor {name}", expected="a tensor of this engine")
            host[name] = tensor
        return _ReferenceBinding(self._stages[graph], host)


class _ReferenceBinding:
    def __init__(self, stage: Stage, tensors: Mapping[str, HostTensor]) -> None:
        self._stage, self._tensors = stage, tensors

    def run(self) -> None:
        inputs = [torch.from_numpy(self._tensors[name].array) for name in self._stage.spec.inputs]
        with torch.no_grad():  # not inference mode, which would take the derivatives of ``guided``
            results = self._stage.module(*inputs)
        results = results if isinstance(results, tuple) else (results,)
        for name, result in zip(self._stage.spec.outputs, results, strict=True):
            self._tensors[name].write(result.numpy())
