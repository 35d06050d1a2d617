"""The few calls of the CUDA driver that engines make, through NVIDIA's ``cuda-bindings`` (12.9 or 13).

Every call goes through :meth:`Device.call`, which checks what it returns. Work is ordered by streams; waiting
sleeps instead of spinning, so that no core is taken from the servo process.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Any, NoReturn

from wall_edge.errors import EngineError
from wall_edge.files import shown

ALIGNMENT = 256
"""Bytes: of the addresses that TensorRT takes, and of what ``cuMemAlloc`` returns."""
OLDEST_DRIVER = 12060
"""Of JetPack 6.2, as ``cuDriverGetVersion`` counts: 1000 · major + 10 · minor."""
_INSTALL = "pip install 'wall-edge[tensorrt]'"
_NEW_DRIVER = "install JetPack 6.2 or later; on a workstation NVIDIA's driver 560 or later"
_FIXES = {
    "CUDA_ERROR_OUT_OF_MEMORY": "close other programs, or take a recipe of fewer bits",
    "CUDA_ERROR_NO_DEVICE": "run it where an NVIDIA GPU is, or with policy.engine: onnxruntime",
    "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH": "restart the machine: driver and kernel module differ",
    "CUDA_ERROR_ILLEGAL_ADDRESS": "start again; report it if it comes back",
}


def require_driver() -> Any:
    """``cuda.bindings.driver``. Raises :class:`EngineError` where it is not installed."""
    try:
        from cuda.bindings import driver
    except ImportError:
        raise EngineError("cuda-bindings is not installed", expected="it, for CUDA", fix=_INSTALL) from None
    return driver


def device_ordinal(device: str) -> int:
    """The number in ``cuda:N``; 0 for ``cuda``. Raises :class:`EngineError` for another device."""
    kind, _, number = device.partition(":")
    if kind != "cuda":
        raise EngineError(f"device {device!r}", expected="cuda or cuda:N", fix="set policy.device: cuda")
    return int(number or 0)


@dataclass(frozen=True)
class DeviceFacts:
    """A GPU. ``sm``: ten times its compute capability, 87 on an Orin; ``driver``: the CUDA that it offers."""

    name: str
    sm: int
    memory_bytes: int
    integrated: bool
    """Whether it shares the host's memory, as on a Jetson."""
    driver: str


class Device:
    """One GPU with its primary context, which becomes current on every thread that calls.

    ``free_soon`` may be called from anywhere, also by the garbage collector while another thread captures:
    what it gets runs at the next allocation, as freeing is not allowed during a capture.
    """

    def __init__(self, ordinal: int = 0) -> None:
        self.driver = require_driver()
        self._threads, self._freed = threading.local(), deque[tuple[str, Any]]()
        self._init()
        count = self.call("cuDeviceGetCount")
        if ordinal >= count:
            raise EngineError(
                f"device cuda:{ordinal}", expected=f"one of {count}", fix=_FIXES["CUDA_ERROR_NO_DEVICE"]
            )
        self._device = self.call("cuDeviceGet", ordinal)
        self._context = self.call("cuDevicePrimaryCtxRetain", self._device)
        self.enter()
        self.facts = self._facts()

    def _init(self) -> None:
        try:
            self.call("cuInit", 0)
        except RuntimeError as error:  # of cuda-bindings, where the driver's library is not there
            raise EngineError(
                f"no CUDA driver: {shown(error)}", expected="an NVIDIA driver", fix=_NEW_DRIVER
            ) from None
        version, bindings = self.call("cuDriverGetVersion"), self.driver.CUDA_VERSION
        if version < OLDEST_DRIVER:
            _too_old(version, _version(OLDEST_DRIVER), _NEW_DRIVER)
        if version // 1000 < bindings // 1000:
            fix = f"pip install 'cuda-bindings<{bindings // 1000}'"
            _too_old(version, f"{bindings // 1000}.0 for cuda-bindings {_version(bindings)}", fix)

    def _facts(self) -> DeviceFacts:
        def attribute(name: str) -> int:
            kind = getattr(self.driver.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{name}")
            return int(self.call("cuDeviceGetAttribute", kind, self._device))

        name = self.call("cuDeviceGetName", 128, self._device).split(b"\0")[0]
        memory = self.call("cuDeviceTotalMem", self._device)
        return DeviceFacts(
            name=name.decode(errors="replace").strip(),
            sm=10 * attribute("COMPUTE_CAPABILITY_MAJOR") + attribute("COMPUTE_CAPABILITY_MINOR"),
            memory_bytes=int(memory),
            integrated=bool(attribute("INTEGRATED")),
            driver=_version(self.call("cuDriverGetVersion")),
        )

    def call(self, name: str, *arguments: Any) -> Any:
        """What a driver function returns after its status. Raises :class:`EngineError` with CUDA's name."""
        status, *values = getattr(self.driver, name)(*arguments)
        if status != self.driver.CUresult.CUDA_SUCCESS:
            fix = _FIXES.get(status.name, "see NVIDIA's CUDA driver API for this error")
            raise EngineError(f"{name}: {status.name}", expected="CUDA_SUCCESS", fix=fix)
        return values[0] if len(values) == 1 else values

    def enter(self) -> None:
        """Make the context current on this thread; costs nothing but the first time."""
        if not hasattr(self._threads, "entered"):
            self.call("cuCtxSetCurrent", self._context)
            self._threads.entered = True

    def priorities(self) -> tuple[int, int]:
        """Of streams: the least urgent and the most urgent; the lower number goes first."""
        least, greatest = self.call("cuCtxGetStreamPriorityRange")
        return int(least), int(greatest)

    def allocate(self, size: int) -> int:
        """The address of at least ``size`` bytes, aligned to :data:`ALIGNMENT`; not zeroed."""
        self.enter()
        self.free_now()
        return int(self.call("cuMemAlloc", max(size, 1)))

    def allocate_host(self, size: int) -> int:
        """The address of ``size`` bytes of page-locked host memory."""
        self.enter()
        self.free_now()
        return int(self.call("cuMemHostAlloc", max(size, 1), 0))

    def free_soon(self, name: str, handle: Any) -> None:
        """Give ``handle`` to the driver function ``name`` at the next allocation."""
        self._freed.append((name, handle))

    def free_now(self) -> None:
        """Free what :meth:`free_soon` got; never during a capture on this thread."""
        while self._freed:
            self.call(*self._freed.popleft())

    def close(self) -> None:
        """Give the context back."""
        self.enter()
        self.free_now()
        self.call("cuDevicePrimaryCtxRelease", self._device)


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


def _too_old(version: int, expected: str, fix: str) -> NoReturn:
    raise EngineError(f"a driver for CUDA {_version(version)}", expected=f"at least {expected}", fix=fix)
