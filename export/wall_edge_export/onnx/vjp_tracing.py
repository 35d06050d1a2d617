"""A stage that differentiates → a module of plain operators, which torch.onnx can export.

torch.onnx follows no ``torch.func.vjp``: the derivative is first written out, operator by operator, by
``make_fx`` over fake tensors, so that this too needs no memory for weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext

_aten = torch.ops.aten


class VjpModule(nn.Module):
    """A module's operators, its derivatives' among them, over the module's own parameters and their names."""

    def __init__(self, module: nn.Module, graph: fx.GraphModule) -> None:
        super().__init__()
        # Its children by their names, and not the module: initialisers are to keep the checkpoint's names.
        for name, child in module.named_children():
            self.add_module(name, child)
        self.operators = graph
        self._names = tuple(name for name, _ in module.named_parameters())

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        parameters = dict(self.named_parameters())
        results: tuple[Tensor, ...] = self.operators(
            {name: parameters[name] for name in self._names}, *tensors
        )
        return results


def trace_vjp(
    module: nn.Module, inputs: Sequence[Tensor], dynamic: Sequence[Mapping[int, object]]
) -> VjpModule:
    """``module`` at ``inputs``, of which the axes in ``dynamic`` (one mapping an input) may have any size."""
    mode = FakeTensorMode(shape_env=ShapeEnv())
    with mode:
        weights = {
            name: torch.empty(weight.shape, dtype=weight.dtype) for name, weight in module.named_parameters()
        }
    fakes = [
        mode.from_tensor(tensor, symbolic_context=StatelessSymbolicContext(_sizes(tensor, axes)))
        for tensor, axes in zip(inputs, dynamic, strict=True)
    ]

    def call(parameters: dict[str, Tensor], *tensors: Tensor) -> tuple[Tensor, ...]:
        results: tuple[Tensor, ...] = torch.func.functional_call(module, parameters, tensors)
        return results

    graph = make_fx(call, tracing_mode="symbolic")(weights, *fakes)
    _restore_linear(graph)
    return VjpModule(module, graph)


def _sizes(tensor: Tensor, dynamic: Mapping[int, object]) -> list[DimDynamic]:
    """All axes but the dynamic ones are fixed: a size that two axes share by chance would tie them."""
    return [DimDynamic.DYNAMIC if axis in dynamic else DimDynamic.STATIC for axis in range(tensor.dim())]


def _restore_linear(module: fx.GraphModule) -> None:
    """Put ``linear`` back for products with a transposed weight; a weight transposed twice is the weight.

    The velocity then has the same operators as in the graph ``expert``, and an engine that folds constants
    makes no transposed copy of the weights.
    """
    for node in list(module.graph.nodes):
        if _is_transposed(node) and _is_transposed(node.args[0]):
            node.replace_all_uses_with(node.args[0].args[0])
    for node in list(module.graph.nodes):
        if node.target not in (_aten.mm.default, _aten.addmm.default):
            continue
        *bias, x, right = node.args
        if _is_transposed(right):
            with module.graph.inserting_before(node):
                linear = module.graph.call_function(_aten.linear.default, (x, right.args[0], *bias))
            linear.meta = node.meta
            node.replace_all_uses_with(linear)
    module.graph.eliminate_dead_code()
    module.recompile()


def _is_transposed(node: object) -> bool:
    return isinstance(node, fx.Node) and node.target is _aten.t.default
