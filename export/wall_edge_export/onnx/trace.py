"""Stages → ONNX graphs without weights.

The model is built with hollow parameters (one zero, expanded), so tracing needs no memory for weights at any
size. Every parameter becomes an initialiser under its checkpoint name whose bytes are nowhere yet: the graph
is first rewritten for its precision, and then
:mod:`wall_edge_export.onnx.write_weights` streams the weights in.
"""

from __future__ import annotations

import logging
import warnings

import onnx_ir as ir
import torch
from onnxscript import optimizer
from torch import Tensor

from wall_edge.bundle import GraphSpec
from wall_edge_export.model.shapes import ModelShape
from wall_edge_export.model.wall import WallModel
from wall_edge_export.onnx.graphs import KEYS, PAST, TOKENS, Stage
from wall_edge_export.onnx.vjp_tracing import trace_vjp

OPSET = 20
"""Opset 23 emits RMSNormalization, which JetPack's TensorRT 10.3 rejects; 20 keeps primitive operators."""

STAGE_PREFIX = "model."
"""What the stage module adds in front of the checkpoint's names."""
WEIGHT = "weight"
"""The metadata key under which an initialiser holds its name in the checkpoint."""
_EXAMPLE = {TOKENS: 11, PAST: 7, KEYS: 18}


def hollow_model(shape: ModelShape, head_rows: int | None = None) -> WallModel:
    """A model of this shape whose parameters take no memory; ``head_rows``: of a trimmed vocabulary head."""
    with torch.device("meta"):
        model = WallModel(shape)
        if head_rows is not None:
            model.lm_head = torch.nn.Linear(shape.hidden_size, head_rows, bias=False)
    zero = torch.zeros(())
    model.load_state_dict({name: zero.expand(t.shape) for name, t in model.state_dict().items()}, assign=True)
    return model.eval()


def example_inputs(spec: GraphSpec) -> tuple[Tensor, ...]:
    """Zero tensors of a graph's input shapes, for tracing."""
    kinds = {"float32": torch.float32, "int64": torch.int64, "uint8": torch.uint8, "bool": torch.bool}
    return tuple(
        torch.zeros([_EXAMPLE[a] if isinstance(a, str) else a for a in t.shape], dtype=kinds[t.dtype])
        for t in spec.inputs.values()
    )


def trace(stage: Stage) -> ir.Model:
    """One stage as an ONNX graph; its weights are initialisers with names and shapes but no values."""
    dynamic = tuple(
        {axis: torch.export.Dim.DYNAMIC for axis, size in enumerate(t.shape) if isinstance(size, str)}
        for t in stage.spec.inputs.values()
    )
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
    for node in model.graph:
        node.metadata_props.clear()  # stack traces: half a megabyte a graph, with this machine's paths
    return model


def _name_weights(model: ir.Model, parameters: set[str]) -> None:
    for value in list(model.graph.initializers.values()):
        name = str(value.name)
        if name in parameters:
            value.const_value = None
            value.metadata_props[WEIGHT] = name.removeprefix(STAGE_PREFIX)
