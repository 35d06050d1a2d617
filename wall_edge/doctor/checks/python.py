"""The interpreter and its packages: TensorRT's module comes with JetPack, in the system's Python alone."""

from __future__ import annotations

import re
from collections.abc import Iterator

from wall_edge.board.releases import numbers
from wall_edge.doctor.finding import Remark, Severity
from wall_edge.doctor.machine import Machine, Python

_SYSTEM = "/usr/lib/python{}.{}/dist-packages/tensorrt"


def tensorrt(machine: Machine) -> Iterator[Remark]:
    """Whether ``import tensorrt`` can find it."""
    python = machine.python
    assert python is not None
    if not (machine.facts.is_jetson or machine.tensorrt) or _has_module(machine, python, "tensorrt"):
        return
    severity: Severity = "error" if machine.tensorrt else "note"
    version = "{}.{}".format(*python.version)
    if machine.tree.exists(_SYSTEM.format(*python.version)):
        environment = machine.tree.text(f"{python.prefix}/pyvenv.cfg") or ""
        if re.search(r"^include-system-site-packages *= *false", environment, re.MULTILINE):
            what = "this environment does not see the system's packages, and tensorrt is one of them"
            yield Remark(severity, what, "python3 -m venv --clear --system-site-packages FOLDER")
            return
    else:
        others = [
            f"{match[1]}.{match[2]}"
            for name in machine.tree.names("/usr/lib")
            if (match := re.fullmatch(r"python(\d+)\.(\d+)", name))
            and machine.tree.exists(_SYSTEM.format(match[1], match[2]))
        ]
        if others:
            what = f"tensorrt is installed for Python {', '.join(others)}; this is {version}"
            yield Remark(severity, what, f"python{others[0]} -m venv --system-site-packages FOLDER")
            return
    what = f"Python {version} has no module tensorrt"
    yield Remark(severity, what, "sudo apt install python3-libnvinfer")


def cuda_bindings(machine: Machine) -> Iterator[Remark]:
    """Their first number must be CUDA's."""
    assert machine.python is not None
    cuda = numbers(machine.facts.cuda)[:1]
    bindings = _version(machine, machine.python, "cuda_bindings")
    if not cuda:
        return
    if bindings is None:
        fix = f'pip install "cuda-bindings=={cuda[0]}.*"'
        yield Remark(
            "error" if machine.tensorrt else "note",
            "cuda-bindings is not installed: the policy cannot reach the GPU",
            fix,
        )
    elif numbers(bindings)[:1] != cuda:
        what = f"cuda-bindings {bindings} is for another CUDA than {machine.facts.cuda}"
        yield Remark(
            "error" if machine.tensorrt else "warning", what, f'pip install "cuda-bindings=={cuda[0]}.*"'
        )


def onnxruntime(machine: Machine) -> Iterator[Remark]:
    """Two packages that overwrite each other's files."""
    assert machine.python is not None
    names = ("onnxruntime", "onnxruntime_gpu")
    if all(_version(machine, machine.python, name) is not None for name in names):
        what = "onnxruntime and onnxruntime-gpu are both installed, and overwrite each other's files"
        yield Remark("error", what, "pip uninstall onnxruntime onnxruntime-gpu  # then install one of them")


def _has_module(machine: Machine, python: Python, name: str) -> bool:
    return any(machine.tree.exists(f"{folder}/{name}") for folder in python.folders)


def _version(machine: Machine, python: Python, distribution: str) -> str | None:
    """Of an installed distribution, by the name of its folder (PyPA, "Recording installed projects")."""
    for folder in python.folders:
        for name in machine.tree.names(folder):
            match = re.fullmatch(rf"{distribution}-([\w.!+]+)\.(dist|egg)-info", name, re.IGNORECASE)
            if match:
                return match[1]
    return None
