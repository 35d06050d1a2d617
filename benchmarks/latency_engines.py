"""The engines of ``policy_latency.py``: a bundle's by name, or torch's modules, on a CPU or a GPU."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import wall_edge_engines
from wall_edge_engines import Engine, EngineSettings
from wall_edge_engines.base import Binding, DeviceTensor, Lane
from wall_edge_engines.cuda.driver import Driver, device_ordinal
from wall_edge_engines.element_types import STORAGE
from wall_edge_engines.onnxruntime_cuda import require_cuda_provider
from wall_edge_export.checkpoint.checkpoint import Checkpoint
from wall_edge_export.inputs.export_inputs import ExportInputs
from wall_edge_export.quantize.precision import load_recipe
from wall_edge_export.reference.engine import ReferenceEngine, require_device

from wall_edge.bundle import Bundle, ElementType
from wall_edge.errors import EngineError

REFERENCE = "reference"
ENGINE_NAMES = (*wall_edge_engines.ENGINES, REFERENCE)
_FLOATS = ("fp32", "fp16", "bf16")
_COPY_BYTES = 256 << 20
"""Far beyond any cache."""


def require_engine(settings: EngineSettings, precisions: Sequence[str]) -> None:
    """Refuse what cannot be timed before anything is exported. Raises :class:`EngineError`."""
    if settings.name == REFERENCE:
        require_device(settings.device)
        for precision in precisions:
            if precision not in _FLOATS:
                raise EngineError(f"--engine reference in {precision}", expected=" or ".join(_FLOATS))
    elif settings.device != "cpu":
        if settings.name == "onnxruntime":
            require_cuda_provider()
        Driver().facts(device_ordinal(settings.device))


def open_engine(settings: EngineSettings, bundle: Bundle, checkpoint: Path) -> Engine:
    """``settings.name`` of :data:`ENGINE_NAMES` on a bundle, or on the checkpoint that it was made of."""
    if settings.name != REFERENCE:
        return wall_edge_engines.load(bundle, settings)
    opened, recipe = Checkpoint(checkpoint), load_recipe(bundle.manifest.recipe)
    graph_inputs = ExportInputs.open(opened, None).graph_inputs
    torch.set_num_threads(settings.threads)
    return ReferenceEngine(opened.load(), graph_inputs, recipe.activations, settings.device)


class Launches(Engine):
    """Another engine whose integration loops are run step by step, as engines do that have no better."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self.graphs, self.description = engine, engine.graphs, engine.description

    def tensor(self, shape: tuple[int, ...], dtype: ElementType) -> DeviceTensor:
        return self._engine.tensor(shape, dtype)

    def _bind(self, graph: str, tensors: Mapping[str, DeviceTensor], lane: Lane) -> Binding:
        return self._engine._bind(graph, tensors, lane)


def copy_bandwidth(engine: Engine, repeats: int = 10) -> float:
    """Bytes that the device reads and writes in a second when it copies, by tensors of the engine."""
    source, target = (engine.tensor((_COPY_BYTES // 4,), "float32") for _ in range(2))

    def copied(count: int) -> float:
        begun = time.perf_counter()
        for _ in range(count):
            target.copy(source)
        target.view((1,)).read()  # waits for the copies
        return time.perf_counter() - begun

    copied(1)
    return 2 * _COPY_BYTES * repeats / copied(repeats)


def step_bytes(bundle: Bundle, prefix_tokens: int) -> int:
    """What an integration step reads at least: the weights of the graph ``expert``, and the keys/values."""
    graph = bundle.manifest.graphs["expert"]
    past = graph.inputs["past_kv"]
    row = math.prod(int(size) for size in past.shape[1:]) * STORAGE[past.dtype].itemsize
    return (bundle.folder / graph.data).stat().st_size + row * prefix_tokens
