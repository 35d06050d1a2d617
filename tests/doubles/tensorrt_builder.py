"""A double of TensorRT's builder: as much as ``wall-edge build`` calls. It compiles nothing: an engine file
names the ONNX file that it was made of, its profiles, and where it may run."""

from __future__ import annotations

import json
from enum import IntEnum
from pathlib import Path
from typing import Any

from tests.doubles.gpu import Gpu
from tests.doubles.misuse import Misuse
from tests.doubles.onnx_compute import Graph
from tests.doubles.tensorrt_runtime import VERSION

__all__ = [
    "Builder",
    "IProgressMonitor",
    "NetworkDefinitionCreationFlag",
    "OnnxParser",
    "ProfilingVerbosity",
]
Shape = tuple[int, ...]


class NetworkDefinitionCreationFlag(IntEnum):
    STRONGLY_TYPED = 5


class ProfilingVerbosity(IntEnum):
    LAYER_NAMES_ONLY = 0
    NONE = 1
    DETAILED = 2


class IProgressMonitor:
    def __init__(self) -> None: ...


class Network:
    graph: Graph | None = None


class ParserError:
    def __init__(self, text: str) -> None:
        self._text = text

    def desc(self) -> str:
        return self._text


class OnnxParser:
    def __init__(self, network: Network, logger: Any) -> None:
        self._network = network
        self._errors: list[ParserError] = []

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> ParserError:
        return self._errors[index]

    def parse_from_file(self, model: str) -> bool:
        try:
            self._network.graph = Graph(Path(model).resolve())
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the file
            self._errors.append(ParserError(str(error)))
        return not self._errors


class OptimizationProfile:
    def __init__(self) -> None:
        self.shapes: dict[str, tuple[Shape, Shape, Shape]] = {}

    def set_shape(self, input: str, min: Shape, opt: Shape, max: Shape) -> None:
        self.shapes[input] = tuple(min), tuple(opt), tuple(max)


class TimingCache:
    def serialize(self) -> bytes:
        return b"timings"


class BuilderConfig:
    max_aux_streams = -1
    profiling_verbosity = ProfilingVerbosity.LAYER_NAMES_ONLY
    progress_monitor: Any = None

    def __init__(self) -> None:
        self.profiles: list[OptimizationProfile] = []

    def add_optimization_profile(self, profile: OptimizationProfile) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> TimingCache:
        return TimingCache()

    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool:
        return True

    def get_timing_cache(self) -> TimingCache:
        return TimingCache()


class Builder:
    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def create_network(self, flags: int = 0) -> Network:
        if not flags & 1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED:
            raise Misuse("a network whose types the compiler may change")
        return Network()

    def create_builder_config(self) -> BuilderConfig:
        return BuilderConfig()

    def create_optimization_profile(self) -> OptimizationProfile:
        return OptimizationProfile()

    def build_serialized_network(self, network: Network, config: BuilderConfig) -> bytes | None:
        graph = network.graph
        if graph is None:
            raise Misuse("a network that nothing was parsed into")
        dynamic = {name: tensor.shape for name, tensor in graph.inputs.items() if -1 in tensor.shape}
        profiles = [profile.shapes for profile in config.profiles] or [{}]
        for shapes in profiles:
            if missing := set(dynamic) - set(shapes):
                raise Misuse(f"a profile without {', '.join(sorted(missing))}")
        if config.progress_monitor is not None:
            config.progress_monitor.phase_start("Building", None, 1)
            config.progress_monitor.step_complete("Building", 0)
            config.progress_monitor.phase_finish("Building")
        detailed = config.profiling_verbosity is ProfilingVerbosity.DETAILED
        return plan(graph.path, profiles, sm=Gpu.current.sm, detailed=detailed)


def plan(onnx: Path, profiles: Any, *, sm: int, version: str = VERSION, detailed: bool = False) -> bytes:
    """An engine file's bytes; ``detailed``: its inspector says more of a layer than its name."""
    content = {"onnx": str(onnx), "profiles": profiles, "sm": sm, "version": version, "detailed": detailed}
    return json.dumps(content).encode()
