"""Inference backends behind one contract."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from wall_edge.bundle import Bundle, GraphSpec
from wall_edge.errors import EngineError
from wall_edge_engines.base import Engine, EngineSettings
from wall_edge_engines.loop import Guidance
from wall_edge_engines.onnxruntime import OnnxRuntimeEngine
from wall_edge_engines.onnxruntime_cuda import OnnxRuntimeCudaEngine
from wall_edge_engines.session import ModelSession

__all__ = [
    "ENGINES",
    "Backend",
    "Engine",
    "EngineSettings",
    "Guidance",
    "ModelSession",
    "OnnxRuntimeEngine",
    "load",
]


class Backend(NamedTuple):
    """How an engine is opened. Both ways raise :class:`EngineError`."""

    open: Callable[[Bundle, EngineSettings], Engine]
    """On a bundle whose digests were checked."""
    open_graphs: Callable[[Path, Mapping[str, GraphSpec], EngineSettings], Engine]
    """On the graph files of a folder that is no bundle: what the contract suite and golden cases do."""
    device: str
    """Where those run it."""


def _open_onnxruntime(bundle: Bundle, settings: EngineSettings) -> Engine:
    return _open_onnx_graphs(bundle.folder, bundle.manifest.graphs, settings)


def _open_onnx_graphs(folder: Path, graphs: Mapping[str, GraphSpec], settings: EngineSettings) -> Engine:
    opener = OnnxRuntimeEngine if settings.device == "cpu" else OnnxRuntimeCudaEngine
    return opener(folder, graphs, settings)


def _open_tensorrt(bundle: Bundle, settings: EngineSettings) -> Engine:
    from wall_edge_engines.tensorrt.opening import open_built

    return open_built(bundle, settings)


def _compile_tensorrt(folder: Path, graphs: Mapping[str, GraphSpec], settings: EngineSettings) -> Engine:
    from wall_edge_engines.tensorrt.opening import open_graphs

    return open_graphs(folder, graphs, settings)


_TENSORRT = Backend(_open_tensorrt, _compile_tensorrt, "cuda")
ENGINES = {
    "onnxruntime": Backend(_open_onnxruntime, _open_onnx_graphs, "cpu"),
    "tensorrt": _TENSORRT,
    "tensorrt-rtx": _TENSORRT,
}
"""By name (``policy.engine`` in ROBOT.yaml); a backend imports what it runs on when it is opened."""


def load(bundle: Bundle, settings: EngineSettings = EngineSettings()) -> Engine:  # noqa: B008 - frozen
    """The engine of these settings on a bundle's graphs; raises :class:`EngineError` for one not there."""
    if settings.name not in ENGINES:
        raise EngineError(
            f"engine {settings.name!r}", expected=" or ".join(ENGINES), fix="choose one of these"
        )
    opened = ENGINES[settings.name].open(bundle, settings)
    bundle.require_unchanged()  # backends open files by name, after their digests were checked
    return opened
