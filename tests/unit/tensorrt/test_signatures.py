"""The doubles' names and arguments against NVIDIA's own modules, where those are installed: no GPU needed."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

from tests.doubles import cuda_driver, cuda_types, tensorrt_builder, tensorrt_context, tensorrt_runtime


def driver_functions() -> list[str]:
    return [name for name in vars(cuda_driver) if re.match(r"cu[A-Z]", name)]


@pytest.mark.parametrize("name", driver_functions())
def test_a_driver_function_takes_what_cuda_bindings_take(name: str) -> None:
    real = pytest.importorskip("cuda.bindings.driver")
    first_line = (getattr(real, name).__doc__ or "").split("\n")[0]
    arguments = [
        argument.split()[-1]
        for argument in re.sub(r":[^,)]*", "", first_line[len(name) + 1 : -1]).split(",")
        if argument.strip()
    ]
    double = list(inspect.signature(getattr(cuda_driver, name).__wrapped__).parameters)[1:]
    assert double == arguments


@pytest.mark.parametrize(
    "enumeration",
    ["CUresult", "CUdevice_attribute", "CUstreamCaptureMode", "CUstream_flags", "CUevent_flags"],
)
def test_cudas_numbers_are_its_own(enumeration: str) -> None:
    real = pytest.importorskip("cuda.bindings.driver")
    for member in getattr(cuda_types, enumeration):
        assert int(getattr(getattr(real, enumeration), member.name)) == member.value


CLASSES = ("Runtime", "ICudaEngine", "EngineInspector", "IExecutionContext", "Builder", "OnnxParser")


def methods() -> list[tuple[str, Any, str]]:
    """Public methods and properties of the doubles' classes that TensorRT has too."""
    pairs = []
    for module in (tensorrt_runtime, tensorrt_context, tensorrt_builder):
        for kind in CLASSES:
            double = getattr(module, kind, None)
            if double is not None and double.__module__ == module.__name__:
                pairs += [(kind, double, name) for name in vars(double) if not name.startswith("_")]
    return pairs


@pytest.mark.parametrize(("kind", "double", "name"), methods(), ids=lambda value: str(value)[:60])
def test_a_method_takes_what_tensorrts_takes(kind: str, double: Any, name: str) -> None:
    real = pytest.importorskip("tensorrt_rtx")
    documentation = getattr(getattr(real, kind), name).__doc__ or ""
    if not inspect.isfunction(getattr(double, name)):
        return  # a property: that it exists is all
    arguments = [
        argument for argument in inspect.signature(getattr(double, name)).parameters if argument != "self"
    ]
    signatures = [
        re.findall(r"(\w+): ", re.sub("<[^>]*>", "", line[line.index("(") :]))[1:]
        for line in documentation.splitlines()
        if re.match(rf"(\d+\. )?{name}\(self: ", line)
    ]
    assert arguments in signatures
