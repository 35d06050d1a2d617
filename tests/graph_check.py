"""Graphs of a model in any recipe, each built once ahead of time; weights and scales mean nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor
from wall_edge_engines.build.profiles import uses
from wall_edge_engines.build.targets.target import targets
from wall_edge_export.model.inventory import inventory, of_graph
from wall_edge_export.model.shapes import ModelShape
from wall_edge_export.onnx.graph_writer import GraphWriter
from wall_edge_export.onnx.graphs import GRAPHS, GraphInputs
from wall_edge_export.onnx.trace import hollow_model
from wall_edge_export.quantize.calibrated import Calibrated, InputScaling
from wall_edge_export.quantize.precision import CALIBRATED, Recipe, int4_block, load_recipe

from benchmarks.tensorrt_build import Row, checked
from wall_edge.bundle import MAX_SUBGOAL_TOKENS

RECOMMENDED = sorted({recipe for target in targets().values() for recipe in target.recipes} - {"fp32"})
"""What targets recommend to export with, and TensorRT fuses something of."""
PROFILES = uses(prompt=400, capacity=400 + MAX_SUBGOAL_TOKENS)


@dataclass
class GraphCheck:
    """Rows of ``benchmarks/tensorrt_build.py`` by recipe and graph; alike graphs are built once."""

    shape: ModelShape
    graph_inputs: GraphInputs
    _rows: dict[tuple[str, ...], Row] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._weights = inventory(hollow_model(self.shape))
        self._writer = GraphWriter(self.shape, self.graph_inputs, self._tensor)

    def rows(self, recipe: str) -> dict[str, Row]:
        """Every graph in a recipe, but ``guided``."""
        return {graph: self.row(recipe, graph) for graph in GRAPHS}

    def row(self, name: str, graph: str) -> Row:
        """One graph in a recipe."""
        recipe = load_recipe(name)
        families = recipe.families(graph)
        key = (graph, str(recipe.activations), *families.values())
        if key not in self._rows:
            with TemporaryDirectory() as folder:
                self._writer.write(graph, recipe, Path(folder), self._calibrated(graph, recipe))
                spec = self._writer.spec(graph, recipe)
                self._rows[key] = checked(Path(folder), graph, spec, PROFILES[graph])
        return self._rows[key]

    def _tensor(self, name: str) -> Tensor:
        return torch.full(self._weights[name].shape, 0.0625, dtype=torch.bfloat16)

    def _calibrated(self, graph: str, recipe: Recipe) -> Calibrated:
        calibrated = Calibrated()
        for name, weight in of_graph(self._weights, graph).items():
            precision = recipe.precision(graph, weight)
            if precision not in CALIBRATED:
                continue
            rows, columns = weight.shape
            scaling = InputScaling(np.ones(columns, np.float32), 0.0625)
            calibrated.inputs[str(weight.input_group)] = scaling
            if precision == "int4-weights":
                scales = np.full((rows, columns // int4_block(name, columns)), 0.0625, np.float32)
                calibrated.int4[name] = np.ones(weight.shape, np.int8), scales
        return calibrated
