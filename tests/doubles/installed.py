"""Puts the doubles in the place of ``tensorrt`` and ``cuda.bindings``, here and in processes started here."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.doubles.gpu import Gpu

_MODULES = Path(__file__).parent / "modules"
_ROOT = Path(__file__).parents[2]


@contextmanager
def doubles(gpu: Gpu) -> Iterator[Gpu]:
    """``gpu`` is the GPU meanwhile. Raises the first misuse that a destructor raised and nobody saw."""
    path, variable = list(sys.path), os.environ.get("PYTHONPATH")
    before = getattr(Gpu, "current", None)
    _forget_modules()
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
        _forget_modules()
        if before is not None:
            Gpu.current = before
    if gpu.misuses:
        raise gpu.misuses[0]


def _forget_modules() -> None:
    for name in list(sys.modules):
        if name.split(".")[0] in ("tensorrt", "cuda"):
            del sys.modules[name]


Gpu.current = Gpu()
