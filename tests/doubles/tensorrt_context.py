"""The double of ``tensorrt.IExecutionContext``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from wall_edge_engines.element_types import STORAGE

from tests.doubles.gpu import device_range
from tests.doubles.gpu_memory import NEVER_WRITTEN, Allocation, Range, overlapping
from tests.doubles.gpu_streams import Operation, Stream
from tests.doubles.misuse import Accepted, Misuse
from tests.doubles.onnx_compute import itemsize
from tests.doubles.tensorrt_types import Severity

if TYPE_CHECKING:
    from tests.doubles.tensorrt_runtime import ICudaEngine

ACTIVATION_BYTES = 4096
"""Of each engine."""
_ALIGNMENT = 256


class IExecutionContext:
    def __init__(self, engine: ICudaEngine) -> None:
        self._engine, self._gpu = engine, engine.gpu
        self._graph = engine.graph
        self._profile = engine.profiles[0]
        self._shapes = {name: tensor.shape for name, tensor in self._graph.inputs.items()}
        self._addresses: dict[str, int] = {}
        self._memory: tuple[int, int] | None = None
        self._ran = False
        """Whether it ran, uncaptured, since the last change of a shape or the profile."""
        self._state = Allocation(0, np.zeros(1, dtype=np.uint8), on_device=False)
        """What a context writes when it runs: two streams must not do that at once."""
        self._gpu.contexts += 1

    def __del__(self) -> None:
        self._gpu.contexts -= 1

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> Accepted:
        self._begin("set_optimization_profile_async")
        self._stream(stream_handle)
        known = 0 <= profile_index < len(self._engine.profiles)
        if known:
            self._profile, self._ran = self._engine.profiles[profile_index], False
        return self._answer("set_optimization_profile_async", None if known else "no such profile")

    def set_device_memory(self, memory: int, size: int) -> None:
        self._begin("set_device_memory")
        if memory % _ALIGNMENT or size < ACTIVATION_BYTES:
            self._misuse(f"activations at {memory:#x}, {size} bytes: misaligned or too small")
        self._memory = memory, size

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> Accepted:
        self._begin("set_input_shape")
        if not isinstance(shape, tuple) or name not in self._graph.inputs:
            self._misuse(f"set_input_shape({name!r}, {shape!r})")
        least, _, most = self._profile.get(name, [self._graph.inputs[name].shape] * 3)
        fits = len(shape) == len(least) and all(
            a <= b <= c for a, b, c in zip(least, shape, most, strict=True)
        )
        if fits:
            self._ran = self._ran and self._shapes[name] == shape
            self._shapes[name] = shape
        return self._answer("set_input_shape", None if fits else f"{name}: {shape} outside of the profile")

    def set_tensor_address(self, name: str, memory: int) -> Accepted:
        self._begin("set_tensor_address")
        if name not in self._graph.tensors:
            self._misuse(f"an address for {name!r}, which the engine does not have")
        if type(memory) is not int or memory % _ALIGNMENT:
            self._misuse(f"{name} at {memory}: not aligned to {_ALIGNMENT} bytes")
        self._addresses[name] = memory
        return self._answer("set_tensor_address", None)

    def execute_async_v3(self, stream_handle: int) -> Accepted:
        self._begin("execute_async_v3")
        stream = self._stream(stream_handle)
        with self._gpu.lock:
            try:
                operation = self._operation()
                if stream.capture is not None:
                    operation = self._captured(operation)
                stream.enqueue(operation)
            except Misuse as misuse:
                self._gpu.misuses.append(misuse)
                raise
        self._ran = self._ran or stream.capture is None
        return self._answer("execute_async_v3", None)

    def _captured(self, operation: Operation) -> Operation:
        """One that a graph replays, as long as the context is as it was."""
        if not self._ran:
            raise Misuse("a capture before a first run with these shapes")
        profile, shapes = self._profile, dict(self._shapes)

        def run() -> None:
            if self._profile is not profile or self._shapes != shapes:
                raise Misuse("a graph whose context took other shapes after the capture")
            operation.run()

        return Operation(run, operation.reads, operation.writes)

    def _operation(self) -> Operation:
        """The graph at the addresses that are set now."""
        sizes = self._sizes()
        ranges = {}
        for name, tensor in self._graph.tensors.items():
            shape = tuple(sizes.get(axis, size) for axis, size in zip(tensor.axes, tensor.shape, strict=True))
            if name not in self._addresses:
                raise Misuse(f"no address of {name}")
            size = math.prod(shape) * itemsize(tensor.dtype)
            # An empty tensor needs an address too, and no other tensor's.
            ranges[name] = device_range(self._gpu, self._addresses[name], max(size, 1), name), shape, size
        outputs = [(name, ranges[name][0]) for name in self._graph.outputs]
        for name in self._graph.inputs:
            if pair := overlapping([*outputs, (name, ranges[name][0])]):
                raise Misuse(f"{' and '.join(pair)} share memory")
        if self._memory is None:
            raise Misuse("no memory for activations")
        activations = device_range(self._gpu, *self._memory, "activations")
        reads = [range_ for name, (range_, _, size) in ranges.items() if name in self._graph.inputs and size]
        writes = [*(range_ for _, range_ in outputs), activations, Range(self._state, 0, 1)]

        def run() -> None:
            if self._gpu.computes:
                activations.bytes[:] = NEVER_WRITTEN
                self._compute({name: (range_, shape) for name, (range_, shape, size) in ranges.items()})

        return Operation(run, reads, writes)

    def _compute(self, ranges: dict[str, tuple[Range, tuple[int, ...]]]) -> None:
        stored = {}
        for name, tensor in self._graph.inputs.items():
            range_, shape = ranges[name]
            count = math.prod(shape) * itemsize(tensor.dtype)
            stored[name] = range_.bytes[:count].view(STORAGE[tensor.dtype]).reshape(shape)
        for name, value in self._graph.compute(stored).items():
            range_, shape = ranges[name]
            if value.shape != shape:
                raise Misuse(f"{name} has shape {value.shape}, its buffer {shape}")
            range_.bytes[:] = np.ascontiguousarray(value).reshape(-1).view(np.uint8)

    def _sizes(self) -> dict[str, int]:
        """Of the dynamic axes, by the inputs' shapes."""
        sizes: dict[str, int] = {}
        for name, tensor in self._graph.inputs.items():
            for axis, size in zip(tensor.axes, self._shapes[name], strict=True):
                if size < 0:
                    raise Misuse(f"no shape of {name}")
                if axis and sizes.setdefault(axis, size) != size:
                    raise Misuse(f"axis {axis} is {size} in {name} and {sizes[axis]} elsewhere")
        return sizes

    def _stream(self, handle: int) -> Stream:
        if type(handle) is not int:
            self._misuse(f"a stream as {type(handle).__name__}: TensorRT takes a number")
        try:
            return self._gpu.stream(handle)
        except Misuse as misuse:
            self._gpu.misuses.append(misuse)
            raise

    def _begin(self, call: str) -> None:
        try:
            self._gpu.unread.require_none(call)
            self._gpu.require_context(call)
        except Misuse as misuse:
            self._gpu.misuses.append(misuse)
            raise
        self._gpu.calls[call] += 1

    def _answer(self, call: str, problem: str | None) -> Accepted:
        if problem is not None:
            self._engine.logger.log(Severity.ERROR, problem)
        return Accepted(self._gpu.unread, call, accepted=problem is None)

    def _misuse(self, text: str) -> None:
        self._gpu.misuses.append(Misuse(text))
        raise self._gpu.misuses[-1]
