"""The reference engine: the torch modules themselves behind the engine contract.

It lives with the exporter because it runs a checkpoint's modules, not a bundle's graphs, and needs torch.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor
from wall_edge_engines import Engine
from wall_edge_engines.base import Binding, DeviceTensor, Lane
from wall_edge_engines.host_tensor import HostTensor

from wall_edge.bundle import ElementType
from wall_edge.errors import EngineError
from wall_edge_export.model.wall import WallModel
from wall_edge_export.onnx.graphs import GUIDED, Activations, GraphInputs, Stage, stages
from wall_edge_export.onnx.trace import parameter_types


class ReferenceEngine(Engine):
    """The stages of a :class:`WallModel` on the CPU, every operator in the types that graphs have.

    The model is in float32; with half ``activations`` its weights are rounded to them in a copy.
    """

    def __init__(
        self,
        model: WallModel,
        graph_inputs: GraphInputs,
        activations: Activations = Activations(),  # noqa: B008 - frozen
    ) -> None:
        self._stages = stages(_in_types(model, activations), graph_inputs, activations)
        if GUIDED in self._stages:  # in float32 inside
            self._stages[GUIDED] = stages(model, graph_inputs, activations)[GUIDED]
        self.graphs = {name: stage.spec for name, stage in self._stages.items()}
        self.description = f"torch {torch.__version__} on the CPU, the modules in {activations.decoder}"

    def tensor(self, shape: tuple[int, ...], dtype: ElementType) -> HostTensor:
        return HostTensor.zeros(shape, dtype)

    def _bind(self, graph: str, tensors: Mapping[str, DeviceTensor], _lane: Lane) -> Binding:
        host: dict[str, HostTensor] = {}
        for name, tensor in tensors.items():
            if not isinstance(tensor, HostTensor):
                raise EngineError(f"graph {graph}: tensor {name}", expected="a tensor of this engine")
            host[name] = tensor
        return _ReferenceBinding(self._stages[graph], host)


def _in_types(model: WallModel, activations: Activations) -> WallModel:
    """The model with its parameters in the types of a traced graph's."""
    types = parameter_types(model, activations)
    if set(types.values()) == {torch.float32}:
        return model
    typed = copy.deepcopy(model)
    typed.load_state_dict({name: t.to(types[name]) for name, t in model.state_dict().items()}, assign=True)
    return typed


class _ReferenceBinding:
    def __init__(self, stage: Stage, tensors: Mapping[str, HostTensor]) -> None:
        self._stage, self._tensors = stage, tensors

    def run(self) -> None:
        inputs = [_as_torch(self._tensors[name]) for name in self._stage.spec.inputs]
        with torch.no_grad():  # not inference mode, which would take the derivatives of ``guided``
            results = self._stage.module(*inputs)
        results = results if isinstance(results, tuple) else (results,)
        for name, result in zip(self._stage.spec.outputs, results, strict=True):
            self._tensors[name].write(
                result.float().numpy() if result.is_floating_point() else result.numpy()
            )


def _as_torch(tensor: HostTensor) -> Tensor:
    array = torch.from_numpy(tensor.array)
    return array.view(torch.bfloat16) if tensor.dtype == "bfloat16" else array
