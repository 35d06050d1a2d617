"""The GPU at hand, by CUDA's driver: what engines are built on, and what they are loaded on."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from wall_edge.errors import EngineError


@dataclass(frozen=True)
class DeviceFacts:
    """A GPU. ``sm``: ten times its compute capability, 87 on an Orin; ``driver``: the CUDA that it offers."""

    name: str
    sm: int
    memory_bytes: int
    integrated: bool
    """Whether it shares the host's memory, as on a Jetson."""
    driver: str


def device_at_hand() -> DeviceFacts:
    """The first GPU. Raises :class:`EngineError` where there is none, or no way to ask."""
    try:
        cuda = importlib.import_module("cuda.bindings.driver")
    except ImportError:
        raise EngineError(
            "no GPU can be asked for: cuda-bindings is not installed",
            fix="pip install 'cuda-bindings>=12.9,<13' on JetPack 6, 'cuda-bindings>=13' on JetPack 7",
        ) from None
    _ask(cuda, "cuInit", 0)
    gpu = _ask(cuda, "cuDeviceGet", 0)
    driver = _ask(cuda, "cuDriverGetVersion")
    kinds = cuda.CUdevice_attribute

    def attribute(name: str) -> int:
        return int(_ask(cuda, "cuDeviceGetAttribute", getattr(kinds, f"CU_DEVICE_ATTRIBUTE_{name}"), gpu))

    return DeviceFacts(
        name=_ask(cuda, "cuDeviceGetName", 128, gpu).split(b"\0")[0].decode(errors="replace").strip(),
        sm=10 * attribute("COMPUTE_CAPABILITY_MAJOR") + attribute("COMPUTE_CAPABILITY_MINOR"),
        memory_bytes=int(_ask(cuda, "cuDeviceTotalMem", gpu)),
        integrated=bool(attribute("INTEGRATED")),
        driver=f"{driver // 1000}.{driver % 1000 // 10}",
    )


def _ask(cuda: Any, call: str, *arguments: object) -> Any:
    """A driver call's value; its error code becomes an :class:`EngineError`."""
    try:
        code, *values = getattr(cuda, call)(*arguments)
    except (RuntimeError, OSError) as problem:  # cuda-bindings loads libcuda.so.1 at the first call
        raise EngineError(f"no GPU at hand: {problem}") from None
    if code != cuda.CUresult.CUDA_SUCCESS:
        name = getattr(code, "name", code)
        raise EngineError(f"no GPU at hand: {call} says {name}")
    return values[0] if values else None
