"""Traced graphs, put into a recipe's precision and written with their weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import onnx_ir as ir
from torch import Tensor

from wall_edge.bundle import GraphSpec
from wall_edge.errors import CheckpointError
from wall_edge_export.memory import give_back
from wall_edge_export.model.inventory import of_graph
from wall_edge_export.model.shapes import ModelShape
from wall_edge_export.onnx.editor import WeightPart
from wall_edge_export.onnx.graphs import GUIDED, Activations, GraphInputs, Stage, stages
from wall_edge_export.onnx.rewrite import rewrite
from wall_edge_export.onnx.trace import hollow_model, trace
from wall_edge_export.onnx.write_weights import write_weights
from wall_edge_export.quantize.calibrated import Calibrated
from wall_edge_export.quantize.precision import Recipe, summary


class GraphWriter:
    """Writes the graphs of one model; each is traced once for each type of activations."""

    def __init__(self, shape: ModelShape, graph_inputs: GraphInputs, tensor: Callable[[str], Tensor]) -> None:
        self._shape, self._graph_inputs, self._tensor = shape, graph_inputs, tensor
        self._stages: dict[tuple[Activations, Activations], dict[str, Stage]] = {}
        self._traced: dict[tuple[str, Activations], ir.Model] = {}

    def _stage(self, graph: str, activations: Activations) -> Stage:
        """The stage with hollow weights; ``guided`` is in float32 inside: rounding has no gradient."""
        weights = Activations() if graph == GUIDED else activations
        key = (weights, activations)
        if key not in self._stages:
            model = hollow_model(self._shape, self._graph_inputs.head_rows, weights)
            self._stages[key] = stages(model, self._graph_inputs, activations)
        return self._stages[key][graph]

    def spec(self, graph: str, recipe: Recipe) -> GraphSpec:
        """What the manifest says of a graph in this recipe."""
        families = recipe.families(graph)
        spec = self._stage(graph, recipe.activations).spec
        return replace(spec, precision=summary(families), families=families)

    def write(
        self, graph: str, recipe: Recipe, folder: Path, calibrated: Calibrated | None = None
    ) -> dict[str, str]:
        """Write one graph into ``folder``; returns its files' SHA-256."""
        stage, key = self._stage(graph, recipe.activations), (graph, recipe.activations)
        if key not in self._traced:
            self._traced[key] = trace(stage)
            give_back()
        model = self._traced[key].clone()
        parts = rewrite(model, stage.weights, recipe.families(graph))
        _check_complete(graph, stage, parts)
        return write_weights(
            model, parts, self.spec(graph, recipe), folder, self._tensor, calibrated or Calibrated()
        )


def _check_complete(graph: str, stage: Stage, parts: Sequence[WeightPart]) -> None:
    """A weight that tracing had lost would be exported as zeros without a word."""
    weights = set(of_graph(stage.weights, graph))
    if odd := weights ^ {weight.name for part in parts for weight in part.weights}:
        raise CheckpointError(
            f"the traced graph {graph} has other weights than the model: {', '.join(sorted(odd)[:3])}",
            expected=f"{len(weights)} weights",
            fix="use the versions of torch and onnxscript that wall-edge was tested with",
        )
