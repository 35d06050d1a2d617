"""A double of the run-time calls of TensorRT's Python module that the backend makes: names, arguments and
answers as in github.com/NVIDIA/TensorRT, ``python/src/infer/pyCore.cpp`` of release/10.3 and main.

An engine file of the double is JSON that names an ONNX file.
"""

from __future__ import annotations

import json
import mmap
from pathlib import Path
from typing import Any

from tests.doubles.gpu import Gpu
from tests.doubles.misuse import Misuse
from tests.doubles.onnx_compute import Graph
from tests.doubles.tensorrt_context import ACTIVATION_BYTES, IExecutionContext
from tests.doubles.tensorrt_types import (
    DataType,
    ExecutionContextAllocationStrategy,
    ILogger,
    LayerInformationFormat,
    Severity,
    TensorIOMode,
    TensorLocation,
)

VERSION = "10.3.0"

__all__ = [
    "ACTIVATION_BYTES",
    "DataType",
    "EngineInspector",
    "ExecutionContextAllocationStrategy",
    "ICudaEngine",
    "IExecutionContext",
    "ILogger",
    "LayerInformationFormat",
    "Runtime",
    "TensorIOMode",
    "TensorLocation",
]


class Runtime:
    def __init__(self, logger: Any) -> None:
        if not getattr(logger, "is_ready", False):
            raise Misuse("a logger whose base class was not initialised")
        self._logger = logger

    def deserialize_cuda_engine(self, serialized_engine: Any) -> ICudaEngine | None:
        gpu = Gpu.current
        gpu.require_context("deserialize_cuda_engine")
        if not isinstance(serialized_engine, mmap.mmap):
            raise Misuse("an engine file that was read into memory: its weights are there twice")
        try:
            plan = json.loads(serialized_engine[:])
        except ValueError:
            self._logger.log(Severity.ERROR, "Magic tag does not match")
            return None
        for what, built, here in (("version", plan["version"], VERSION), ("SM", plan["sm"], gpu.sm)):
            if built != here:
                self._logger.log(Severity.ERROR, f"The engine plan file is for {what} {built}, not {here}")
                return None
        return ICudaEngine(gpu, self._logger, plan)


class ICudaEngine:
    def __init__(self, gpu: Gpu, logger: Any, plan: dict[str, Any]) -> None:
        self.gpu, self.logger, self.graph = gpu, logger, Graph(Path(plan["onnx"]))
        self.profiles: list[dict[str, list[tuple[int, ...]]]] = [
            {name: [tuple(shape) for shape in shapes] for name, shapes in profile.items()}
            for profile in plan["profiles"]
        ]
        self.detailed: bool = plan.get("detailed", False)
        self.device_memory_size_v2 = ACTIVATION_BYTES
        self.num_io_tensors = len(self.graph.tensors)
        self.num_optimization_profiles = len(self.profiles)

    def get_tensor_name(self, index: int) -> str:
        return list(self.graph.tensors)[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self.graph.inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        return DataType(self.graph.tensors[name].dtype)

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.graph.tensors[name].shape

    def get_tensor_location(self, name: str) -> TensorLocation:
        return TensorLocation.DEVICE

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
        return self.profiles[profile_index][name]

    def create_execution_context(
        self, strategy: ExecutionContextAllocationStrategy = ExecutionContextAllocationStrategy.STATIC
    ) -> IExecutionContext:
        if strategy is not ExecutionContextAllocationStrategy.USER_MANAGED:
            raise Misuse("a context with activations of its own, where a lane's can share them")
        self.gpu.require_context("create_execution_context")
        self.gpu.require_no_capture("create_execution_context")
        return IExecutionContext(self)

    def create_engine_inspector(self) -> EngineInspector | None:
        self.gpu.require_context("create_engine_inspector")
        return EngineInspector(self)


class EngineInspector:
    """Lists, for each profile, an engine's layers: of half types an attention is one, else four."""

    def __init__(self, engine: ICudaEngine) -> None:
        self._engine = engine

    def get_engine_information(self, format: LayerInformationFormat) -> str:
        if format is not LayerInformationFormat.JSON:
            raise Misuse(f"the layers as {format}, which nobody here reads")
        layers = [
            layer
            for profile in range(self._engine.num_optimization_profiles)
            for layer in self._engine.graph.layers(profile)
        ]
        listed = layers if self._engine.detailed else [layer["Name"] for layer in layers]
        return json.dumps({"Layers": listed, "Bindings": list(self._engine.graph.tensors)})
