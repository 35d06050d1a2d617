"""Streams of a GPU, and work recorded from one that is launched again as one operation (a CUDA graph)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from wall_edge.errors import EngineError
from wall_edge_engines.cuda.device import Device


class Event:
    """A point in a stream; who waits for it sleeps."""

    def __init__(self, device: Device) -> None:
        flags = device.names.CUevent_flags
        device.enter()
        self._device = device
        self.handle = device.call(
            "cuEventCreate", flags.CU_EVENT_DISABLE_TIMING | flags.CU_EVENT_BLOCKING_SYNC
        )

    def record(self, stream: Stream) -> None:
        """Move it behind all that ``stream`` has now."""
        self._device.call("cuEventRecord", self.handle, stream.handle)

    def synchronize(self) -> None:
        self._device.call("cuEventSynchronize", self.handle)

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            self._device.free_soon("cuEventDestroy", self.handle)


class Stream:
    """A stream, never the default one; an ``urgent`` one's kernels start before those of others."""

    def __init__(self, device: Device, *, urgent: bool) -> None:
        self.device = device
        self._end = Event(device)
        least, greatest = device.priorities()
        flag = device.names.CUstream_flags.CU_STREAM_NON_BLOCKING
        self.handle = device.call("cuStreamCreateWithPriority", flag, greatest if urgent else least)
        self.number = int(self.handle)
        """What libraries that take a stream ask for."""

    def wait_for(self, other: Stream) -> None:
        """What is enqueued here from now on runs after all that ``other`` has now."""
        other._end.record(other)
        self.device.call("cuStreamWaitEvent", self.handle, other._end.handle, 0)

    def synchronize(self) -> None:
        """Sleep until all that is enqueued is done."""
        self.device.enter()
        self._end.record(self)
        self._end.synchronize()

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            self.device.free_soon("cuStreamDestroy", self.handle)


class CapturedWork:
    """What ``enqueue`` puts on ``stream``, recorded and not run; :meth:`launch` runs all of it.

    Addresses and shapes are frozen: the memory must outlive this. The capture concerns this thread alone
    (thread-local mode); nothing may be allocated, freed or waited for in ``enqueue``.
    """

    def __init__(self, stream: Stream, enqueue: Callable[[], None]) -> None:
        self._device = device = stream.device
        device.free_now()
        mode = device.names.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        device.call("cuStreamBeginCapture", stream.handle, mode)
        try:
            enqueue()
        except BaseException:
            with suppress(EngineError):  # an invalid capture gives no graph
                device.call("cuGraphDestroy", device.call("cuStreamEndCapture", stream.handle))
            raise
        graph = device.call("cuStreamEndCapture", stream.handle)
        try:
            self._executable = device.call("cuGraphInstantiate", graph, 0)
        finally:
            device.call("cuGraphDestroy", graph)

    def launch(self, stream: Stream) -> None:
        self._device.call("cuGraphLaunch", self._executable, stream.handle)

    def __del__(self) -> None:
        if hasattr(self, "_executable"):
            self._device.free_soon("cuGraphExecDestroy", self._executable)
