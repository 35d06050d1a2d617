"""The matrix products of a module, listed while it runs on tensors without values.

torch calls a dispatch mode with every operator and its real arguments after decomposing all layers, so that
nothing that multiplies is missed: what torch's own counter of operations (``torch.utils.flop_counter``) or
this file knows as a product and has no rule here is an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import flop_registry

from wall_edge.errors import ConfigError

_aten = torch.ops.aten
_PRODUCTS = (_aten.mm, _aten.bmm, _aten.addmm, _aten.baddbmm)
"""``[…, m, k] @ […, k, n]``, the two factors last."""
_WITHOUT_RULE = (_aten.mv, _aten.addmv, _aten.dot, _aten.vdot, _aten.linear, _aten.matmul, _aten.einsum)


@dataclass(frozen=True)
class Product:
    """One matrix product: two operations a multiply-add; ``weight`` is the factor of the checkpoint's."""

    operations: int
    dtype: torch.dtype
    weight: str | None


@dataclass(frozen=True)
class ModuleRun:
    """What a module did: its products in order, the weights that it read whole, rows picked of tables."""

    products: tuple[Product, ...]
    read: frozenset[str]
    rows: Mapping[str, int]


def run_hollow(module: nn.Module, inputs: Sequence[tuple[tuple[int, ...], torch.dtype]]) -> ModuleRun:
    """Run a module on inputs of these shapes and types, none of which has values; nothing is computed.

    Weights are named as :meth:`torch.nn.Module.named_parameters` does. Raises :class:`ConfigError` for a
    product that has no rule here.
    """
    weights = {
        name: torch.empty(weight.shape, dtype=weight.dtype, device="meta")
        for name, weight in module.named_parameters()
    }
    tensors = tuple(torch.empty(shape, dtype=dtype, device="meta") for shape, dtype in inputs)
    listing = _Listing({_storage(weight): name for name, weight in weights.items()})
    with torch.device("meta"), torch.no_grad(), listing:
        torch.func.functional_call(module, weights, tensors)
    return ModuleRun(tuple(listing.products), frozenset(listing.read), listing.rows)


class _Listing(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """``weights``: names by storage, which a view shares with its base."""

    def __init__(self, weights: Mapping[int, str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._weights = weights
        self.products: list[Product] = []
        self.read: set[str] = set()
        self.rows: dict[str, int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        names: list[str | None] = []

        def hollow(tensor: Tensor) -> Tensor:
            """The model's own tables have values: nothing is to be computed with them."""
            names.append(self._weights.get(_storage(tensor)))
            return tensor if tensor.is_meta else torch.empty_like(tensor, device="meta")

        args = tree_map_only(Tensor, hollow, args)
        out = func(*args, **(kwargs or {}))
        operator = func.overloadpacket
        if operator is _aten.embedding:
            table, picked = args[:2]
            name = self._weights[_storage(table)]
            self.rows[name] = self.rows.get(name, 0) + picked.numel()
        else:
            self.read.update(name for name in names if name is not None)
        if operator in _PRODUCTS:
            left, right = args[-2:]
            weight = self._weights.get(_storage(right)) or self._weights.get(_storage(left))
            self.products.append(Product(2 * out.numel() * left.shape[-1], left.dtype, weight))
        elif operator in flop_registry or operator in _WITHOUT_RULE:
            raise ConfigError(
                f"torch {torch.__version__}: {func}, a product whose operations nobody counts",
                expected="mm, bmm, addmm and baddbmm alone",
                fix="use the version of torch that wall-edge was tested with",
            )
        return out


def _storage(tensor: Tensor) -> int:
    storage: int = tensor.untyped_storage()._cdata
    return storage
