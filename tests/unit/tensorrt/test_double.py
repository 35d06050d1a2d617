"""The double notices each misuse. What it lets pass was done right, as far as it knows what that is."""

from __future__ import annotations

import mmap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from wall_edge_engines.tensorrt.library import make_log

from tests.doubles import cuda_driver as cuda
from tests.doubles import tensorrt_runtime as trt
from tests.doubles.gpu import Gpu
from tests.doubles.gpu_memory import NEVER_WRITTEN
from tests.doubles.misuse import Misuse
from tests.doubles.tensorrt_builder import plan
from tests.unit.tensorrt.conftest import HORIZON, PROFILES, SPECS, WIDTH

SIZES = {
    "noisy_action": 4 * HORIZON,
    "past_kv": 4 * 4 * WIDTH,
    "velocity": 4 * HORIZON,
    "next_action": 4 * HORIZON,
}
THREAD_LOCAL = cuda.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL


def value(statuses: Any) -> Any:
    status, *values = statuses
    assert status == cuda.CUresult.CUDA_SUCCESS
    return values[0] if values else None


class Bench:
    """The expert's engine with everything right, for a test to do one thing wrong."""

    def __init__(self, gpu: Gpu, path: Path) -> None:
        value(cuda.cuCtxSetCurrent(value(cuda.cuDevicePrimaryCtxRetain(cuda.CUdevice(0)))))
        self.gpu, self.stream, self.other = gpu, self.new_stream(), self.new_stream()
        self.event = value(cuda.cuEventCreate(3))
        self.addresses = {
            name: self.new_buffer(SIZES.get(name, 4))
            for name in (*SPECS["expert"].inputs, *SPECS["expert"].outputs)
        }
        self.host = value(cuda.cuMemHostAlloc(64, 0))
        engine = load(path)
        assert engine is not None
        self.context = engine.create_execution_context(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        assert self.context.set_optimization_profile_async(0, int(self.stream))
        self.context.set_device_memory(self.new_buffer(trt.ACTIVATION_BYTES), trt.ACTIVATION_BYTES)
        assert self.context.set_input_shape("past_kv", (4, WIDTH))

    def new_stream(self) -> Any:
        return value(cuda.cuStreamCreateWithPriority(1, 0))

    def new_buffer(self, size: int) -> int:
        address = int(value(cuda.cuMemAlloc(size)))
        value(cuda.cuMemsetD8Async(address, 0, size, self.stream))
        return address

    def set_addresses(self) -> None:
        for name, address in self.addresses.items():
            assert self.context.set_tensor_address(name, address)

    def execute(self, stream: Any = None) -> None:
        self.set_addresses()
        assert self.context.execute_async_v3(int(stream or self.stream))

    def synchronize(self) -> None:
        value(cuda.cuEventRecord(self.event, self.stream))
        value(cuda.cuEventSynchronize(self.event))

    def capture(self) -> Any:
        value(cuda.cuStreamBeginCapture(self.stream, THREAD_LOCAL))
        self.execute()
        graph = value(cuda.cuStreamEndCapture(self.stream))
        return value(cuda.cuGraphInstantiate(graph, 0))

    def array(self, name: str) -> np.ndarray:
        """What a tensor holds, looked at as no program can."""
        held = self.gpu.memory.range(self.addresses[name], SIZES.get(name, 4), on_device=True, what=name)
        return held.bytes.view(np.float32)


def load(path: Path) -> Any:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return trt.Runtime(make_log(trt)).deserialize_cuda_engine(content)


@pytest.fixture
def bench(gpu: Gpu, plans: dict[str, Path]) -> Iterator[Bench]:
    yield Bench(gpu, plans["expert"])
    gpu.misuses.clear()  # those that the test was about


def unset_address(bench: Bench) -> None:
    assert bench.context.execute_async_v3(int(bench.stream))


def default_stream(bench: Bench) -> None:
    bench.set_addresses()
    bench.context.execute_async_v3(0)


def misaligned(bench: Bench) -> None:
    bench.context.set_tensor_address("velocity", bench.addresses["velocity"] + 128)


def freed(bench: Bench) -> None:
    value(cuda.cuMemFree(bench.addresses["velocity"]))
    bench.execute()


def too_small(bench: Bench) -> None:
    bench.addresses["past_kv"] = bench.new_buffer(SIZES["past_kv"] - 1)
    bench.execute()


def an_output_over_an_input(bench: Bench) -> None:
    bench.addresses["next_action"] = bench.addresses["noisy_action"]
    bench.execute()


def status_not_looked_at(_: Bench) -> None:
    cuda.cuDeviceGetCount()
    cuda.cuDeviceGetCount()


def answer_not_looked_at(bench: Bench) -> None:
    bench.context.set_input_shape("past_kv", (5, WIDTH))
    bench.execute()


def capture_before_a_run(bench: Bench) -> None:
    bench.capture()


def capture_after_another_shape(bench: Bench) -> None:
    bench.execute()
    assert bench.context.set_input_shape("past_kv", (3, WIDTH))
    bench.capture()


def launch_after_the_context_took_another_shape(bench: Bench) -> None:
    bench.execute()
    executable = bench.capture()
    assert bench.context.set_input_shape("past_kv", (3, WIDTH))
    value(cuda.cuGraphLaunch(executable, bench.stream))
    bench.synchronize()


def global_capture(bench: Bench) -> None:
    cuda.cuStreamBeginCapture(bench.stream, cuda.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_GLOBAL)


def capture_on_the_default_stream(_: Bench) -> None:
    cuda.cuStreamBeginCapture(2, THREAD_LOCAL)


def allocation_in_a_capture(bench: Bench) -> None:
    value(cuda.cuStreamBeginCapture(bench.stream, THREAD_LOCAL))
    cuda.cuMemAlloc(4)


def waiting_in_a_capture(bench: Bench) -> None:
    value(cuda.cuStreamBeginCapture(bench.stream, THREAD_LOCAL))
    cuda.cuEventSynchronize(bench.event)


def freeing_what_a_graph_uses(bench: Bench) -> None:
    bench.execute()
    bench.capture()
    cuda.cuMemFree(bench.addresses["past_kv"])


def two_streams_at_once(bench: Bench) -> None:
    others = {name: bench.new_buffer(SIZES[name]) for name in ("velocity", "next_action")}
    activations = bench.new_buffer(trt.ACTIVATION_BYTES)
    bench.synchronize()
    bench.execute()
    bench.addresses |= others
    bench.context.set_device_memory(activations, trt.ACTIVATION_BYTES)
    bench.execute(bench.other)  # nothing is shared but the context itself


def streams_that_nothing_orders(bench: Bench) -> None:
    value(cuda.cuMemsetD8Async(bench.addresses["velocity"], 0, 4, bench.stream))
    cuda.cuMemcpyDtoHAsync(bench.host, bench.addresses["velocity"], 4, bench.other)


def host_memory_that_is_not_locked(bench: Bench) -> None:
    cuda.cuMemcpyHtoDAsync(bench.addresses["velocity"], np.zeros(4, np.float32).ctypes.data, 16, bench.stream)


def device_memory_as_the_hosts(bench: Bench) -> None:
    cuda.cuMemcpyHtoDAsync(bench.addresses["velocity"], bench.addresses["next_action"], 16, bench.stream)


def source_changed_before_the_copy(bench: Bench) -> None:
    value(cuda.cuMemcpyHtoDAsync(bench.addresses["velocity"], bench.host, 16, bench.stream))
    bench.gpu.memory.range(bench.host, 16, on_device=False, what="host").bytes[:] = 7
    bench.synchronize()


def thread_without_a_context(bench: Bench) -> None:
    raised: list[BaseException] = []

    def run() -> None:
        try:
            bench.new_stream()
        except Misuse as misuse:
            raised.append(misuse)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    raise raised[0]


def no_activations(bench: Bench) -> None:
    bench.context._memory = None
    bench.execute()


def file_in_memory(_: Bench) -> None:
    trt.Runtime(make_log(trt)).deserialize_cuda_engine(b"{}")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (unset_address, "no address of noisy_action"),
        (default_stream, "default stream"),
        (misaligned, "not aligned to 256"),
        (freed, "freed or never allocated"),
        (too_small, "end behind their allocation"),
        (an_output_over_an_input, "share memory"),
        (status_not_looked_at, "nobody looked at what cuDeviceGetCount answered"),
        (answer_not_looked_at, "nobody looked at what set_input_shape answered"),
        (capture_before_a_run, "before a first run"),
        (capture_after_another_shape, "before a first run"),
        (launch_after_the_context_took_another_shape, "took other shapes after the capture"),
        (global_capture, "CAPTURE_MODE_GLOBAL"),
        (capture_on_the_default_stream, "default stream"),
        (allocation_in_a_capture, "cuMemAlloc during a capture"),
        (waiting_in_a_capture, "cuEventSynchronize during a capture"),
        (freeing_what_a_graph_uses, "which a graph uses"),
        (two_streams_at_once, "two streams use"),
        (streams_that_nothing_orders, "two streams use"),
        (host_memory_that_is_not_locked, "not page-locked"),
        (device_memory_as_the_hosts, "is on the device"),
        (source_changed_before_the_copy, "before the copy was done"),
        (thread_without_a_context, "without a current context"),
        (no_activations, "no memory for activations"),
        (file_in_memory, "read into memory"),
    ],
)
def test_a_misuse_is_noticed(bench: Bench, wrong: Callable[[Bench], None], message: str) -> None:
    with pytest.raises(Misuse, match=message):
        wrong(bench)
    assert bench.gpu.misuses or wrong is file_in_memory


