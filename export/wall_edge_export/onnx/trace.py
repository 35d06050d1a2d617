"""Stages → ONNX graphs without weights.

The model is built with hollow parameters (one zero, expanded), so tracing needs no memory for weights at any
size. Every parameter becomes an initialiser under its checkpoint name whose bytes are nowhere yet: the graph
is first rewritten for its precision, and then
:mod:`wall_edge_export.onnx.write_weights` streams the weights in.
"""

from __future__ import annotations

import logging
import warnings
from typing import Any

import onnx_ir as ir
import torch
from onnxscript import optimizer
from torch import Tensor

from wall_edge.bundle import GraphSpec
from wall_edge_export.model.inventory import inventory
from wall_edge_export.model.shapes import ModelShape
from wall_edge_export.model.wall import WallModel
from wall_edge_export.onnx.graphs import KEYS, PAST, TOKENS, Activations, Stage
from wall_edge_export.onnx.linear import STAGE_PREFIX, name_weights
from wall_edge_export.onnx.merge_products import merge_products
from wall_edge_export.onnx.vjp_tracing import trace_vjp

OPSET = 20
"""Opset 23 emits RMSNormalization, which JetPack's TensorRT 10.3 rejects; 20 keeps primitive operators."""

_EXAMPLE = {TOKENS: 11, PAST: 7, KEYS: 18}


def hollow_model(
    shape: ModelShape,
    head_rows: int | None = None,
    activations: Activations = Activations(),  # noqa: B008 - frozen
) -> WallModel:
    """A model of this shape whose parameters take no memory, for these types between its products.

    ``head_rows``: of a trimmed vocabulary head.
    """
    with torch.device("meta"):
        model = WallModel(shape)
        if head_rows is not None:
            model.lm_head = torch.nn.Linear(shape.hidden_size, head_rows, bias=False)
    types = parameter_types(model, activations)
    state = {
        name: torch.zeros((), dtype=types[name]).expand(t.shape) for name, t in model.state_dict().items()
    }
    model.load_state_dict(state, assign=True)
    return model.eval()


def parameter_types(model: WallModel, activations: Activations) -> dict[str, torch.dtype]:
    """Every parameter's type by name: the activations', but in the action head and of norms' vectors."""
    return {name: getattr(torch, activations.type_of(weight)) for name, weight in inventory(model).items()}


def example_inputs(spec: GraphSpec) -> tuple[Tensor, ...]:
    """Zero tensors of a graph's input shapes, for tracing."""
    return tuple(
        torch.zeros(
            [_EXAMPLE[a] if isinstance(a, str) else a for a in t.shape], dtype=getattr(torch, t.dtype)
        )
        for t in spec.inputs.values()
    )


def dynamic_axes(spec: GraphSpec) -> tuple[dict[int, Any], ...]:
    """For each of a graph's inputs, the axes that may have any size."""
    return tuple(
        {axis: torch.export.Dim.DYNAMIC for axis, size in enumerate(t.shape) if isinstance(size, str)}
        for t in spec.inputs.values()
    )


def trace(stage: Stage) -> ir.Model:
    """One stage as an ONNX graph; its weights are initialisers with names and shapes but no values."""
    dynamic = dynamic_axes(stage.spec)
    module, inputs = stage.module, example_inputs(stage.spec)
    if stage.differentiates:
        module = trace_vjp(module, inputs, dynamic)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        for noisy in ("torch.onnx", "torch.export", "torch.fx", "onnx_ir", "onnxscript"):
            logging.getLogger(noisy).setLevel(logging.CRITICAL)
        program = torch.onnx.export(
            module,
            inputs,
            dynamo=True,
            optimize=False,  # it would fold the hollow weights
            opset_version=OPSET,
            input_names=list(stage.spec.inputs),
            output_names=list(stage.spec.outputs),
            dynamic_shapes=(dynamic,),
            verbose=False,
        )
    assert program is not None
    weights = {name: value.shape for name, value in stage.module.named_parameters()}
    model: ir.Model = program.model
    _name_weights(model, set(weights))
    optimizer.optimize(model)  # weights have no value, so only shapes and tables are folded
    merge_products(model, stage.weights)
    for node in model.graph:
        node.metadata_props.clear()  # stack traces: half a megabyte a graph, with this machine's paths
    return model


def _name_weights(model: ir.Model, parameters: set[str]) -> None:
    for value in list(model.graph.initializers.values()):
        name = str(value.name)
        if name in parameters:
            value.const_value = None
            name_weights(value, name.removeprefix(STAGE_PREFIX))
