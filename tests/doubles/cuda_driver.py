"""A double of the functions of ``cuda.bindings.driver`` (12.9, 13.5) that the engines call: names, order of
arguments and results as there, on a :class:`Gpu`."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

from tests.doubles.cuda_types import (
    CUcontext,
    CUdevice,
    CUdevice_attribute,
    CUdeviceptr,
    CUevent,
    CUevent_flags,
    CUgraph,
    CUgraphExec,
    CUresult,
    CUstream,
    CUstream_flags,
    CUstreamCaptureMode,
)
from tests.doubles.gpu import Gpu, device_range
from tests.doubles.gpu_streams import Event, Executable, Operation, Stream
from tests.doubles.misuse import Misuse, Statuses

CUDA_VERSION = 12090
NOT_ARRIVED = 0xFF
"""What a copy to the host leaves in its target until it is done: no number."""


def _function(body: Callable[..., Any], *, needs_context: bool = True) -> Callable[..., Statuses]:
    """Count the call; require that the answer to the one before was looked at, and a current context."""

    @functools.wraps(body)
    def call(*arguments: Any) -> Statuses:
        gpu, name = Gpu.current, body.__name__
        with gpu.lock:
            try:
                gpu.unread.require_none(name)
                gpu.calls[name] += 1
                if needs_context:
                    gpu.require_context(name)
                answer = body(gpu, *arguments)
            except Misuse as misuse:
                gpu.misuses.append(misuse)
                raise
        if isinstance(answer, CUresult):
            return Statuses.of(gpu.unread, name, answer, None)
        values = answer if isinstance(answer, tuple) else () if answer is None else (answer,)
        return Statuses.of(gpu.unread, name, CUresult.CUDA_SUCCESS, *values)

    return call


_early = functools.partial(_function, needs_context=False)


@_early
def cuInit(gpu: Gpu, Flags: int) -> Any:
    return CUresult.CUDA_ERROR_NO_DEVICE if gpu.count == 0 else None


@_early
def cuDriverGetVersion(gpu: Gpu) -> int:
    return gpu.driver


@_early
def cuDeviceGetCount(gpu: Gpu) -> int:
    return gpu.count


@_early
def cuDeviceGet(gpu: Gpu, ordinal: int) -> Any:
    return CUdevice(ordinal) if ordinal < gpu.count else CUresult.CUDA_ERROR_INVALID_DEVICE


@_early
def cuDeviceGetName(gpu: Gpu, length: int, dev: CUdevice) -> bytes:
    return gpu.name.encode().ljust(length, b"\0")


@_early
def cuDeviceTotalMem(gpu: Gpu, dev: CUdevice) -> int:
    return gpu.memory_bytes


@_early
def cuDeviceGetAttribute(gpu: Gpu, attrib: CUdevice_attribute, dev: CUdevice) -> int:
    return {18: 1, 75: gpu.sm // 10, 76: gpu.sm % 10}[attrib]


@_early
def cuDevicePrimaryCtxRetain(gpu: Gpu, dev: CUdevice) -> CUcontext:
    return CUcontext(1)


@_early
def cuDevicePrimaryCtxRelease(gpu: Gpu, dev: CUdevice) -> None: ...


@_early
def cuCtxSetCurrent(gpu: Gpu, ctx: CUcontext) -> None:
    gpu.entered.add(threading.get_ident())


@_function
def cuCtxGetStreamPriorityRange(gpu: Gpu) -> tuple[int, int]:
    return 0, -5


@_function
def cuMemGetInfo(gpu: Gpu) -> tuple[int, int]:
    return gpu.memory_bytes - gpu.counts()["bytes"], gpu.memory_bytes


@_function
def cuMemAlloc(gpu: Gpu, bytesize: int) -> Any:
    gpu.require_no_capture("cuMemAlloc")
    if bytesize == 0:
        return CUresult.CUDA_ERROR_INVALID_VALUE
    if bytesize > gpu.memory_bytes - gpu.counts()["bytes"]:
        return CUresult.CUDA_ERROR_OUT_OF_MEMORY
    return CUdeviceptr(gpu.memory.allocate(bytesize).address)


@_function
def cuMemFree(gpu: Gpu, dptr: Any) -> None:
    gpu.require_no_capture("cuMemFree")
    gpu.run_all()
    gpu.memory.free(int(dptr), on_device=True)


@_function
def cuMemHostAlloc(gpu: Gpu, bytesize: int, Flags: int) -> int:
    gpu.require_no_capture("cuMemHostAlloc")
    return gpu.memory.allocate_host(bytesize).address


@_function
def cuMemFreeHost(gpu: Gpu, p: int) -> None:
    gpu.require_no_capture("cuMemFreeHost")
    gpu.run_all()
    gpu.memory.free(p, on_device=False)


@_function
def cuMemsetD8Async(gpu: Gpu, dstDevice: Any, uc: int, N: int, hStream: Any) -> None:
    target = device_range(gpu, int(dstDevice), N, "cuMemsetD8Async")

    def run() -> None:
        target.bytes[:] = uc

    gpu.stream(int(hStream)).enqueue(Operation(run, (), (target,)))


@_function
def cuMemcpyHtoDAsync(gpu: Gpu, dstDevice: Any, srcHost: int, ByteCount: int, hStream: Any) -> None:
    gpu.require_no_capture("a copy from the host")
    target = device_range(gpu, int(dstDevice), ByteCount, "cuMemcpyHtoDAsync")
    source = gpu.memory.range(srcHost, ByteCount, on_device=False, what="cuMemcpyHtoDAsync")
    before = source.bytes.copy()

    def run() -> None:
        if not (source.bytes == before).all():
            raise Misuse("the host changed what is being copied, before the copy was done")
        target.bytes[:] = before

    gpu.stream(int(hStream)).enqueue(Operation(run, (source,), (target,)))


@_function
def cuMemcpyDtoHAsync(gpu: Gpu, dstHost: int, srcDevice: Any, ByteCount: int, hStream: Any) -> None:
    gpu.require_no_capture("a copy to the host")
    source = device_range(gpu, int(srcDevice), ByteCount, "cuMemcpyDtoHAsync")
    target = gpu.memory.range(dstHost, ByteCount, on_device=False, what="cuMemcpyDtoHAsync")
    stream = gpu.stream(int(hStream))
    stream.finish_uses(target)  # a copy out of the same bytes comes first
    target.bytes[:] = NOT_ARRIVED

    def run() -> None:
        target.bytes[:] = source.bytes

    stream.enqueue(Operation(run, (source,), (target,)))


@_function
def cuMemcpyDtoDAsync(gpu: Gpu, dstDevice: Any, srcDevice: Any, ByteCount: int, hStream: Any) -> None:
    source = device_range(gpu, int(srcDevice), ByteCount, "cuMemcpyDtoDAsync")
    target = device_range(gpu, int(dstDevice), ByteCount, "cuMemcpyDtoDAsync")

    def run() -> None:
        target.bytes[:] = source.bytes

    gpu.stream(int(hStream)).enqueue(Operation(run, (source,), (target,)))


@_function
def cuStreamCreateWithPriority(gpu: Gpu, flags: int, priority: int) -> CUstream:
    if flags != CUstream_flags.CU_STREAM_NON_BLOCKING:
        raise Misuse("a stream that waits for the default stream")
    handle = gpu.handle()
    gpu.streams[handle] = Stream(handle, priority)
    return CUstream(handle)


@_function
def cuStreamDestroy(gpu: Gpu, hStream: Any) -> None:
    stream = gpu.stream(int(hStream))
    stream.run_until(stream.enqueued)
    stream.synced = stream.enqueued
    del gpu.streams[stream.handle]


@_function
def cuStreamWaitEvent(gpu: Gpu, hStream: Any, hEvent: Any, Flags: int) -> None:
    gpu.require_no_capture("cuStreamWaitEvent")
    gpu.stream(int(hStream)).wait(gpu.event(int(hEvent)))


@_function
def cuEventCreate(gpu: Gpu, Flags: int) -> CUevent:
    if not Flags & CUevent_flags.CU_EVENT_BLOCKING_SYNC:
        raise Misuse("an event for which the host would spin")
    handle = gpu.handle()
    gpu.events[handle] = Event()
    return CUevent(handle)


@_function
def cuEventDestroy(gpu: Gpu, hEvent: Any) -> None:
    gpu.event(int(hEvent))
    del gpu.events[int(hEvent)]


@_function
def cuEventRecord(gpu: Gpu, hEvent: Any, hStream: Any) -> None:
    gpu.require_no_capture("cuEventRecord")
    gpu.stream(int(hStream)).record(gpu.event(int(hEvent)))


@_function
def cuEventSynchronize(gpu: Gpu, hEvent: Any) -> None:
    gpu.require_no_capture("cuEventSynchronize")
    gpu.synchronize(gpu.event(int(hEvent)))


@_function
def cuStreamBeginCapture(gpu: Gpu, hStream: Any, mode: CUstreamCaptureMode) -> None:
    if mode != CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL:
        raise Misuse(f"a capture in mode {mode.name}, which fails when another thread allocates")
    gpu.begin_capture(gpu.stream(int(hStream)))


@_function
def cuStreamEndCapture(gpu: Gpu, hStream: Any) -> CUgraph:
    stream, handle = gpu.stream(int(hStream)), gpu.handle()
    if stream.capture is None or stream.capture.thread != threading.get_ident():
        raise Misuse("the end of a capture that this thread did not begin")
    gpu.graphs[handle] = Executable(stream.capture.operations)
    stream.capture = None
    return CUgraph(handle)


@_function
def cuGraphInstantiate(gpu: Gpu, hGraph: Any, flags: int) -> CUgraphExec:
    return CUgraphExec(gpu.instantiate(gpu.graphs[int(hGraph)].operations))


@_function
def cuGraphDestroy(gpu: Gpu, hGraph: Any) -> None:
    del gpu.graphs[int(hGraph)]


@_function
def cuGraphLaunch(gpu: Gpu, hGraphExec: Any, hStream: Any) -> None:
    executable = gpu.executable(int(hGraphExec))
    gpu.stream(int(hStream)).enqueue(Operation(executable.run, executable.reads, executable.writes))


@_function
def cuGraphExecDestroy(gpu: Gpu, hGraphExec: Any) -> None:
    gpu.destroy(int(hGraphExec))
