"""Inference backends behind one contract."""

from wall_edge.bundle import Bundle
from wall_edge.errors import EngineError
from wall_edge_engines.base import Engine
from wall_edge_engines.onnxruntime import OnnxRuntimeEngine
from wall_edge_engines.session import ModelSession

__all__ = ["Engine", "ModelSession", "OnnxRuntimeEngine", "load"]


def load(bundle: Bundle, device: str = "cpu", *, threads: int = 1) -> Engine:
    """The engine that runs a bundle on ``device``; raises :class:`EngineError` for one that is not there."""
    if device != "cpu":
        raise EngineError(f"device {device!r}", expected="'cpu' (ONNX Runtime)", fix="choose device cpu")
    engine = OnnxRuntimeEngine(bundle.folder, bundle.manifest.graphs, threads=threads)
    bundle.require_unchanged()  # ONNX Runtime opens files by name, after their digests were checked
    return engine
