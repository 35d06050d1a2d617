"""Stored tensors as the model's modules have them: fused layers as their parts, padded ones without padding.

Later checkpoints keep projections and MLPs, an expert's or shared ones, as one matrix or apart (Wall-X 1.1
writes one); a re-saved one may hold the vision MLP padded with zeros to a multiple of 128. The model knows
one form, the parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor

from wall_edge.errors import CheckpointError
from wall_edge_export.checkpoint.weights import REDO
from wall_edge_export.model.inventory import Inventory, Weight

_PARTS = {
    "qkv_proj": ("q_proj", "k_proj", "v_proj"),
    "qkv_proj_experts": ("q_proj_experts", "k_proj_experts", "v_proj_experts"),
    "gate_up_proj": ("gate_proj", "up_proj"),
}
"""What a fused layer's rows are, in order."""
_FUSED = {part: fused for fused, parts in _PARTS.items() for part in parts}
_PADDED_TO = 128


class Readable(Protocol):
    """A tensor whose values are read when asked for; a :class:`StoredTensor` is one."""

    @property
    def path(self) -> Path:
        """The file that holds it, for messages."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def read(self) -> Tensor:
        """The values, as stored."""

    def rows(self, part: slice) -> Tensor:
        """Some of the rows, as stored."""


@dataclass(frozen=True)
class TensorView:
    """A tensor of the model in a stored one called ``name``: its rows from ``start``, cut to ``shape``.

    ``padding``: rows of zeros behind its own.
    """

    name: str
    stored: Readable
    shape: tuple[int, ...]
    start: int = 0
    padding: int = 0

    @property
    def path(self) -> Path:
        return self.stored.path

    @property
    def whole(self) -> bool:
        return self.shape == self.stored.shape

    def read(self, merged: Callable[[], Tensor] | None = None) -> Tensor:
        """The values, as stored; ``merged`` gives the whole stored tensor where it was changed."""
        if self.whole:
            return self.stored.read() if merged is None else merged()
        rows = slice(self.start, self.start + self.shape[0])
        part = self.stored.rows(rows) if merged is None else merged()[rows]
        return part[:, : self.shape[1]] if part.dim() > 1 else part

    def rows(self, part: slice) -> Tensor:
        return self.read()[part]

    def require_zero_padding(self, merged: Callable[[], Tensor] | None = None) -> None:
        """Raise :class:`CheckpointError` unless only zeros are cut off.

        ``merged`` as of :meth:`read`: then only rows count. A channel whose rows are zeros holds 0, whatever
        an adapter has put into the columns that read it.
        """
        rows = slice(self.start, self.start + self.shape[0] + self.padding)
        block = self.stored.rows(rows) if merged is None else merged()[rows]
        columns = block[:, self.shape[1] :] if block.dim() > 1 and merged is None else block[:0]
        if block[self.shape[0] :].any() or columns.any():
            raise CheckpointError(
                f"{self.stored.path}: tensor {self.name} of shape {list(self.stored.shape)}",
                expected=f"{list(self.shape)} by config.json, or zeros behind it",
                fix=REDO,
            )


def views(folder: Path, inventory: Inventory, stored: Mapping[str, Readable]) -> dict[str, TensorView]:
    """The model's tensors by name, as far as they are stored.

    Of a shape that cannot be the model's, the whole stored tensor. Raises :class:`CheckpointError` for a
    layer that is stored both fused and apart, and for padding that is not zero.
    """
    result = {}
    for weight in inventory.values():
        fused = fused_name(weight.name)
        if weight.name in stored and fused != weight.name and fused in stored:
            raise CheckpointError(
                f"{folder}: tensors {weight.name} and {fused} hold the same layer",
                expected="one of them",
                fix="remove the one that was not trained",
            )
        if weight.name in stored:
            tensor = stored[weight.name]
            result[weight.name] = _view(weight, weight.name, tensor, 0, _height(tensor))
        elif fused in stored:
            start, rows = _band(weight, inventory, _height(stored[fused]))
            result[weight.name] = _view(weight, fused, stored[fused], start, rows)
    return result


def with_fused_experts(inventory: Inventory) -> Mapping[str, tuple[Weight, ...]]:
    """The tensors of a checkpoint that keeps its experts' layers fused, as wall-oss-0.5 does: by stored name,
    what its rows are, in order."""
    stored: dict[str, tuple[Weight, ...]] = {}
    for weight in inventory.values():
        name = weight.name if weight.expert is None else fused_name(weight.name)
        stored[name] = (*stored.get(name, ()), weight)
    return stored


def is_fused(name: str) -> bool:
    """Whether a stored tensor of this name is a fused layer's."""
    return not _PARTS.keys().isdisjoint(name.split("."))


def fused_name(name: str) -> str:
    """The stored name of a tensor whose layer is fused; its own where no layer is."""
    return ".".join(_FUSED.get(component, component) for component in name.split("."))


def _band(weight: Weight, inventory: Inventory, height: int) -> tuple[int, int]:
    """Where a layer begins in a fused one of ``height`` rows, and how many it has there."""
    component = next(word for word in weight.name.split(".") if word in _FUSED)
    parts = _PARTS[_FUSED[component]]
    rows = [inventory[weight.name.replace(f".{component}.", f".{part}.")].shape[0] for part in parts]
    if _may_be_padded(weight) and height == sum(map(_padded, rows)):
        rows = [_padded(count) for count in rows]
    if height != sum(rows):
        return 0, height
    position = parts.index(component)
    return sum(rows[:position]), rows[position]


def _view(weight: Weight, name: str, stored: Readable, start: int, rows: int) -> TensorView:
    size, shape = (rows, *stored.shape[1:]), weight.shape
    if size == shape:
        return TensorView(name, stored, shape, start)
    padded = len(size) == len(shape) and all(
        length in (other, _padded(other)) for length, other in zip(size, shape, strict=True)
    )
    if not (padded and _may_be_padded(weight)):
        return TensorView(name, stored, stored.shape)
    view = TensorView(name, stored, shape, start, rows - shape[0])
    view.require_zero_padding()
    return view


def _height(tensor: Readable) -> int:
    return tensor.shape[0] if tensor.shape else 0


def _padded(size: int) -> int:
    return -(-size // _PADDED_TO) * _PADDED_TO


def _may_be_padded(weight: Weight) -> bool:
    """The MLPs of the vision tower's blocks."""
    return weight.part == "vision" and weight.layer == "mlp"
