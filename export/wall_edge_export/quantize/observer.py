"""What the linear layers of a block are given while samples pass, and their quantisation by that."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from torch import Tensor, nn

from wall_edge.array_types import Floats32
from wall_edge.bundle import INT8
from wall_edge_export.model.inventory import Weight, inventory
from wall_edge_export.quantize.calibrated import Calibrated, InputScaling
from wall_edge_export.quantize.int4 import dequantize_blocks, gptq_blocks
from wall_edge_export.quantize.int8 import activation_scale, fake_quantize, linear_error, quantize_per_channel
from wall_edge_export.quantize.precision import INT4_WEIGHTS, int4_block
from wall_edge_export.quantize.smooth import best_smoothing
from wall_edge_export.quantize.statistics import LinearStatistics
from wall_edge_export.reference.streaming_model import StreamingModel

_LOSS_OUTPUTS = 512

PrecisionPlan = dict[str, dict[str, tuple[str, ...]]]
"""Graph → layer family → the precisions to prepare for."""
_Collected = dict[tuple[str, str], LinearStatistics]
"""By graph and input group."""


class Observer:
    """Prepares the quantisation of the layers in ``plan``, block by block; ``results`` by graph."""

    def __init__(self, streaming: StreamingModel, plan: PrecisionPlan) -> None:
        self._streaming, self._plan = streaming, plan
        self._weights = inventory(streaming.model)
        self._names = {module: name for name, module in streaming.model.named_modules()}
        self.results = {graph: Calibrated() for graph in ("vision", "prefix", "expert")}

    @contextmanager
    def watching(self, block: nn.Module) -> Iterator[Callable[[str], None]]:
        """Collect what a block's linear layers are given; quantise them when all samples have passed.

        The function that it gives is told the graph in which the next sample passes. Raises
        :class:`CheckpointError` when an activation is not finite.
        """
        graph = ""
        collected: _Collected = {}

        def look(now: str) -> None:
            nonlocal graph
            graph = now

        def watch(weight: Weight) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
            return lambda _, inputs: self._collect(collected, graph, weight, inputs[0])

        linears = {
            f"{self._names[module]}.weight": module
            for module in block.modules()
            if isinstance(module, nn.Linear)
        }
        # Layers that read the same input need it collected once: by the last, as the query may read less.
        leaders = {self._weights[name].input_group: name for name in linears}
        handles = [
            linears[name].register_forward_pre_hook(watch(self._weights[name])) for name in leaders.values()
        ]
        with self._streaming.hold():
            try:
                yield look
            finally:
                for handle in handles:
                    handle.remove()
            self._prepare(linears, collected)

    def _precisions(self, graph: str, weight: Weight) -> tuple[str, ...]:
        return self._plan.get(graph, {}).get(weight.family or "", ()) if graph in weight.graphs else ()

    def _collect(self, collected: _Collected, graph: str, weight: Weight, x: Tensor) -> None:
        if not (precisions := self._precisions(graph, weight)):
            return
        rows, group = x.reshape(-1, x.shape[-1]).numpy(), str(weight.input_group)
        if (graph, group) not in collected:
            hessian = INT4_WEIGHTS in precisions
            collected[graph, group] = LinearStatistics(f"{graph} {group}", rows.shape[1], hessian=hessian)
        collected[graph, group].update(rows)

    def _prepare(self, linears: Mapping[str, nn.Linear], collected: _Collected) -> None:
        for (graph, group), statistics in collected.items():
            members = {
                name: linear.weight.numpy()
                for name, linear in linears.items()
                if self._weights[name].input_group == group
            }
            precisions = self._precisions(graph, self._weights[next(iter(members))])
            calibrated = self.results[graph]
            if INT8 in precisions:
                calibrated.inputs[group] = scaling = _scaling(statistics, list(members.values()))
                for name, values in members.items():
                    calibrated.losses[name, INT8] = _int8_loss(statistics, values, scaling)
            if INT4_WEIGHTS in precisions:
                for name, values in members.items():
                    block = int4_block(name, values.shape[1])
                    q, scale = calibrated.int4[name] = gptq_blocks(values, statistics.hessian, block)
                    back = dequantize_blocks(q, scale, block)
                    calibrated.losses[name, INT4_WEIGHTS] = linear_error(values, back, statistics.rows)


def _scaling(statistics: LinearStatistics, weights: Sequence[Floats32]) -> InputScaling:
    smoothing = best_smoothing(statistics, weights)
    return InputScaling(smoothing, activation_scale(statistics, smoothing))


def _int8_loss(statistics: LinearStatistics, weight: Floats32, scaling: InputScaling) -> float:
    """The layer's output error on the sampled rows, over at most some of its outputs."""
    smooth = weight[:: -(-len(weight) // _LOSS_OUTPUTS)] * scaling.smoothing
    q, scale = quantize_per_channel(smooth)
    rows = statistics.rows / scaling.smoothing
    return linear_error(smooth, q * scale[:, None], rows, fake_quantize(rows, scaling.scale))
