"""The reference engine: the torch modules themselves behind the engine contract, on a CPU or a GPU.

It lives with the exporter because it runs a checkpoint's modules, not a bundle's graphs, and needs torch. On
a GPU an integration loop is captured as one CUDA graph. One thread at a time.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn
from wall_edge_engines import Engine
from wall_edge_engines.base import STEP_NUMBERS, Binding, DeviceTensor, Lane, of_engine
from wall_edge_engines.loop import Step

from wall_edge.bundle import ElementType, GraphSpec
from wall_edge.errors import EngineError
from wall_edge_export.model.wall import WallModel
from wall_edge_export.onnx.graphs import GUIDED, Activations, GraphInputs, stages
from wall_edge_export.onnx.trace import parameter_types
from wall_edge_export.reference.programs import Program, on_device, traced
from wall_edge_export.reference.torch_tensor import TorchTensor


class ReferenceEngine(Engine):
    """The stages of a :class:`WallModel`, every operator in the types that graphs have.

    The model is in float32; with half ``activations`` its weights are rounded to them in a copy. On ``cpu``
    its modules run as they are, on ``cuda`` or ``cuda:N`` their operators (:mod:`.programs`). Raises
    :class:`EngineError` where torch has no such device.
    """

    def __init__(
        self,
        model: WallModel,
        graph_inputs: GraphInputs,
        activations: Activations = Activations(),  # noqa: B008 - frozen
        device: str = "cpu",
    ) -> None:
        self._device = require_device(device)
        chosen = stages(_in_types(model, activations), graph_inputs, activations)
        if GUIDED in chosen:  # in float32 inside
            chosen[GUIDED] = stages(model, graph_inputs, activations)[GUIDED]
        self.graphs = {name: stage.spec for name, stage in chosen.items()}
        self._programs: dict[str, Program] = {name: stage.module for name, stage in chosen.items()}
        if self._device.type == "cuda":
            weights: dict[str, nn.Parameter] = {}
            for name, stage in chosen.items():
                stored = {} if name == GUIDED else weights
                self._programs[name] = on_device(traced(stage), self._device, stored)
        self.description = (
            f"torch {torch.__version__} on {_described(self._device)}, the modules in {activations.decoder}"
        )

    def tensor(self, shape: tuple[int, ...], dtype: ElementType) -> TorchTensor:
        return TorchTensor.zeros(shape, dtype, self._device)

    def _bind(self, graph: str, tensors: Mapping[str, DeviceTensor], _lane: Lane) -> Binding:
        return _Run(self._programs[graph], self.graphs[graph], of_engine(graph, tensors, TorchTensor))

    def _bind_loop(
        self, graph: str, tensors: Mapping[str, DeviceTensor], steps: Sequence[Step], lane: Lane
    ) -> Binding:
        if self._device.type != "cuda":
            return super()._bind_loop(graph, tensors, steps, lane)
        local = of_engine(graph, tensors, TorchTensor)
        loop = _Loop(_Run(self._programs[graph], self.graphs[graph], local), local, steps)
        return _Captured(loop.run, self._device)


def require_device(device: str) -> torch.device:
    """A device that torch can use here; raises :class:`EngineError` for another."""
    if device == "cpu":
        return torch.device(device)
    if not torch.cuda.is_available():
        cause = (
            "this torch is built without CUDA" if torch.version.cuda is None else "no GPU or driver for it"
        )
        raise EngineError(
            f"torch on {device}: {cause}",
            expected="an NVIDIA GPU and torch for CUDA",
            fix="install torch from download.pytorch.org/whl/cu126, or choose device cpu",
        )
    chosen = torch.device(device)
    if (chosen.index or 0) >= torch.cuda.device_count():
        raise EngineError(f"device {device}", expected=f"one of {torch.cuda.device_count()}")
    return torch.device("cuda", chosen.index or 0)


def _described(device: torch.device) -> str:
    if device.type == "cpu":
        return "the CPU"
    return f"{torch.cuda.get_device_name(device)} (CUDA {torch.version.cuda}), a loop as one CUDA graph"


def _in_types(model: WallModel, activations: Activations) -> WallModel:
    """The model with its parameters in the types of a traced graph's."""
    types = parameter_types(model, activations)
    if set(types.values()) == {torch.float32}:
        return model
    typed = copy.deepcopy(model)
    typed.load_state_dict({name: t.to(types[name]) for name, t in model.state_dict().items()}, assign=True)
    return typed


class _Run:
    """A stage with its tensors fixed."""

    def __init__(self, program: Program, spec: GraphSpec, tensors: Mapping[str, TorchTensor]) -> None:
        self._program = program
        self._inputs = [tensors[name].tensor for name in spec.inputs]
        self._outputs = [tensors[name].tensor for name in spec.outputs]

    def run(self) -> None:
        with torch.no_grad():  # not inference mode, which would take the derivatives of ``guided``
            results = self._program(*self._inputs)
            results = results if isinstance(results, tuple) else (results,)
            for output, result in zip(self._outputs, results, strict=True):
                output.copy_(result)


class _Loop:
    """A step's stage run once a step; its numbers are on the device before it starts."""

    def __init__(self, step: _Run, tensors: Mapping[str, TorchTensor], steps: Sequence[Step]) -> None:
        self._step = step
        self._noisy, self._next = tensors["noisy_action"].tensor, tensors["next_action"].tensor
        self._numbers = [tensors[name].tensor for name in STEP_NUMBERS]
        self._steps = torch.tensor(steps, dtype=torch.float32, device=self._noisy.device)

    def run(self) -> None:
        for number, values in enumerate(self._steps):
            if number:
                self._noisy.copy_(self._next)
            for tensor, value in zip(self._numbers, values, strict=True):
                tensor.copy_(value)
            self._step.run()


class _Captured:
    """Work on a GPU that runs as it is at first and is then recorded: later runs launch one CUDA graph."""

    def __init__(self, work: Callable[[], None], device: torch.device) -> None:
        self._work, self._device = work, device
        self._graph: torch.cuda.CUDAGraph | None = None

    def run(self) -> None:
        with torch.cuda.device(self._device):
            if self._graph is None:
                self._graph = self._recorded()
            else:
                self._graph.replay()

    def _recorded(self) -> torch.cuda.CUDAGraph:
        """What runs first allocates, loads kernels and picks algorithms, which no graph can record."""
        stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # the default one cannot be recorded
            self._work()
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            self._work()
        return graph
