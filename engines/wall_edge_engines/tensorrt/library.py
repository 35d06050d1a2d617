"""TensorRT's Python module, from 10.3 to 11, or TensorRT-RTX's: the calls used here are the same in all.

What moved between the versions is asked by name, never by a number.
"""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from wall_edge.bundle import ElementType
from wall_edge.errors import EngineError
from wall_edge.files import shown

MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
"""By the engine's name."""
_FIXES = {
    "tensorrt": "it comes with JetPack (sudo apt install nvidia-jetpack); a virtual environment needs "
    "'python3 -m venv --system-site-packages' to see it",
    "tensorrt-rtx": "pip install tensorrt-rtx",
}
_OLDEST = (10, 3)
"""Of JetPack 6.2."""
_TYPES: dict[ElementType, str] = {
    "float32": "FLOAT",
    "float16": "HALF",
    "bfloat16": "BF16",
    "int64": "INT64",
    "int32": "INT32",
    "int8": "INT8",
    "uint8": "UINT8",
    "bool": "BOOL",
}


def require_tensorrt(name: str) -> ModuleType:
    """The module of an engine's name. Raises :class:`EngineError` where it is missing, broken or too old."""
    try:
        module = importlib.import_module(MODULES[name])
    except (ImportError, OSError) as error:  # also for a library that the module needs
        raise EngineError(
            f"{name} cannot be imported: {shown(error)}", expected="its Python module", fix=_FIXES[name]
        ) from None
    version = tuple(int(part) for part in re.findall(r"\d+", module.__version__)[:2])
    if name == "tensorrt" and version < _OLDEST:
        raise EngineError(
            f"TensorRT {module.__version__}", expected="10.3 or later", fix="install JetPack 6.2 or later"
        )
    return module


def element_type(trt: ModuleType, dtype: Any) -> ElementType | None:
    """What ``trt.DataType`` value a tensor has, in our words; None for one that no graph has."""
    return next((ours for ours, name in _TYPES.items() if getattr(trt.DataType, name, None) == dtype), None)


@dataclass(frozen=True)
class Library:
    """TensorRT, ready to load engines; ``log.error`` is the last that it said."""

    module: ModuleType
    log: Any
    runtime: Any

    @classmethod
    def open(cls, name: str) -> Library:
        """By the engine's name, for the GPU whose context is current. Raises :class:`EngineError`."""
        module = require_tensorrt(name)
        log = make_log(module)
        try:
            return cls(module, log, module.Runtime(log))
        except TypeError:  # pybind11's word for a null pointer: CUDA does not start for this library
            raise EngineError(
                f"{name} {module.__version__} does not start: {log.error or 'no reason given'}",
                expected="a driver for the CUDA that it is built with",
                fix="install a newer NVIDIA driver, or the TensorRT of this JetPack",
            ) from None


def make_log(trt: ModuleType) -> Any:
    """A ``trt.ILogger`` that keeps the last error in ``.error`` and prints nothing."""
    base: Any = trt.ILogger
    errors = (base.ERROR, base.INTERNAL_ERROR)

    class Log(base):  # type: ignore[misc]
        def __init__(self) -> None:
            base.__init__(self)
            self.error = ""

        def log(self, severity: Any, message: str) -> None:
            if severity in errors:
                self.error = message

    return Log()
