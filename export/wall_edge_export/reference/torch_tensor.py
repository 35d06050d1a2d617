"""Torch tensors as the tensors of an engine, on a CPU or a GPU."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from wall_edge_engines.base import DeviceTensor, like, stored_values

from wall_edge.array_types import Array
from wall_edge.bundle import ElementType


class TorchTensor:
    """A :class:`DeviceTensor` whose elements are those of the contiguous ``tensor``."""

    def __init__(self, tensor: Tensor, dtype: ElementType) -> None:
        self.tensor, self._dtype = tensor, dtype

    @classmethod
    def zeros(cls, shape: tuple[int, ...], dtype: ElementType, device: torch.device) -> TorchTensor:
        return cls(torch.zeros(shape, dtype=getattr(torch, dtype), device=device), dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.tensor.shape)

    @property
    def dtype(self) -> ElementType:
        return self._dtype

    def rows(self, start: int, stop: int) -> TorchTensor:
        return TorchTensor(self.tensor[start:stop], self._dtype)

    def view(self, shape: tuple[int, ...]) -> TorchTensor:
        return TorchTensor(self.tensor.view(-1)[: math.prod(shape)].view(shape), self._dtype)

    def write(self, values: npt.ArrayLike) -> None:
        stored = torch.from_numpy(np.array(stored_values(values, self)))
        self.tensor.copy_(stored.view(torch.bfloat16) if self._dtype == "bfloat16" else stored)

    def copy(self, source: DeviceTensor) -> None:
        self.tensor.copy_(like(self, source).tensor)

    def read(self) -> Array:
        wide = self.tensor.float() if self._dtype in ("float16", "bfloat16") else self.tensor
        values: Array = wide.to("cpu", copy=True).numpy()
        return values
