"""Tensors in main memory, for backends that compute on the CPU."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from wall_edge.array_types import Array
from wall_edge.bundle import ElementType
from wall_edge_engines.base import DeviceTensor, like, stored_values
from wall_edge_engines.element_types import STORAGE, from_storage


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
        np.copyto(self.array, stored_values(values, self))

    def copy(self, source: DeviceTensor) -> None:
        np.copyto(self.array, like(self, source).array)

    def read(self) -> Array:
        return from_storage(self.array, self._dtype)
