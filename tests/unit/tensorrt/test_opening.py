"""What keeps the backend from opening: one error each, that says what to do. None of it needs a GPU."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from wall_edge_engines import EngineSettings
from wall_edge_engines.cuda.device import Device
from wall_edge_engines.cuda.driver import DeviceFacts, Driver, device_at_hand, device_ordinal
from wall_edge_engines.tensorrt.library import require_tensorrt

from tests.doubles import cuda_driver, tensorrt_runtime
from tests.doubles.gpu import Gpu
from tests.doubles.installed import doubles
from tests.doubles.tensorrt_builder import plan
from tests.unit.tensorrt.conftest import PROFILES, Open
from wall_edge.errors import EngineError


@pytest.mark.parametrize(("device", "ordinal"), [("cuda", 0), ("cuda:0", 0), ("cuda:3", 3)])
def test_a_device_by_its_name(device: str, ordinal: int) -> None:
    assert device_ordinal(device) == ordinal


def test_another_device_is_refused() -> None:
    with pytest.raises(EngineError, match=r"device 'cpu'; expected cuda or cuda:N; choose device cuda"):
        device_ordinal("cpu")


def test_what_a_gpu_says_of_itself(gpu: Gpu) -> None:
    """Asked without a context, which would take memory that a build needs."""
    facts = DeviceFacts("Orin (double)", 87, gpu.memory_bytes, integrated=True, driver="12.6")
    assert device_at_hand() == facts
    assert gpu.calls["cuDevicePrimaryCtxRetain"] == 0


@pytest.mark.parametrize(
    ("module", "call", "message"),
    [
        ("cuda.bindings", Driver, r"cuda-bindings is not installed.*pip install 'wall-edge\[tensorrt\]'"),
        ("tensorrt", lambda: require_tensorrt("tensorrt"), "tensorrt cannot be imported.*comes with JetPack"),
        ("tensorrt_rtx", lambda: require_tensorrt("tensorrt-rtx"), "pip install tensorrt-rtx"),
    ],
)
def test_a_library_that_is_missing_is_named_with_its_source(
    monkeypatch: pytest.MonkeyPatch, module: str, call: Callable[[], Any], message: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(EngineError, match=message):
        call()


@pytest.mark.parametrize(
    ("gpu", "ordinal", "message"),
    [
        (Gpu(count=0), 0, "cuInit: CUDA_ERROR_NO_DEVICE; run it where an NVIDIA GPU is"),
        (Gpu(count=2), 2, "device cuda:2; expected one of 2"),
        (Gpu(driver=12050), 0, "driver for CUDA 12.5; expected at least 12.6; install JetPack 6.2 or later"),
    ],
    ids=["no GPU", "no third GPU", "old driver"],
)
def test_a_gpu_or_driver_that_will_not_do(gpu: Gpu, ordinal: int, message: str) -> None:
    with doubles(gpu), pytest.raises(EngineError, match=message):
        Device(ordinal)


def test_bindings_that_are_newer_than_the_driver_are_named(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    from cuda.bindings import driver

    monkeypatch.setattr(driver, "CUDA_VERSION", 13050)
    message = r"CUDA 12.6; expected at least 13.0, as cuda-bindings 13.5 asks; pip install 'cuda-bindings<13'"
    with pytest.raises(EngineError, match=message):
        Driver()
    gpu.driver = 13000
    assert Driver().facts(0).driver == "13.0"


def test_a_machine_without_a_driver_says_so(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    from cuda.bindings import driver

    def not_there(_: int) -> Any:
        raise RuntimeError("Failed to dlopen libcuda.so.1")

    monkeypatch.setattr(driver, "cuInit", not_there)
    with pytest.raises(EngineError, match=r"no NVIDIA driver: Failed to dlopen libcuda.so.1; .*JetPack 6.2"):
        Driver()
    assert not gpu.calls


def test_memory_that_is_too_small_is_named(gpu: Gpu) -> None:
    device = Device(0)
    with pytest.raises(EngineError, match=r"cuMemAlloc: CUDA_ERROR_OUT_OF_MEMORY; .*recipe of fewer bits"):
        device.allocate(gpu.memory_bytes + 1)


def test_an_old_tensorrt_is_refused(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorrt

    assert gpu
    for version, fits in (("8.6.2", False), ("10.2.0", False), ("10.3.0.30", True), ("11.4.1", True)):
        monkeypatch.setattr(tensorrt, "__version__", version)
        if fits:
            assert require_tensorrt("tensorrt") is tensorrt
        else:
            with pytest.raises(EngineError, match=f"TensorRT {version}; expected 10.3 or later"):
                require_tensorrt("tensorrt")


def test_a_library_that_does_not_start_says_why(
    gpu: Gpu, open_engine: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As pybind11 does where TensorRT gives no runtime, for instance beside a driver that is too old."""
    assert gpu

    def refuse(_: object, logger: Any) -> None:
        logger.log(tensorrt_runtime.Severity.ERROR, "CUDA initialization failure with error: 35")
        raise TypeError("pybind11::init(): factory function returned nullptr")

    monkeypatch.setattr(tensorrt_runtime.Runtime, "__init__", refuse)
    with pytest.raises(EngineError, match=r"tensorrt 10.3.0 does not start: CUDA init.* error: 35; expected"):
        open_engine()


def test_what_is_asked_by_name_may_have_any_number(gpu: Gpu) -> None:
    """The double's enumerations have numbers that no version has: whatever opens it asks by name."""
    assert gpu
    assert tensorrt_runtime.ILogger.ERROR.value not in range(8)
    assert tensorrt_runtime.TensorIOMode.INPUT.value not in range(8)
    assert cuda_driver.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_INTEGRATED == 18  # CUDA's do not change


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expert.plan: .*expected an engine file"),
        (b"rubbish", "expert.plan: Magic tag does not match.*wall-edge build"),
        (
            {"sm": 86},
            "expert.plan: .* SM 86, not 87; expected an engine that was built.*wall-edge build",
        ),
        ({"version": "10.7.0"}, "version 10.7.0, not 10.3.0"),
        ({"graph": "prefix"}, "expert.plan: tensors .*kv.*expected noisy_action"),
    ],
    ids=["empty", "damaged", "other GPU", "other version", "other graph"],
)
def test_an_engine_file_that_cannot_run_here_is_refused_by_name(
    gpu: Gpu,
    open_engine: Open,
    plans: dict[str, Path],
    graphs: Path,
    content: bytes | dict[str, Any],
    message: str,
) -> None:
    if isinstance(content, dict):
        key = {"graph": "expert", "sm": gpu.sm, **content}
        graph = key.pop("graph")
        content = plan(graphs / f"{graph}.onnx", PROFILES[graph], **key)
    plans["expert"].write_bytes(content)
    with pytest.raises(EngineError, match=message):
        open_engine()


def test_a_file_that_cannot_be_read_is_named(
    open_engine: Open, plans: dict[str, Path], tmp_path: Path
) -> None:
    plans["expert"] = tmp_path
    with pytest.raises(EngineError, match="expected an engine file; run wall-edge build again"):
        open_engine()


def test_settings_name_the_library(plans: dict[str, Path]) -> None:
    from wall_edge_engines.tensorrt.engine import TensorRtEngine

    from tests.unit.tensorrt.conftest import SPECS

    engine = TensorRtEngine(Device(0), plans, SPECS, EngineSettings("tensorrt-rtx", device="cuda"))
    assert engine.description.startswith("tensorrt-rtx")
    engine.close()
