"""The TensorRT backend: plans loaded once, two lanes with streams of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from wall_edge.bundle import ElementType, GraphSpec
from wall_edge.errors import EngineError
from wall_edge_engines.base import Binding, DeviceTensor, Engine, EngineSettings, Lane
from wall_edge_engines.cuda.device import Device
from wall_edge_engines.cuda.tensor import CudaTensor
from wall_edge_engines.loop import Step
from wall_edge_engines.tensorrt.bindings import GraphBinding, LoopBinding
from wall_edge_engines.tensorrt.lane import TensorRtLane
from wall_edge_engines.tensorrt.library import Library
from wall_edge_engines.tensorrt.plan import Plan

_WORD_GRAPHS = ("prefix", "lm_head")
"""What decoding subgoals takes: its lane's memory is sized for these."""


class TensorRtEngine(Engine):
    """The graphs of one bundle from their engine files, ``plans`` by graph."""

    def __init__(
        self,
        device: Device,
        plans: Mapping[str, Path],
        graphs: Mapping[str, GraphSpec],
        settings: EngineSettings,
    ) -> None:
        self.graphs, self._device = graphs, device
        device.enter()
        library = Library.open(settings.name)
        self.module = library.module
        # The largest first, while memory is least in pieces.
        largest_first = sorted(plans, key=lambda graph: plans[graph].stat().st_size, reverse=True)
        loaded = {graph: Plan(library, plans[graph], graph, graphs[graph]) for graph in largest_first}
        words = {graph: plan for graph, plan in loaded.items() if graph in _WORD_GRAPHS}
        self._lanes: dict[Lane, TensorRtLane] = {
            "actions": TensorRtLane(library, device, loaded, urgent=True),
            "words": TensorRtLane(library, device, words, urgent=False),
        }
        facts, size = device.facts, sum(path.stat().st_size for path in plans.values())
        self.description = (
            f"{settings.name} {library.module.__version__} on {facts.name} (SM{facts.sm}, "
            f"CUDA {facts.driver}), {size / 1e6:.0f} MB of engines"
        )

    def tensor(self, shape: tuple[int, ...], dtype: ElementType) -> CudaTensor:
        return CudaTensor.zeros(self._lanes["actions"].stream, shape, dtype)

    def _bind(self, graph: str, tensors: Mapping[str, DeviceTensor], lane: Lane) -> Binding:
        return GraphBinding(self._lanes[lane], graph, self._on_device(graph, tensors))

    def _bind_loop(
        self, graph: str, tensors: Mapping[str, DeviceTensor], steps: Sequence[Step], lane: Lane
    ) -> Binding:
        return LoopBinding(self._lanes[lane], graph, self._on_device(graph, tensors), steps)

    def _on_device(self, graph: str, tensors: Mapping[str, DeviceTensor]) -> dict[str, CudaTensor]:
        on_device = {name: tensor for name, tensor in tensors.items() if isinstance(tensor, CudaTensor)}
        if len(on_device) != len(tensors):
            odd = ", ".join(sorted(set(tensors) - set(on_device)))
            raise EngineError(f"graph {graph}: tensor {odd}", expected="tensors of this engine")
        return on_device

    def plan(self, graph: str) -> Plan:
        """A graph's engine as it was loaded. Raises :class:`EngineError` for a graph that is not there."""
        return self._lanes["actions"].plan(graph)

    def close(self) -> None:
        """As in :class:`Engine`; what sessions and tensors hold is given back with them, so before."""
        if self._lanes:
            for name in list(self._lanes):
                self._lanes.pop(name).stream.synchronize()
            self._device.close()
