"""Tensors in a GPU's memory. Each buffer knows the stream that used it last: streams that share one wait."""

from __future__ import annotations

import ctypes
import math

import numpy as np
import numpy.typing as npt

from wall_edge.array_types import Array
from wall_edge.bundle import ElementType
from wall_edge.errors import EngineError
from wall_edge_engines.base import DeviceTensor, like, stored_values
from wall_edge_engines.cuda.device import Device
from wall_edge_engines.cuda.stream import Event, Stream
from wall_edge_engines.element_types import STORAGE, from_storage


class HostBuffer:
    """Page-locked memory, through which values go to and from the device."""

    def __init__(self, device: Device, size: int) -> None:
        self._device = device
        self.address = device.allocate_host(size)
        self.bytes: Array = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(self.address))
        self.copied = Event(device)
        """Behind the last copy out of it: before that its bytes must not change."""

    def __del__(self) -> None:
        if hasattr(self, "address"):
            self._device.free_soon("cuMemFreeHost", self.address)


class DeviceBuffer:
    """Zeroed device memory of ``size`` bytes, first used on ``stream``."""

    def __init__(self, stream: Stream, size: int) -> None:
        self._device, self.size, self.stream = stream.device, size, stream
        self.address = stream.device.allocate(size)
        self._host: HostBuffer | None = None
        stream.device.call("cuMemsetD8Async", self.address, 0, max(size, 1), stream.handle)

    def use_on(self, stream: Stream) -> None:
        """Order what is enqueued on ``stream`` from now on after what used this memory before."""
        if stream is not self.stream:
            stream.wait_for(self.stream)
            self.stream = stream

    @property
    def host(self) -> HostBuffer:
        """Page-locked memory of the same size, allocated when it is first needed."""
        if self._host is None:
            self._host = HostBuffer(self._device, self.size)
        return self._host

    def __del__(self) -> None:
        if hasattr(self, "address"):
            self._device.free_soon("cuMemFree", self.address)


class CudaTensor:
    """A :class:`DeviceTensor` in a :class:`DeviceBuffer`, from byte ``offset`` on."""

    def __init__(self, buffer: DeviceBuffer, offset: int, shape: tuple[int, ...], dtype: ElementType) -> None:
        self.buffer, self._offset = buffer, offset
        self._shape, self._dtype = shape, dtype
        self.size = math.prod(shape) * STORAGE[dtype].itemsize
        """In bytes."""

    @classmethod
    def zeros(cls, stream: Stream, shape: tuple[int, ...], dtype: ElementType) -> CudaTensor:
        buffer = DeviceBuffer(stream, math.prod(shape) * STORAGE[dtype].itemsize)
        return cls(buffer, 0, shape, dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    @property
    def dtype(self) -> ElementType:
        return self._dtype

    @property
    def address(self) -> int:
        return self.buffer.address + self._offset

    def rows(self, start: int, stop: int) -> CudaTensor:
        row = math.prod(self._shape[1:]) * STORAGE[self._dtype].itemsize
        start, stop, _ = slice(start, stop).indices(self._shape[0])
        shape = (max(stop - start, 0), *self._shape[1:])
        return CudaTensor(self.buffer, self._offset + start * row, shape, self._dtype)

    def view(self, shape: tuple[int, ...]) -> CudaTensor:
        if math.prod(shape) > math.prod(self._shape):
            raise EngineError(f"a view of shape {list(shape)}", expected=f"at most {list(self._shape)}")
        return CudaTensor(self.buffer, self._offset, shape, self._dtype)

    def write(self, values: npt.ArrayLike) -> None:
        stored = stored_values(values, self)
        device, stream, host = self.buffer.stream.device, self.buffer.stream, self.buffer.host
        device.enter()
        host.copied.synchronize()
        np.copyto(self._staged(host), stored)
        self._copy("cuMemcpyHtoDAsync", self.address, host.address + self._offset, stream)
        host.copied.record(stream)

    def copy(self, source: DeviceTensor) -> None:
        """As in :class:`DeviceTensor`; it runs where the source was last used, and only what reads waits."""
        source = like(self, source)
        home, stream = self.buffer.stream, source.buffer.stream
        stream.device.enter()
        self.buffer.use_on(stream)
        self._copy("cuMemcpyDtoDAsync", self.address, source.address, stream)
        self.buffer.use_on(home)

    def read(self) -> Array:
        """As in :class:`DeviceTensor`; waits for what is enqueued on the stream that used it last."""
        host, stream = self.buffer.host, self.buffer.stream
        stream.device.enter()
        self._copy("cuMemcpyDtoHAsync", host.address + self._offset, self.address, stream)
        stream.synchronize()
        return from_storage(self._staged(host), self._dtype)

    def _copy(self, call: str, target: int, source: int, stream: Stream) -> None:
        if self.size:
            stream.device.call(call, target, source, self.size, stream.handle)

    def _staged(self, host: HostBuffer) -> Array:
        """Its elements in the host's copy of the buffer."""
        stored: Array = host.bytes[self._offset : self._offset + self.size]
        return stored.view(STORAGE[self._dtype]).reshape(self._shape)