def test_what_is_right_is_let_pass(bench: Bench) -> None:
    bench.execute()
    executable = bench.capture()
    value(cuda.cuGraphLaunch(executable, bench.stream))
    bench.synchronize()
    value(cuda.cuGraphExecDestroy(executable))
    assert bench.gpu.misuses == []


def test_a_shape_outside_of_the_profile_is_answered_with_false(bench: Bench) -> None:
    assert not bench.context.set_input_shape("past_kv", (0, WIDTH))
    assert not bench.context.set_input_shape("past_kv", (97, WIDTH))
    assert not bench.context.set_optimization_profile_async(1, int(bench.stream))


def test_a_result_that_nobody_waited_for_is_not_there(bench: Bench) -> None:
    bench.execute()
    assert set(bench.array("velocity").view(np.uint8)) <= {0, NEVER_WRITTEN}
    value(cuda.cuMemcpyDtoHAsync(bench.host, bench.addresses["velocity"], 16, bench.stream))
    host = bench.gpu.memory.range(bench.host, 16, on_device=False, what="host").bytes.view(np.float32)
    assert np.isnan(host).all()
    bench.synchronize()
    assert host.tolist() == [0.0] * HORIZON


def test_a_captured_graph_replays_at_the_addresses_of_its_capture(bench: Bench) -> None:
    bench.execute()
    executable = bench.capture()
    bench.synchronize()
    before, bench.addresses["velocity"] = bench.array("velocity"), bench.new_buffer(SIZES["velocity"])
    bench.set_addresses()
    bench.array("time")[:] = 5
    value(cuda.cuGraphLaunch(executable, bench.stream))
    bench.synchronize()
    assert before.tolist() == [5.0] * HORIZON
    assert bench.array("velocity").tolist() == [0.0] * HORIZON


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    ("key", "message"), [({"sm": 86}, "SM 86, not 87"), ({"version": "10.4.0"}, "version 10.4.0")]
)
def test_an_engine_of_another_key_is_not_loaded(
    graphs: Path, tmp_path: Path, key: dict[str, Any], message: str
) -> None:
    path = tmp_path / "other.plan"
    path.write_bytes(plan(graphs / "expert.onnx", PROFILES["expert"], **{"sm": 87, **key}))
    value(cuda.cuCtxSetCurrent(cuda.CUcontext(1)))
    log = make_log(trt)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        assert trt.Runtime(log).deserialize_cuda_engine(content) is None
    assert message in log.error
