"""CUDA's driver through NVIDIA's ``cuda-bindings`` (12.9 or 13): calls that are checked, and what a GPU is.

Nothing here makes a context, so that asking costs none of the GPU's memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

from wall_edge.errors import EngineError
from wall_edge.files import shown

OLDEST_DRIVER = 12060
"""Of JetPack 6.2, as ``cuDriverGetVersion`` counts: 1000 · major + 10 · minor."""
_INSTALL = "pip install 'wall-edge[tensorrt]', on JetPack 6 with 'cuda-bindings<13'"
_NEW_DRIVER = "install JetPack 6.2 or later, on a workstation NVIDIA's driver 560 or later"
_FIXES = {
    "CUDA_ERROR_OUT_OF_MEMORY": "close other programs, or export in a recipe of fewer bits",
    "CUDA_ERROR_NO_DEVICE": "run it where an NVIDIA GPU is, or with policy.engine: onnxruntime",
    "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH": "restart the machine: driver and kernel module differ",
}
_ELSE = "docs.nvidia.com/cuda/cuda-driver-api says what it means"


@dataclass(frozen=True)
class DeviceFacts:
    """A GPU. ``sm``: ten times its compute capability, 87 on an Orin; ``driver``: the CUDA that it offers."""

    name: str
    sm: int
    memory_bytes: int
    integrated: bool
    """Whether it shares the host's memory, as on a Jetson."""
    driver: str


class Driver:
    """CUDA, initialised. Raises :class:`EngineError` where bindings, driver or GPU are missing or too old."""

    def __init__(self) -> None:
        self.names = _bindings()
        try:
            self.call("cuInit", 0)
        except RuntimeError as error:  # cuda-bindings loads the driver's library at the first call
            what = f"no NVIDIA driver: {shown(error)}"
            raise EngineError(what, fix=_NEW_DRIVER) from None
        self._version, built_for = int(self.call("cuDriverGetVersion")), int(self.names.CUDA_VERSION)
        if self._version < OLDEST_DRIVER:
            self._too_old(_text(OLDEST_DRIVER), _NEW_DRIVER)
        if self._version // 1000 < built_for // 1000:
            major = built_for // 1000
            self._too_old(
                f"{major}.0, as cuda-bindings {_text(built_for)} asks", f"pip install 'cuda-bindings<{major}'"
            )

    def call(self, name: str, *arguments: Any) -> Any:
        """What a driver function returns behind its status: nothing, a value or several.

        Raises :class:`EngineError` with CUDA's name for the status.
        """
        status, *values = getattr(self.names, name)(*arguments)
        if status != self.names.CUresult.CUDA_SUCCESS:
            fix = _FIXES.get(status.name, _ELSE)
            raise EngineError(f"{name}: {status.name}", fix=fix)
        return values[0] if len(values) == 1 else values

    def device(self, ordinal: int) -> Any:
        """CUDA's handle of a GPU. Raises :class:`EngineError` for one that is not there."""
        count = self.call("cuDeviceGetCount")
        if ordinal >= count:
            raise EngineError(
                f"device cuda:{ordinal}", expected=f"one of {count}", fix=_FIXES["CUDA_ERROR_NO_DEVICE"]
            )
        return self.call("cuDeviceGet", ordinal)

    def facts(self, ordinal: int) -> DeviceFacts:
        """What a GPU says of itself."""
        device, kinds = self.device(ordinal), self.names.CUdevice_attribute

        def attribute(name: str) -> int:
            kind = getattr(kinds, f"CU_DEVICE_ATTRIBUTE_{name}")
            return int(self.call("cuDeviceGetAttribute", kind, device))

        name = self.call("cuDeviceGetName", 128, device).split(b"\0")[0]
        return DeviceFacts(
            name=name.decode(errors="replace").strip(),
            sm=10 * attribute("COMPUTE_CAPABILITY_MAJOR") + attribute("COMPUTE_CAPABILITY_MINOR"),
            memory_bytes=int(self.call("cuDeviceTotalMem", device)),
            integrated=bool(attribute("INTEGRATED")),
            driver=_text(self._version),
        )

    def _too_old(self, expected: str, fix: str) -> NoReturn:
        what = f"NVIDIA driver for CUDA {_text(self._version)}"
        raise EngineError(what, expected=f"at least {expected}", fix=fix)


def device_ordinal(device: str) -> int:
    """The number in ``cuda:N``; 0 for ``cuda``. Raises :class:`EngineError` for another kind of device."""
    kind, _, number = device.partition(":")
    if kind != "cuda":
        raise EngineError(f"device {device!r}", expected="cuda or cuda:N", fix="choose device cuda")
    return int(number or 0)


def _bindings() -> Any:
    try:
        from cuda.bindings import driver
    except ImportError:
        raise EngineError("cuda-bindings is not installed", fix=_INSTALL) from None
    return driver


def _text(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"


def device_at_hand() -> DeviceFacts:
    """The first GPU. Raises :class:`EngineError` where there is none, or no way to ask."""
    return Driver().facts(0)
