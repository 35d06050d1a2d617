"""Rates of the device at hand, measured through the engine contract, so that every backend can be probed.

Reading: products of one row over more weights than the caches hold. Copying: a tensor of that size, on the
device. Products: at the shapes of WALL-OSS's layers, with as many rows as its graphs have.
"""

from __future__ import annotations

import math
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from wall_edge.errors import EngineError
from wall_edge.files import shown
from wall_edge_engines import ENGINES, Engine, EngineSettings
from wall_edge_engines.base import DeviceTensor
from wall_edge_engines.probe.graphs import INPUT, KINDS, OUTPUT, Kind, Layers, write_graph

SHAPES = ((32, 2048, 2048), (456, 2048, 11008), (756, 1280, 3424))
"""Rows, inputs and outputs: the expert's MLP for a chunk of 32 steps, the prefix's for 456 tokens, the vision
tower's for 756 patches (its 3420 to the next multiple of 16)."""
_GPU_BYTES = 256 << 20
"""More than the caches of any GPU that a target describes (H100: 50 MB)."""
_LEAST_BYTES, _MOST_BYTES = 64 << 20, 1 << 30
_SIDE = 2048
_SAMPLE_S, _MOST_RUNS, _FEW = 0.02, 100, 3
"""How long a sample takes at least, of at most so many runs; how few are enough when they take long."""
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


@dataclass(frozen=True)
class Sizes:
    """How much a probe does; a test makes it little."""

    read_bytes: int
    side: int = _SIDE
    """Of the square weights that are read."""
    shapes: Sequence[tuple[int, int, int]] = SHAPES
    samples: int = 7
    seconds: float = 1.5
    """After so long a measurement of three samples is enough."""


@dataclass(frozen=True)
class Rate:
    """Of bytes or operations a second: the median of ``samples``, and both ends."""

    what: str
    """``read``, ``copy`` or ``product``."""
    kind: str
    """The arithmetic; of copies empty."""
    shape: tuple[int, ...]
    """Rows, inputs and outputs; of copies the bytes."""
    median: float
    least: float
    most: float
    samples: int


@dataclass(frozen=True)
class Probed:
    """``skipped``: why a kind of products was not measured."""

    engine: str
    rates: tuple[Rate, ...]
    skipped: Mapping[str, str]


def usual_sizes(settings: EngineSettings) -> Sizes:
    """For the device of these settings: twice its last cache, within bounds."""
    if settings.device != "cpu":
        return Sizes(_GPU_BYTES)
    return Sizes(min(max(2 * _last_cache_bytes(), _LEAST_BYTES), _MOST_BYTES))


def _last_cache_bytes() -> int:
    """Of a core's largest cache, as the kernel tells; 0 where it does not."""
    sizes = []
    for path in _CACHES.glob("index*/size"):
        match = re.fullmatch(r"(\d+)([KM])", path.read_text().strip())
        sizes += [int(match[1]) << (10 if match[2] == "K" else 20)] if match else []
    return max(sizes, default=0)


def probe(settings: EngineSettings, sizes: Sizes, told: Callable[[str], None] = lambda _: None) -> Probed:
    """Measure; ``told`` hears of each measurement. Raises :class:`EngineError` without engine or device."""
    if settings.name not in ENGINES:
        raise EngineError(f"engine {settings.name!r}", expected=" or ".join(ENGINES))
    rates: list[Rate] = []
    skipped: dict[str, str] = {}
    description = ""
    for kind, jobs in _jobs(settings, sizes).items():
        try:
            for what, layers in jobs:
                told(f"{what} {kind}")
                with _opened(settings, layers) as engine:
                    if not description:
                        description = engine.description
                        rates.append(_copy_rate(engine, sizes))
                    rates.append(_layers_rate(engine, layers, what, sizes))
        except EngineError as problem:
            if kind == "fp32":  # every device has it: engine or device are missing
                raise
            skipped[kind] = str(problem)
    return Probed(description, tuple(rates), skipped)


