"""A model's shape and a recipe → the workload of the bundle that an export would make of them.

The stages that export traces are run once a use, on tensors without values: seconds where tracing graphs of
full size takes minutes, and no weight of any file is read. ``wall_edge_engines.plan.onnx_work`` counts the
same from a bundle's graphs; tests hold the two against one another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import torch
from wall_edge_engines.plan.uses import ARITHMETIC, GraphCount, Sizes, count_uses
from wall_edge_engines.plan.workload import Arithmetic, Workload

from wall_edge.bundle import INT8
from wall_edge.errors import ConfigError
from wall_edge_export.model.inventory import Weight
from wall_edge_export.model.shapes import ModelShape
from wall_edge_export.onnx.graphs import Activations, GraphInputs, Stage, stages
from wall_edge_export.onnx.linear import STAGE_PREFIX
from wall_edge_export.onnx.trace import hollow_model
from wall_edge_export.plan.products import ModuleRun, Product, run_hollow
from wall_edge_export.quantize.precision import ELEMENT_TYPES, Recipe
from wall_edge_export.quantize.weight_bytes import weight_bytes

_TYPES: dict[str, Arithmetic] = {name: ARITHMETIC[dtype] for name, dtype in ELEMENT_TYPES.items()}
"""Of precisions that are a type: a linear layer's product is computed in it."""


def model_workload(
    shape: ModelShape, graph_inputs: GraphInputs, recipe: Recipe, prompt_tokens: int
) -> Workload:
    """Bytes and operations of every use, as the exported graphs will have them.

    ``prompt_tokens``: the images' and the words'. Raises :class:`ConfigError` for a prompt that the images
    alone fill and for a layer that the recipe cannot hold.
    """
    return ModelWork(shape, graph_inputs).workload(recipe, prompt_tokens)


class ModelWork:
    """A model's workloads in several recipes: stages run once a type of activations, not once a recipe."""

    def __init__(self, shape: ModelShape, graph_inputs: GraphInputs) -> None:
        self._shape, self._graph_inputs = shape, graph_inputs
        self._stages: dict[Activations, dict[str, Stage]] = {}
        self._runs: dict[tuple[Activations, str, str], ModuleRun] = {}

    def workload(self, recipe: Recipe, prompt_tokens: int) -> Workload:
        """As :func:`model_workload`."""
        activations = recipe.activations
        if activations not in self._stages:
            model = hollow_model(self._shape, self._graph_inputs.head_rows, activations)
            self._stages[activations] = stages(model, self._graph_inputs, activations)
        parts = self._stages[activations]
        stored = weight_bytes(self._shape, self._graph_inputs, recipe)

        def count(graph: str, sizes: Sizes) -> GraphCount:
            run, stage = self._run(activations, graph, sizes), parts[graph]
            return GraphCount(
                _weight_bytes(stage, run, stored[graph]), _operations(graph, stage, run, recipe)
            )

        return count_uses(
            recipe.name,
            {graph: stage.spec for graph, stage in parts.items()},
            len(self._graph_inputs.grids),
            prompt_tokens,
            {graph: sum(sizes.values()) for graph, sizes in stored.items()},
            count,
        )

    def _run(self, activations: Activations, graph: str, sizes: Sizes) -> ModuleRun:
        key = (activations, graph, repr(sorted(sizes.items())))
        if key not in self._runs:
            stage = self._stages[activations][graph]
            self._runs[key] = run_hollow(stage.module, _inputs(stage, sizes))
        return self._runs[key]


def _inputs(stage: Stage, sizes: Sizes) -> list[tuple[tuple[int, ...], torch.dtype]]:
    return [
        (
            tuple(sizes[axis] if isinstance(axis, str) else axis for axis in tensor.shape),
            getattr(torch, tensor.dtype),
        )
        for tensor in stage.spec.inputs.values()
    ]


def _weight_bytes(stage: Stage, run: ModuleRun, stored: Mapping[str, int]) -> int:
    """Of what the run read whole, and of the rows that it picked."""
    table_rows = {name: weight.shape[0] for name, weight in stage.module.named_parameters()}
    total = sum(stored[name.removeprefix(STAGE_PREFIX)] for name in run.read)
    for name, rows in run.rows.items():
        total += stored[name.removeprefix(STAGE_PREFIX)] // table_rows[name] * min(rows, table_rows[name])
    return total


def _operations(graph: str, stage: Stage, run: ModuleRun, recipe: Recipe) -> dict[Arithmetic, int]:
    multiplied = {product.weight for product in run.products}
    for name in run.read - multiplied:
        if _weight(stage, name).family is not None:
            raise ConfigError(
                f"{graph}: the product of {name} is not seen",
                expected="every linear layer among the products",
                fix="use the version of torch that wall-edge was tested with",
            )
    totals: Counter[Arithmetic] = Counter()
    for product in run.products:
        weight = None if product.weight is None else _weight(stage, product.weight)
        # A kernel of patches is no linear layer's weight: it is cast to the activations' where it is read.
        linear = weight is not None and len(weight.shape) == 2
        precision = recipe.precision(graph, weight) if weight is not None and linear else None
        totals[_arithmetic(product, precision)] += product.operations
    return dict(totals)


def _weight(stage: Stage, parameter: str) -> Weight:
    return stage.weights[parameter.removeprefix(STAGE_PREFIX)]


def _arithmetic(product: Product, precision: str | None) -> Arithmetic:
    """What a product is computed in: a linear layer's by its precision, any other by its factors' type."""
    if precision == INT8:
        return "int8"
    types: dict[str, Arithmetic] = {f"torch.{name}": kind for name, kind in ARITHMETIC.items()}
    return _TYPES.get(precision or "") or types[str(product.dtype)]
