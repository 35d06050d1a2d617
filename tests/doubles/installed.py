"""Puts the doubles in the place of ``tensorrt`` and ``cuda.bindings``, here and in processes started here."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner
from wall_edge_engines.cuda.driver import Driver
from wall_edge_engines.tensorrt.library import require_tensorrt

from tests.doubles.gpu import Gpu
from wall_edge.cli import app
from wall_edge.errors import EngineError

_MODULES = Path(__file__).parent / "modules"
_ROOT = Path(__file__).parents[2]


@contextmanager
def doubles(gpu: Gpu) -> Iterator[Gpu]:
    """``gpu`` is the GPU meanwhile. Raises the first misuse that a destructor raised and nobody saw."""
    path, variable = list(sys.path), os.environ.get("PYTHONPATH")
    before, real = Gpu.current, _taken_modules()
    sys.path.insert(0, str(_MODULES))
    os.environ["PYTHONPATH"] = os.pathsep.join([str(_MODULES), str(_ROOT), *([variable] if variable else [])])
    Gpu.current = gpu
    try:
        yield gpu
    finally:
        sys.path[:] = path
        if variable is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = variable
        _taken_modules()
        sys.modules.update(real)  # imported once a process: what extension modules register is registered
        Gpu.current = before
    if gpu.misuses:
        raise gpu.misuses[0]


def built_copy(bundle: Path, folder: Path) -> Path:
    """A copy of ``bundle`` at ``folder`` with engines of the double beside it."""
    shutil.copytree(bundle, folder)
    with doubles(Gpu()):
        done = CliRunner().invoke(app, ["build", str(folder), "--json"])
    assert done.exit_code == 0, done.output
    return folder


def gpu_or_double(backend: str) -> AbstractContextManager[object]:
    """Where TensorRT and a GPU are, nothing: the tests run there. Elsewhere the doubles, for the engine
    ``tensorrt``; the calls of ``tensorrt-rtx`` are the same."""
    if not backend.startswith("tensorrt"):
        return nullcontext()
    try:
        require_tensorrt(backend)
        Driver()
    except EngineError as error:
        if backend != "tensorrt":
            pytest.skip(str(error))
        return doubles(Gpu())
    return nullcontext()


def _taken_modules() -> dict[str, ModuleType]:
    """Those that the doubles stand for, taken out of what is imported."""
    names = [name for name in sys.modules if name.split(".")[0] in ("tensorrt", "tensorrt_rtx", "cuda")]
    return {name: sys.modules.pop(name) for name in names}
