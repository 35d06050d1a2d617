"""Tensors in main memory, for backends that compute on the CPU."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from wall_edge.array_types import Array
from wall_edge.bundle import ElementType
from wall_edge.errors import EngineError
from wall_edge_engines.base import DeviceTensor
from wall_edge_engines.element_types import STORAGE, from_storage, to_storage


class HostTensor:
    """A :class:`DeviceTensor` in main memory; ``array`` holds its elements as ``STORAGE`` says."""

    def __init__(self, array: Array, dtype: ElementType) -> None:
        self.array, self._dtype = array, dtype

    @classmethod
    def zeros(cls, shape: tuple[int, ...], dtype: ElementType) -> HostTensor:
        return cls(np.zeros(shape, dtype=STORAGE[dtype]), dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> ElementType:
        return self._dtype

    def rows(self, start: int, stop: int) -> HostTensor:
        return HostTensor(self.array[start:stop], self._dtype)

    def view(self, shape: tuple[int, ...]) -> HostTensor:
        return HostTensor(self.array.reshape(-1)[: math.prod(shape)].reshape(shape), self._dtype)

    def write(self, values: npt.ArrayLike) -> None:
        array = np.asarray(values)
        if array.shape != self.shape:
            raise EngineError(f"values of shape {list(array.shape)}", expected=f"{list(self.shape)}")
        try:
            np.copyto(self.array, to_storage(array, self._dtype))
        except TypeError as error:
            raise EngineError(str(error), expected=self._dtype) from None

    def copy(self, source: DeviceTensor) -> None:
        if not isinstance(source, HostTensor) or (source.shape, source.dtype) != (self.shape, self.dtype):
            raise EngineError(
                f"a copy of a {type(source).__name__} {list(source.shape)} {source.dtype}",
                expected=f"a tensor of this engine, {list(self.shape)} {self.dtype}",
            )
        np.copyto(self.array, source.array)

    def read(self) -> Array:
        return from_storage(self.array, self._dtype)
