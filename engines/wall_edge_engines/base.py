"""The engine contract: what every inference backend offers, whatever it runs on.

``load(bundle) → Engine``; ``engine.tensor(...)`` allocates on the device; ``engine.bind(graph, …)`` fixes
the tensors that a graph reads and writes; ``binding.run()`` computes. Keys/values stay where the engine put
them: a graph's output tensor is another graph's input tensor, without a copy through the host. Binding the
same tensors again and again allocates nothing after the first run.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from wall_edge.bundle import GraphSpec
from wall_edge.errors import EngineError

Array = npt.NDArray[Any]


class DeviceTensor(Protocol):
    """A contiguous array on the engine's device."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def rows(self, start: int, stop: int) -> DeviceTensor:
        """A view of the leading axis; no copy."""
        ...

    def write(self, values: npt.ArrayLike) -> None:
        """Copy host values of this shape in."""
        ...

    def copy(self, source: DeviceTensor) -> None:
        """Copy a tensor of the same engine, shape and type in, on the device."""
        ...

    def read(self) -> Array:
        """A host copy."""
        ...


class Binding(Protocol):
    """A graph with its inputs and outputs fixed."""

    def run(self) -> None: ...


class Engine(ABC):
    """The graphs of one bundle, ready to run."""

    graphs: Mapping[str, GraphSpec]

    @abstractmethod
    def tensor(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> DeviceTensor:
        """A zeroed tensor on the device."""

    @abstractmethod
    def _bind(self, graph: str, tensors: Mapping[str, DeviceTensor]) -> Binding:
        """Bind tensors that :meth:`bind` has checked."""

    def bind(self, graph: str, tensors: Mapping[str, DeviceTensor]) -> Binding:
        """Fix the inputs and outputs of ``graph`` by name.

        Raises :class:`EngineError` for an unknown graph, a missing or unknown tensor, a wrong type, and a
        shape that contradicts the graph or another tensor's size of the same dynamic axis.
        """
        spec = self.graphs.get(graph)
        if spec is None:
            raise EngineError(f"graph {graph!r}", expected=f"one of {', '.join(self.graphs)}")
        tensor_specs = {**spec.inputs, **spec.outputs}
        if set(tensors) != set(tensor_specs):
            odd = sorted(set(tensors) ^ set(tensor_specs))
            raise EngineError(
                f"graph {graph}: tensors {', '.join(odd)}", expected=f"{', '.join(tensor_specs)}"
            )
        sizes: dict[str, int] = {}
        for name, tensor_spec in tensor_specs.items():
            tensor = tensors[name]
            if tensor.dtype != np.dtype(tensor_spec.dtype) or not _fits(
                tensor.shape, tensor_spec.shape, sizes
            ):
                raise EngineError(
                    f"graph {graph}: tensor {name} is {list(tensor.shape)} {tensor.dtype}",
                    expected=f"{list(tensor_spec.shape)} {tensor_spec.dtype}"
                    + (f" with {sizes}" if sizes else ""),
                )
        return self._bind(graph, tensors)


def _fits(shape: tuple[int, ...], axes: tuple[int | str, ...], sizes: dict[str, int]) -> bool:
    if len(shape) != len(axes):
        return False
    return all(
        size == sizes.setdefault(axis, size) if isinstance(axis, str) else size == axis
        for size, axis in zip(shape, axes, strict=True)
    )


class HostTensor:
    """A :class:`DeviceTensor` in main memory, for backends that compute on the CPU."""

    def __init__(self, array: Array) -> None:
        self.array = array

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.array.dtype

    def rows(self, start: int, stop: int) -> HostTensor:
        return HostTensor(self.array[start:stop])

    def write(self, values: npt.ArrayLike) -> None:
        array = np.asarray(values)
        if array.shape != self.shape:
            raise EngineError(f"values of shape {list(array.shape)}", expected=f"{list(self.shape)}")
        if not np.can_cast(array.dtype, self.dtype, casting="same_kind"):
            raise EngineError(f"values of type {array.dtype}", expected=str(self.dtype))
        np.copyto(self.array, array, casting="same_kind")

    def copy(self, source: DeviceTensor) -> None:
        if not isinstance(source, HostTensor):
            raise EngineError(f"a copy of a {type(source).__name__}", expected="a tensor of this engine")
        self.write(source.array)

    def read(self) -> Array:
        copied: Array = self.array.copy()
        return copied
