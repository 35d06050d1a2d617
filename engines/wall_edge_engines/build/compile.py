"""One graph → one plan, inside of the worker's process."""

from __future__ import annotations

import hashlib
import itertools
import re
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wall_edge.atomic import atomic_write
from wall_edge.bundle import TensorSpec
from wall_edge.errors import EngineError
from wall_edge_engines.build.compilers import (
    configure,
    imported,
    logger,
    network_flags,
    timings,
    use_timings,
    watch,
)
from wall_edge_engines.build.profiles import Profile

_LAYERS = "Layers:"
"""How the message begins in which a VERBOSE logger gets all layers of an engine, one a line."""
_SERIOUS = ("INTERNAL_ERROR", "ERROR")
_NO_DRIVER = re.compile(r"\s*(\[checkMacros\.cpp::catchCudaError\S*\]\s*)?Error Code 1: Cuda Runtime \(.*\)")
"""Ahead of time every error brings this along: the compiler looks for a driver that need not be there."""


@dataclass(frozen=True)
class Job:
    """What a worker is asked for: the plan of an ONNX file. ``sm`` is none for the GPU at hand."""

    compiler: str
    onnx: str
    plan: str
    inputs: dict[str, TensorSpec]
    profiles: tuple[Profile, ...]
    sm: int | None
    aux_streams: int
    timing_cache: str | None = None
    layers: bool = False
    """Whether to give the engine's layers too."""


@dataclass(frozen=True)
class Compiled:
    """A plan that is in its place."""

    sha256: str
    bytes: int
    seconds: float
    layers: tuple[str, ...] = ()


class _Messages:
    """What the compiler said: its errors, its last warnings and its list of layers."""

    def __init__(self, *, layers: bool) -> None:
        self.errors: list[str] = []
        self.warnings: deque[str] = deque(maxlen=3)
        self.layers: tuple[str, ...] = ()
        self._verbose = layers

    def log(self, severity: str, message: str) -> None:
        if severity in _SERIOUS:
            self.errors.append(message.strip())
        elif severity == "WARNING":
            self.warnings.append(message.strip())
        elif self._verbose and message.startswith(_LAYERS):
            lines = itertools.takewhile(str.strip, message.splitlines()[1:])  # tensors follow an empty line
            self.layers = tuple(line.strip() for line in lines)

    def failure(self, what: str, job: Job, errors: Iterable[str]) -> EngineError:
        """With the first of these errors, and without what is no error of a build ahead of time."""
        texts = [error if job.sm is None else _NO_DRIVER.sub("", error) for error in errors]
        reasons = [text.strip() for text in texts if text.strip()][:3]
        return EngineError(f"{what} {Path(job.onnx).name}: {'; '.join(reasons) or 'no reason was given'}")


def compile_graph(job: Job, told: Callable[[str], None]) -> Compiled:
    """Compile and write the plan, whole or not at all. Raises :class:`EngineError` and OSError."""
    start = time.monotonic()
    module, messages = imported(job.compiler), _Messages(layers=job.layers)
    log = logger(module, messages.log)
    builder = _builder(module, log, messages, job)
    network = builder.create_network(network_flags(module))
    parser = module.OnnxParser(network, log)  # which has the weights: it must outlive the build
    told("parsing")
    if not parser.parse_from_file(job.onnx):
        errors = (parser.get_error(number).desc() for number in range(parser.num_errors))
        raise messages.failure("the parser refused", job, errors)
    config = _configuration(module, builder, job, told)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise messages.failure("the compiler gave no engine of", job, messages.errors)
    told("writing")
    view = memoryview(plan)
    atomic_write(Path(job.plan), lambda file: file.write(view), durable=True)
    if job.timing_cache is not None:
        atomic_write(Path(job.timing_cache), timings(config))
    seconds = time.monotonic() - start
    return Compiled(hashlib.sha256(view).hexdigest(), view.nbytes, seconds, messages.layers)


def _builder(module: Any, log: Any, messages: _Messages, job: Job) -> Any:
    """The compiler. Where CUDA gives it no device it says so in a warning, and Python in a TypeError."""
    try:
        return module.Builder(log)
    except TypeError:
        said = (*messages.errors, *messages.warnings)
        raise messages.failure("the compiler did not start for", job, said) from None


def _configuration(module: Any, builder: Any, job: Job, told: Callable[[str], None]) -> Any:
    config = builder.create_builder_config()
    configure(module, config, sm=job.sm, aux_streams=job.aux_streams)
    watch(module, config, told)
    if job.timing_cache is not None:
        use_timings(config, Path(job.timing_cache))
    _add_profiles(builder, config, job)
    return config


def _add_profiles(builder: Any, config: Any, job: Job) -> None:
    """A graph without dynamic axes has the one profile that is there by itself."""
    for profile in job.profiles:
        if not profile.axes:
            continue
        shapes = builder.create_optimization_profile()
        for name, tensor in job.inputs.items():
            shapes.set_shape(name, *profile.shapes(tensor))
        if config.add_optimization_profile(shapes) < 0:
            raise EngineError(f"the profile {profile.name!r} was refused", expected=str(profile.axes))
