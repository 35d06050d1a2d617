"""The GPU at hand, asked through a double of NVIDIA's ``cuda.bindings.driver``."""

from __future__ import annotations

import enum
import sys
from types import ModuleType
from typing import Any

import pytest
from wall_edge_engines.build.targets.device import device_at_hand

from wall_edge.errors import EngineError


class CUresult(enum.IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_NOT_INITIALIZED = 3
    CUDA_ERROR_NO_DEVICE = 100


class CUdevice_attribute(enum.IntEnum):
    CU_DEVICE_ATTRIBUTE_INTEGRATED = 18
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76


class Driver(ModuleType):
    """An Orin NX; ``refusal`` is what cuInit says. Calls before cuInit fail, as the real ones do."""

    CUresult, CUdevice_attribute = CUresult, CUdevice_attribute

    def __init__(self, refusal: CUresult | Exception = CUresult.CUDA_SUCCESS) -> None:
        super().__init__("cuda.bindings.driver")
        self._refusal, self._ready = refusal, False

    def cuInit(self, flags: int) -> tuple[Any]:
        assert flags == 0
        if isinstance(self._refusal, Exception):
            raise self._refusal
        self._ready = self._refusal == CUresult.CUDA_SUCCESS
        return (self._refusal,)

    def _value(self, value: Any) -> tuple[Any, Any]:
        return (CUresult.CUDA_SUCCESS, value) if self._ready else (CUresult.CUDA_ERROR_NOT_INITIALIZED, None)

    def cuDeviceGet(self, ordinal: int) -> tuple[Any, Any]:
        return self._value(ordinal)

    def cuDriverGetVersion(self) -> tuple[Any, Any]:
        return self._value(12060)

    def cuDeviceGetName(self, length: int, gpu: int) -> tuple[Any, Any]:
        assert gpu == 0
        return self._value(b"Orin".ljust(length, b"\0"))

    def cuDeviceTotalMem(self, gpu: int) -> tuple[Any, Any]:
        assert gpu == 0
        return self._value(16_400_000_000)

    def cuDeviceGetAttribute(self, kind: CUdevice_attribute, gpu: int) -> tuple[Any, Any]:
        assert gpu == 0
        return self._value({18: 1, 75: 8, 76: 7}[kind])


def use(monkeypatch: pytest.MonkeyPatch, driver: Driver | None) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings.driver", driver)


def test_an_orin(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Driver())
    device = device_at_hand()
    assert (device.name, device.sm, device.memory_bytes) == ("Orin", 87, 16_400_000_000)
    assert (device.integrated, device.driver) == (True, "12.6")


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (CUresult.CUDA_ERROR_NO_DEVICE, "no GPU at hand: cuInit says CUDA_ERROR_NO_DEVICE"),
        (RuntimeError("Failed to dlopen libcuda.so.1"), "no GPU at hand: Failed to dlopen libcuda.so.1"),
    ],
)
def test_no_gpu_and_no_driver(
    monkeypatch: pytest.MonkeyPatch, refusal: CUresult | Exception, words: str
) -> None:
    use(monkeypatch, Driver(refusal))
    with pytest.raises(EngineError, match=words):
        device_at_hand()


def test_no_bindings(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, None)
    with pytest.raises(EngineError, match="cuda-bindings is not installed; pip install"):
        device_at_hand()
