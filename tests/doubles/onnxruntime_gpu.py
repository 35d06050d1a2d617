"""A double of ``onnxruntime-gpu``: sessions of the CUDA provider that compute on the double of a GPU.

Names, arguments and answers as in onnxruntime 1.32, ``onnxruntime_inference_collection.py``. A run is one
operation on the stream that the provider was given; an input of the host is copied when it is bound.
"""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from wall_edge_engines.element_types import ONNX, STORAGE

from tests.doubles.gpu import Gpu, device_range
from tests.doubles.gpu_memory import Range
from tests.doubles.gpu_streams import Operation
from tests.doubles.misuse import Misuse
from tests.doubles.onnx_compute import Graph

PROVIDERS = ["CUDAExecutionProvider", "CPUExecutionProvider"]


class OnnxRuntimeGpu:
    """The module. ``loads``: whether its provider finds CUDA; ``host_inputs``: those that the CPU takes."""

    __version__ = "1.32.0"

    def __init__(self, gpu: Gpu, *, loads: bool = True, host_inputs: frozenset[str] = frozenset()) -> None:
        self.gpu, self.loads, self.host_inputs = gpu, loads, host_inputs

    def get_available_providers(self) -> list[str]:
        return PROVIDERS

    def preload_dlls(self) -> None:
        print("a library was not found")

    def SessionOptions(self) -> Any:
        return _Entries()

    def RunOptions(self) -> Any:
        return _Entries()

    def InferenceSession(
        self, path: str, options: _Entries, *, providers: list[Any], enable_fallback: bool
    ) -> _Session:
        name, cuda = providers[0]
        if name != PROVIDERS[0] or providers[1:] != PROVIDERS[1:] or enable_fallback:
            raise Misuse(f"providers {providers}: a session that may be on the CPU without saying so")
        if not all(isinstance(value, str) for value in cuda.values()):
            raise Misuse("options of a provider are text")
        return _Session(self, Path(path), int(cuda["user_compute_stream"]), int(cuda["device_id"]))


class _Entries:
    log_severity_level = 2

    def __init__(self) -> None:
        self.entries: dict[str, str] = {}

    def add_session_config_entry(self, key: str, value: str) -> None:
        self.entries[key] = value

    add_run_config_entry = add_session_config_entry


class _Session:
    def __init__(self, module: OnnxRuntimeGpu, path: Path, stream: int, device: int) -> None:
        self.module, self.device, self.graph = module, device, Graph(path)
        self._stream = module.gpu.stream(stream)

    def get_providers(self) -> list[str]:
        return PROVIDERS if self.module.loads else PROVIDERS[1:]

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name=name) for name in self.graph.inputs]

    def get_input_memory_infos(self) -> list[Any]:
        kinds = ("Cpu" if name in self.module.host_inputs else "Cuda" for name in self.graph.inputs)
        return [SimpleNamespace(name=kind) for kind in kinds]

    def io_binding(self) -> _IoBinding:
        return _IoBinding(self)

    def run_with_iobinding(self, io: _IoBinding, options: _Entries | None = None) -> None:
        if options is None or options.entries != {"disable_synchronize_execution_providers": "1"}:
            raise Misuse("a run that waits for its end")
        bound = dict(io.bound)
        if set(bound) != set(self.graph.tensors):
            raise Misuse(f"tensors {sorted(bound)}")
        here = [range_ for name, (range_, _) in bound.items() if name in self.graph.inputs and range_.stop]
        writes = [bound[name][0] for name in self.graph.outputs]
        host = dict(io.host)

        def run() -> None:
            stored = {
                name: host.get(name, _values(self.graph, name, *bound[name])) for name in self.graph.inputs
            }
            for name, value in self.graph.compute(stored).items():
                range_, shape = bound[name]
                if value.shape != shape:
                    raise Misuse(f"{name} has shape {value.shape}, its buffer {shape}")
                range_.bytes[:] = np.ascontiguousarray(value).reshape(-1).view(np.uint8)

        with self.module.gpu.lock:
            self._stream.enqueue(Operation(run, here, writes))


class _IoBinding:
    def __init__(self, session: _Session) -> None:
        self._session = session
        self.bound: dict[str, tuple[Range, tuple[int, ...]]] = {}
        self.host: dict[str, Any] = {}

    def bind_input(
        self,
        name: str,
        device_type: str,
        device_id: int,
        element_type: int,
        shape: list[int],
        buffer_ptr: int,
    ) -> None:
        self._bind(self._session.graph.inputs, name, device_type, device_id, element_type, shape, buffer_ptr)
        if name in self._session.module.host_inputs:  # a copy that waits for no stream of ours
            self.host[name] = _values(self._session.graph, name, *self.bound[name]).copy()

    def bind_output(
        self,
        name: str,
        device_type: str,
        device_id: int,
        element_type: int,
        shape: list[int],
        buffer_ptr: int,
    ) -> None:
        self._bind(self._session.graph.outputs, name, device_type, device_id, element_type, shape, buffer_ptr)

    def _bind(
        self, tensors: Any, name: str, kind: str, device: int, element: int, shape: list[int], address: int
    ) -> None:
        tensor = tensors[name]
        if (kind, device, element) != ("cuda", self._session.device, ONNX[tensor.dtype]):
            raise Misuse(f"{name} bound as {kind}:{device}, type {element}")
        size = math.prod(shape) * STORAGE[tensor.dtype].itemsize
        range_ = device_range(self._session.module.gpu, address, max(size, 1), name)
        self.bound[name] = Range(range_.allocation, range_.start, range_.start + size), tuple(shape)


def _values(graph: Graph, name: str, range_: Range, shape: tuple[int, ...]) -> Any:
    return range_.bytes.view(STORAGE[graph.tensors[name].dtype]).reshape(shape)
