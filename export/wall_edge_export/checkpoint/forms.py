"""Stored tensors in the form that an adapter was trained on: fused or apart, with padding or without.

A base may be saved in another form than a fine-tune loads it in (:mod:`wall_edge_export.checkpoint.views`).
What an adapter adds to a layer is the same matrix in all of them: the base is taken by the adapter's names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from wall_edge_export.checkpoint.views import Readable, TensorView, fused_name, views
from wall_edge_export.checkpoint.weights import StoredTensor
from wall_edge_export.model.inventory import Inventory

Shape = tuple[int, ...]
_NUMBER = re.compile(r"\.\d+(?=\.)")


@dataclass(frozen=True)
class _Joined:
    """Tensors one below the other, as a fused layer holds them."""

    parts: tuple[Readable, ...]

    @property
    def path(self) -> Path:
        return self.parts[0].path

    @property
    def shape(self) -> Shape:
        return (sum(part.shape[0] for part in self.parts), *self.parts[0].shape[1:])

    def read(self) -> Tensor:
        return torch.cat([part.read() for part in self.parts])

    def rows(self, part: slice) -> Tensor:
        return self.read()[part]


def as_adapted(
    folder: Path, inventory: Inventory, stored: Mapping[str, StoredTensor], adapted: Mapping[str, Shape]
) -> dict[str, Readable]:
    """The stored tensors, where an adapter's are named or sized otherwise in its form.

    ``adapted``: shapes by name of what the adapter changes. Of all layers, so that those which it lacks are
    found missing. Raises :class:`CheckpointError` as :func:`views` does.
    """
    kinds = {_kind(name): shape for name, shape in adapted.items() if _differs(stored.get(name), shape)}
    if not kinds:
        return dict(stored)
    held = views(folder, inventory, stored)
    result: dict[str, Readable] = dict(stored)
    fused_kinds = {
        _kind(view.name) for name, view in held.items() if view.name != name and _kind(name) in kinds
    }
    for name, view in held.items():
        if view.name == name and kinds.get(_kind(name)) == view.shape:
            result[name] = view  # without its padding
        elif view.name != name and _kind(view.name) in fused_kinds:
            result.pop(view.name, None)
            result[name] = view
    for fused, parts in _fused(held).items():
        shape = kinds.get(_kind(fused))
        fit = all(part.shape == inventory[name].shape for name, part in parts.items())
        if shape is not None and fused not in stored and fit:
            whole, cut = _Joined(tuple(stored[name] for name in parts)), _Joined(tuple(parts.values()))
            result = {name: tensor for name, tensor in result.items() if name not in parts}
            result[fused] = cut if cut.shape == shape else whole
    return result


def _fused(held: Mapping[str, TensorView]) -> dict[str, dict[str, TensorView]]:
    """What is stored apart by the name of the layer that would hold it fused, in the order of its rows."""
    layers: dict[str, dict[str, TensorView]] = {}
    for name, view in held.items():
        if view.name == name != fused_name(name):
            layers.setdefault(fused_name(name), {})[name] = view
    return layers


def _differs(tensor: StoredTensor | None, shape: Shape) -> bool:
    return tensor is None or tensor.shape != shape


def _kind(name: str) -> str:
    """The same of all layers and experts."""
    return _NUMBER.sub(".N", name)
