"""ONNX Runtime's CUDA provider: a bundle's graphs as they are, on any NVIDIA GPU.

All sessions compute on one stream of ours, in the order of the calls, and read and write our buffers at their
addresses: nothing is copied but what the host writes and reads. Half-precision graphs stay as they are;
weights of fewer bits are unpacked at load. TF32 is off: float32 means float32.
"""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wall_edge.bundle import ElementType, GraphSpec
from wall_edge.errors import EngineError
from wall_edge_engines.base import (
    STEP_NUMBERS,
    Binding,
    DeviceTensor,
    Engine,
    EngineSettings,
    Lane,
    of_engine,
)
from wall_edge_engines.cuda.device import Device
from wall_edge_engines.cuda.driver import device_ordinal
from wall_edge_engines.cuda.stream import Stream
from wall_edge_engines.cuda.tensor import CudaTensor
from wall_edge_engines.element_types import ONNX
from wall_edge_engines.loop import Step
from wall_edge_engines.onnxruntime import open_session, require_onnxruntime, run_session

_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


class OnnxRuntimeCudaEngine(Engine):
    """The graph files of ``folder``, one session each on the GPU ``settings.device``.

    Raises :class:`EngineError` where the CUDA provider is missing or does not load: it is never the CPU
    instead, but for operators of a graph that ONNX Runtime has for the CPU alone.
    """

    def __init__(self, folder: Path, graphs: Mapping[str, GraphSpec], settings: EngineSettings) -> None:
        self._ort, self.graphs = require_cuda_provider(), graphs
        self.ordinal = device_ordinal(settings.device)
        self._device = Device(self.ordinal)
        self._stream, self._lock = Stream(self._device, urgent=True), threading.Lock()
        self._order = self._ort.RunOptions()  # our stream orders what follows: no run waits for its end
        self._order.add_run_config_entry("disable_synchronize_execution_providers", "1")
        self._sessions = {name: self._session(folder / spec.file) for name, spec in graphs.items()}
        facts = self._device.facts
        self.description = (
            f"ONNX Runtime {self._ort.__version__} on {facts.name} (SM{facts.sm}, CUDA {facts.driver}), "
            "its CUDA provider, TF32 off"
        )

    def _session(self, path: Path) -> Any:
        options = self._ort.SessionOptions()
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        options.log_severity_level = 3
        cuda = {
            "device_id": str(self.ordinal),
            "user_compute_stream": str(self._stream.number),
            "arena_extend_strategy": "kSameAsRequested",
            "use_tf32": "0",
        }
        session = open_session(self._ort, path, lambda: str(path), options, [(_CUDA, cuda), _CPU])
        if _CUDA not in session.get_providers():
            raise EngineError(
                "onnxruntime's CUDA provider did not load: its own message is above",
                expected="the CUDA and cuDNN that this onnxruntime-gpu is built for",
                fix="pip install 'onnxruntime-gpu[cuda,cudnn]'",
            )
        return session

    def tensor(self, shape: tuple[int, ...], dtype: ElementType) -> CudaTensor:
        return CudaTensor.zeros(self._stream, shape, dtype)

    def _bind(self, graph: str, tensors: Mapping[str, DeviceTensor], _lane: Lane) -> Binding:
        return self._binding(graph, of_engine(graph, tensors, CudaTensor))

    def _bind_loop(
        self, graph: str, tensors: Mapping[str, DeviceTensor], steps: Sequence[Step], _lane: Lane
    ) -> Binding:
        local = of_engine(graph, tensors, CudaTensor)
        numbers = self.tensor((len(steps), len(STEP_NUMBERS)), "float32")
        numbers.write(steps)
        return _DeviceLoop(self._binding(graph, local), local, numbers)

    def _binding(self, graph: str, tensors: dict[str, CudaTensor]) -> _CudaBinding:
        return _CudaBinding(self, self._sessions[graph], self.graphs[graph], tensors)

    def synchronize(self) -> None:
        """Wait until all that is enqueued is done."""
        self._stream.synchronize()

    def run(self, session: Any, bound: Any, tensors: Mapping[str, CudaTensor]) -> None:
        """Enqueue a session behind whatever used its tensors before."""
        with self._lock:
            self._device.enter()
            for tensor in tensors.values():
                tensor.buffer.use_on(self._stream)
            run_session(session, bound, self._order)

    def close(self) -> None:
        self.synchronize()
        self._sessions.clear()
        self._device.close()


class _CudaBinding:
    """A session with all its tensors at addresses of the GPU's."""

    def __init__(
        self, engine: OnnxRuntimeCudaEngine, session: Any, spec: GraphSpec, tensors: dict[str, CudaTensor]
    ) -> None:
        self._engine, self._session, self._tensors = engine, session, tensors
        self._io = session.io_binding()
        for name in spec.inputs:
            self._bind_input(name)
        for name in spec.outputs:
            self._io.bind_output(name, "cuda", engine.ordinal, *_place(tensors[name]))
        self._on_host = _host_inputs(session)

    def _bind_input(self, name: str) -> None:
        self._io.bind_input(name, "cuda", self._engine.ordinal, *_place(self._tensors[name]))

    def run(self) -> None:
        if self._on_host:
            self._engine.synchronize()
        for name in self._on_host:
            self._bind_input(name)
        self._engine.run(self._session, self._io, self._tensors)


class _DeviceLoop:
    """A step's session run once a step; its numbers, ``[steps, 3]``, are on the device before it starts."""

    def __init__(self, step: _CudaBinding, tensors: Mapping[str, CudaTensor], numbers: CudaTensor) -> None:
        self._step, self._noisy, self._next = step, tensors["noisy_action"], tensors["next_action"]
        steps, count = numbers.shape
        values = numbers.view((steps * count,))
        self._copies = [
            [
                (tensors[name], values.rows(step * count + n, step * count + n + 1).view(()))
                for n, name in enumerate(STEP_NUMBERS)
            ]
            for step in range(steps)
        ]

    def run(self) -> None:
        for number, copies in enumerate(self._copies):
            if number:
                self._noisy.copy(self._next)
            for target, value in copies:
                target.copy(value)
            self._step.run()


def _host_inputs(session: Any) -> list[str]:
    """Inputs that operators without a CUDA kernel take: ONNX Runtime copies them when they are bound.

    All of them in versions that do not tell (before 1.23).
    """
    names = [value.name for value in session.get_inputs()]
    if not hasattr(session, "get_input_memory_infos"):
        return names
    infos = session.get_input_memory_infos()
    return [name for name, info in zip(names, infos, strict=True) if info.name != "Cuda"]


def _place(tensor: CudaTensor) -> tuple[int, list[int], int]:
    """Element type, shape and address, as ONNX Runtime takes them."""
    return ONNX[tensor.dtype], list(tensor.shape), tensor.address


def require_cuda_provider() -> Any:
    """The module, whose CUDA provider is there. Raises :class:`EngineError`."""
    module: Any = require_onnxruntime()
    if _CUDA not in module.get_available_providers():
        raise EngineError(
            "this onnxruntime has no CUDA provider",
            expected="onnxruntime-gpu",
            fix="pip uninstall onnxruntime, then pip install 'wall-edge[onnxruntime-gpu]'",
        )
    if hasattr(module, "preload_dlls"):  # CUDA and cuDNN from pip's packages; it prints what is not there
        with contextlib.redirect_stdout(io.StringIO()):
            module.preload_dlls()
    return module
