"""From a bundle to its engine on this machine's GPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from wall_edge.bundle import Bundle, GraphSpec
from wall_edge_engines.base import Engine, EngineSettings
from wall_edge_engines.build.compile import Job, compile_graph
from wall_edge_engines.build.profiles import Profile
from wall_edge_engines.build.store import EngineStore, Runtime
from wall_edge_engines.cuda.device import Device
from wall_edge_engines.cuda.driver import Driver, device_ordinal
from wall_edge_engines.tensorrt.engine import TensorRtEngine
from wall_edge_engines.tensorrt.library import require_tensorrt

_ANY_SIZE = {"tokens": (1, 64, 1024), "past": (0, 64, 1024), "keys": (1, 128, 2048)}


def open_built(bundle: Bundle, settings: EngineSettings) -> Engine:
    """The engines that ``wall-edge build`` left beside the bundle, for this TensorRT and this GPU.

    Raises :class:`EngineError` where device, library, driver, GPU or engines are not there or do not fit.
    """
    ordinal, trt = device_ordinal(settings.device), require_tensorrt(settings.name)
    facts = Driver().facts(ordinal)
    store = EngineStore.open(bundle, Runtime(settings.name, trt.__version__, facts))
    plans = {graph: plan.path for graph, plan in store.plans.items()}
    return TensorRtEngine(Device(ordinal), plans, bundle.manifest.graphs, settings)


def open_graphs(folder: Path, graphs: Mapping[str, GraphSpec], settings: EngineSettings) -> Engine:
    """Graph files that are in no bundle, compiled here and now into their folder: for tests."""
    ordinal, plans = device_ordinal(settings.device), {}
    for name, spec in graphs.items():
        plans[name] = folder / f"{name}.plan"
        axes = {axis for tensor in spec.inputs.values() for axis in tensor.shape if isinstance(axis, str)}
        job = Job(
            compiler=settings.name,
            onnx=str(folder / spec.file),
            plan=str(plans[name]),
            inputs=spec.inputs,
            profiles=(Profile("any", {axis: _ANY_SIZE[axis] for axis in axes}),),
            sm=None,
            aux_streams=0,
        )
        compile_graph(job, lambda _: None)
    return TensorRtEngine(Device(ordinal), plans, graphs, settings)
