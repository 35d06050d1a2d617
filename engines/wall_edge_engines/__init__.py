"""Inference backends behind one contract."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from wall_edge.bundle import Bundle, GraphSpec
from wall_edge.errors import EngineError
from wall_edge_engines.base import Engine, EngineSettings
from wall_edge_engines.loop import Guidance
from wall_edge_engines.onnxruntime import OnnxRuntimeEngine
from wall_edge_engines.session import ModelSession

__all__ = ["ENGINES", "Engine", "EngineSettings", "Guidance", "ModelSession", "OnnxRuntimeEngine", "load"]


class Opener(Protocol):
    """Opens the graph files of a folder. Raises :class:`EngineError`."""

    def __call__(self, folder: Path, graphs: Mapping[str, GraphSpec], settings: EngineSettings) -> Engine: ...


ENGINES: dict[str, Opener] = {"onnxruntime": OnnxRuntimeEngine}
"""By name (``policy.engine`` in ROBOT.yaml); a backend imports what it runs on when it is opened."""


def load(bundle: Bundle, settings: EngineSettings = EngineSettings()) -> Engine:  # noqa: B008 - frozen
    """The engine of these settings on a bundle's graphs; raises :class:`EngineError` for one not there."""
    if settings.name not in ENGINES:
        raise EngineError(
            f"engine {settings.name!r}", expected=" or ".join(ENGINES), fix="choose one of these"
        )
    opened = ENGINES[settings.name](bundle.folder, bundle.manifest.graphs, settings)
    bundle.require_unchanged()  # backends open files by name, after their digests were checked
    return opened
