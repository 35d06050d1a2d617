"""An engine file ("plan") on the device: its weights, its tensors, and for which shapes it was built."""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wall_edge.bundle import GraphSpec, TensorSpec
from wall_edge.errors import EngineError
from wall_edge.files import shown
from wall_edge_engines.element_types import STORAGE
from wall_edge_engines.tensorrt.library import Library, element_type

_REBUILD = "run wall-edge build again"
Shape = tuple[int, ...]


class Plan:
    """One graph's engine. Raises :class:`EngineError` for a file that TensorRT or the graph refuses.

    The file is mapped, so that its pages never are a second copy that memory must hold: TensorRT's stream
    readers save memory with weight streaming only (``NvInferRuntime.h``), and their Python classes changed
    from version to version.
    """

    def __init__(self, library: Library, path: Path, graph: str, spec: GraphSpec) -> None:
        self.graph, self.spec = graph, spec
        self.tensors = {**spec.inputs, **spec.outputs}
        self.engine = _deserialize(library, path)
        self._require_tensors(library, path)
        self.dynamic = {name for name, tensor in spec.inputs.items() if _is_dynamic(tensor)}
        self.profiles = [self._profile(index) for index in range(self.engine.num_optimization_profiles)]

    def profile_of(self, shapes: Mapping[str, Shape]) -> int:
        """The narrowest profile that takes inputs of these shapes. Raises :class:`EngineError`."""
        fitting = [
            index
            for index, profile in enumerate(self.profiles)
            if all(_between(shapes[name], *profile[name]) for name in self.dynamic)
        ]
        if fitting:
            return min(fitting, key=self._width)
        sizes = ", ".join(f"{name} {list(shapes[name])}" for name in sorted(self.dynamic))
        ranges = " or ".join(
            ", ".join(
                f"{name} {list(least)} to {list(most)}" for name, (least, most) in sorted(profile.items())
            )
            for profile in self.profiles
        )
        raise EngineError(f"graph {self.graph}: {sizes}", expected=ranges, fix="shorten the instruction")

    def largest(self, name: str) -> int:
        """Bytes of a tensor at the largest sizes of all profiles."""
        sizes: dict[str, int] = {}
        for profile in self.profiles:
            for tensor, (_, most) in profile.items():
                for axis, size in zip(self.tensors[tensor].shape, most, strict=True):
                    sizes[str(axis)] = max(size, sizes.get(str(axis), 0))
        spec = self.tensors[name]
        shape = (sizes[axis] if isinstance(axis, str) else axis for axis in spec.shape)
        return math.prod(shape) * STORAGE[spec.dtype].itemsize

    def _width(self, index: int) -> int:
        """How many shapes of its inputs a profile takes.

        Not how large: one token behind the longest prompt is more keys/values than the prompt itself.
        """
        return math.prod(
            high - low + 1
            for least, most in self.profiles[index].values()
            for low, high in zip(least, most, strict=True)
        )

    def _profile(self, index: int) -> dict[str, tuple[Shape, Shape]]:
        """The smallest and largest shapes of the inputs that have a dynamic axis."""
        ranges = {name: self.engine.get_tensor_profile_shape(name, index) for name in self.dynamic}
        return {name: (tuple(least), tuple(most)) for name, (least, _, most) in ranges.items()}

    def _require_tensors(self, library: Library, path: Path) -> None:
        engine, trt = self.engine, library.module
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        if set(names) != set(self.tensors):
            odd = ", ".join(sorted(set(names) ^ set(self.tensors)))
            raise EngineError(f"{shown(path)}: tensors {odd}", expected=", ".join(self.tensors), fix=_REBUILD)
        for name in names:
            spec, is_input = self.tensors[name], engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
            if (
                is_input != (name in self.spec.inputs)
                or element_type(trt, engine.get_tensor_dtype(name)) != spec.dtype
                or not _same(tuple(engine.get_tensor_shape(name)), spec)
                or engine.get_tensor_location(name) != trt.TensorLocation.DEVICE
            ):
                raise EngineError(
                    f"{shown(path)}: tensor {name} is {list(engine.get_tensor_shape(name))} "
                    f"{engine.get_tensor_dtype(name)} {engine.get_tensor_location(name)}",
                    expected=f"{list(spec.shape)} {spec.dtype} on the device",
                    fix=_REBUILD,
                )


def _deserialize(library: Library, path: Path) -> Any:
    try:
        with path.open("rb") as file:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                engine = library.runtime.deserialize_cuda_engine(content)
            # On a Jetson the page cache is taken from the GPU's memory.
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    except (OSError, ValueError) as error:  # mmap's word for an empty file is ValueError
        raise EngineError(f"{shown(path)}: {error}", expected="an engine file", fix=_REBUILD) from None
    if engine is None:
        raise EngineError(
            f"{shown(path)}: {library.log.error or 'refused by TensorRT'}",
            expected="an engine that was built here",
            fix=_REBUILD,
        )
    return engine


def _is_dynamic(tensor: TensorSpec) -> bool:
    return any(isinstance(axis, str) for axis in tensor.shape)


def _same(shape: Shape, spec: TensorSpec) -> bool:
    """Of a dynamic axis an engine may say -1, or a size where all its profiles have the same."""
    return len(shape) == len(spec.shape) and all(
        isinstance(axis, str) or size == axis for size, axis in zip(shape, spec.shape, strict=True)
    )


def _between(shape: Shape, least: Shape, most: Shape) -> bool:
    return len(shape) == len(least) and all(
        low <= size <= high for low, size, high in zip(least, shape, most, strict=True)
    )
