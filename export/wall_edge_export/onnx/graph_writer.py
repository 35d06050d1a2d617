"""Traced graphs, put into a recipe's precision and written with their weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import onnx_ir as ir
from torch import Tensor

from wall_edge.bundle import GraphSpec
from wall_edge.errors import CheckpointError
from wall_edge_export.memory import give_back
from wall_edge_export.model.shapes import ModelShape
from wall_edge_export.onnx.graphs import GUIDED, GraphInputs, Stage, graphs_of, stages
from wall_edge_export.onnx.rewrite import WeightPart, rewrite
from wall_edge_export.onnx.trace import STAGE_PREFIX, hollow_model, trace
from wall_edge_export.onnx.write_weights import write_weights
from wall_edge_export.quantize.calibrated import Calibrated
from wall_edge_export.quantize.precision import summary


class GraphWriter:
    """Writes the graphs of one model; each is traced once, whatever the number of precisions."""

    def __init__(self, shape: ModelShape, graph_inputs: GraphInputs, tensor: Callable[[str], Tensor]) -> None:
        self._shape, self._graph_inputs, self._tensor = shape, graph_inputs, tensor
        self._traced: dict[str, ir.Model] = {}

    @cached_property
    def _stages(self) -> dict[str, Stage]:
        return stages(hollow_model(self._shape, self._graph_inputs.head_rows), self._graph_inputs)

    def spec(self, graph: str, families: Mapping[str, str]) -> GraphSpec:
        """What the manifest says of a graph in these precisions."""
        return replace(self._stages[graph].spec, precision=summary(families), families=dict(families))

    def write(
        self, graph: str, families: Mapping[str, str], folder: Path, calibrated: Calibrated | None = None
    ) -> dict[str, str]:
        """Write one graph into ``folder``; returns its files' SHA-256."""
        if graph not in self._traced:
            self._traced[graph] = trace(self._stages[graph])
            give_back()
        model = self._traced[graph].clone()
        parts = rewrite(model, graph, dict(families))
        self._check_complete(graph, parts)
        return write_weights(
            model, parts, self.spec(graph, families), folder, self._tensor, calibrated or Calibrated()
        )

    def _check_complete(self, graph: str, parts: Sequence[WeightPart]) -> None:
        """A weight that tracing had lost would be exported as zeros without a word."""
        names = self._stages[graph].module.state_dict()
        like = "expert" if graph == GUIDED else graph
        weights = {name for key in names if like in graphs_of(name := key.removeprefix(STAGE_PREFIX))}
        if odd := weights ^ {part.weight for part in parts}:
            raise CheckpointError(
                f"the traced graph {graph} has other weights than the model: {', '.join(sorted(odd)[:3])}",
                expected=f"{len(weights)} weights",
                fix="use the versions of torch and onnxscript that wall-edge was tested with",
            )
