"""Inference backends behind one contract."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from wall_edge.bundle import Bundle, GraphSpec
from wall_edge.errors import EngineError
from wall_edge_engines.base import Engine
from wall_edge_engines.onnxruntime import OnnxRuntimeEngine
from wall_edge_engines.session import ModelSession

__all__ = ["ENGINES", "Engine", "ModelSession", "OnnxRuntimeEngine", "load"]


class Opener(Protocol):
    """Opens the graph files of a folder, with ``threads`` workers. Raises :class:`EngineError`."""

    def __call__(self, folder: Path, graphs: Mapping[str, GraphSpec], *, threads: int) -> Engine: ...


ENGINES: dict[str, Opener] = {"onnxruntime": OnnxRuntimeEngine}
"""By name (``policy.engine`` in ROBOT.yaml); a backend imports what it runs on when it is opened."""


def load(bundle: Bundle, engine: str = "onnxruntime", *, threads: int = 1) -> Engine:
    """The engine of this name on a bundle's graphs; raises :class:`EngineError` for one that is not there."""
    if engine not in ENGINES:
        raise EngineError(f"engine {engine!r}", expected=" or ".join(ENGINES), fix="choose one of these")
    opened = ENGINES[engine](bundle.folder, bundle.manifest.graphs, threads=threads)
    bundle.require_unchanged()  # backends open files by name, after their digests were checked
    return opened
