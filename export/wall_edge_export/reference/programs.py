"""A stage as torch operators whose weights and constants are on a device.

The modules make tables as they run (rotary axes, windows, resize matrices): on a GPU each would be a copy
from the host at every call, which a CUDA graph cannot record. ``torch.export`` writes them out as constants.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.export.passes import move_to_device_pass

from wall_edge_export.onnx.graphs import Stage
from wall_edge_export.onnx.trace import dynamic_axes, example_inputs
from wall_edge_export.onnx.vjp_tracing import trace_vjp

Program = Callable[..., Tensor | tuple[Tensor, ...]]


def traced(stage: Stage) -> ExportedProgram:
    """The stage's operators, for inputs of any size along its dynamic axes."""
    inputs, axes = example_inputs(stage.spec), dynamic_axes(stage.spec)
    module = trace_vjp(stage.module, inputs, axes) if stage.differentiates else stage.module
    with torch.no_grad():
        return torch.export.export(module, inputs, dynamic_shapes=(axes,))


class _NoGuards(nn.Module):
    def forward(self, *_: object) -> None:
        return


def on_device(program: ExportedProgram, device: torch.device, weights: dict[str, nn.Parameter]) -> Program:
    """The program with all its constants on ``device``.

    ``weights`` by name are there already, and used; others are put there and added: stages share them.
    """
    module: nn.Module = move_to_device_pass(program, str(device)).module()
    if hasattr(module, "_guards_fn"):  # of the tracer's own: it takes lengths of 1 for a special case
        module._guards_fn = _NoGuards()
    shared = {name: weights.setdefault(name, weight) for name, weight in module.named_parameters()}
    module.load_state_dict(shared, strict=False, assign=True)
    return module