def _jobs(settings: EngineSettings, sizes: Sizes) -> dict[Kind, list[tuple[str, Layers]]]:
    """What is measured of every kind of products."""
    jobs: dict[Kind, list[tuple[str, Layers]]] = {
        kind: [("product", Layers(kind, *shape)) for shape in sizes.shapes] for kind in KINDS
    }
    # A processor's engine widens bfloat16: there is nothing else to read.
    reads: tuple[Kind, ...] = ("fp32",) if settings.device == "cpu" else ("fp32", "bf16")
    for kind in reads:
        layer = Layers(kind, 1, sizes.side, sizes.side)
        jobs[kind].append(("read", replace(layer, count=max(1, sizes.read_bytes // layer.weight_bytes))))
    return jobs


@contextmanager
def _opened(settings: EngineSettings, layers: Layers) -> Iterator[Engine]:
    """The engine on a graph of these layers, whose files are there as long as it is."""
    with tempfile.TemporaryDirectory(prefix="wall-edge-probe-") as name:
        folder = Path(name)
        try:
            spec = write_graph(folder, layers)
        except OSError as problem:
            raise EngineError(
                f"{shown(folder)}: {problem.strerror}",
                expected=f"room for {layers.weight_bytes / 1e6:.0f} MB of weights",
                fix="set TMPDIR to a folder with room",
            ) from None
        engine = ENGINES[settings.name].open_graphs(folder, {layers.name: spec}, settings)
        try:
            yield engine
        finally:
            engine.close()


def _layers_rate(engine: Engine, layers: Layers, what: str, sizes: Sizes) -> Rate:
    """Bytes of weights, or operations, a second."""
    spec = engine.graphs[layers.name]
    tensors = {
        name: engine.tensor(tuple(int(axis) for axis in tensor.shape), tensor.dtype)
        for name, tensor in {**spec.inputs, **spec.outputs}.items()
    }
    values = np.random.default_rng(0).standard_normal(tensors[INPUT].shape).astype(np.float32)
    tensors[INPUT].write(values)
    binding = engine.bind(layers.name, tensors)
    seconds = _seconds(engine, binding.run, tensors[OUTPUT], sizes)
    work = layers.weight_bytes if what == "read" else layers.operations
    return _rate(what, layers.kind, (layers.rows, layers.inner, layers.outer), work, seconds)


def _copy_rate(engine: Engine, sizes: Sizes) -> Rate:
    """Bytes a second, read and written, of a copy on the device."""
    source, target = (engine.tensor((sizes.read_bytes,), "uint8") for _ in range(2))
    seconds = _seconds(engine, lambda: target.copy(source), target, sizes)
    return _rate("copy", "", (sizes.read_bytes,), 2 * sizes.read_bytes, seconds)


def _rate(what: str, kind: str, shape: tuple[int, ...], work: int, seconds: Sequence[float]) -> Rate:
    rates = [work / sample for sample in seconds]
    return Rate(what, kind, shape, statistics.median(rates), min(rates), max(rates), len(rates))


def _seconds(engine: Engine, run: Callable[[], None], result: DeviceTensor, sizes: Sizes) -> list[float]:
    """Of one run, sampled. A device may work while the host goes on: reading one value waits for it.

    Of a tensor of its own, as reading from a large one would take as much of the host's locked memory.
    """
    first, value = result.view((1,)), engine.tensor((1,), result.dtype)

    def timed(runs: int) -> float:
        start = time.perf_counter()
        for _ in range(runs):
            run()
        value.copy(first)
        value.read()
        return (time.perf_counter() - start) / runs

    timed(1)  # what is done once, at the first run
    runs = min(_MOST_RUNS, max(1, math.ceil(_SAMPLE_S / timed(1))))
    begin = time.perf_counter()
    samples: list[float] = []
    while len(samples) < sizes.samples:
        samples.append(timed(runs))
        if len(samples) >= _FEW and time.perf_counter() - begin > sizes.seconds:
            break
    return samples
