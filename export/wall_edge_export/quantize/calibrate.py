"""Calibration: every layer runs once over all samples, and leaves what its quantisation needs to know.

The samples' activations advance through the model together, so each layer's weights are read once and memory
holds one layer, whatever the model's size. The two uses of the decoder are seen apart: the prompt's tokens
(both prompts, with the subgoal's words as the answer) calibrate the prefix, the chunk's noisy tokens at
several times of the flow calibrate the expert, as training makes them: x_t = (1 - t) · noise + t · action.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from wall_edge.array_types import Floats32
from wall_edge.bundle import INT8
from wall_edge_export.model.decoder import Rotary, causal_mask
from wall_edge_export.model.layers import additive
from wall_edge_export.model.shapes import ACTION_EXPERT, TEXT_EXPERT
from wall_edge_export.model.vision import VisionLayout
from wall_edge_export.onnx.graphs import GraphInputs
from wall_edge_export.quantize.calibrated import Calibrated, InputScaling
from wall_edge_export.quantize.int4 import dequantize_blocks, gptq_blocks
from wall_edge_export.quantize.int8 import activation_scale, fake_quantize, linear_error, quantize_per_channel
from wall_edge_export.quantize.precision import INT4_WEIGHTS, family, input_group, int4_block
from wall_edge_export.quantize.smooth import best_smoothing
from wall_edge_export.quantize.statistics import LinearStatistics
from wall_edge_export.reference.streaming_model import StreamingModel

FLOW_TIMES = (0.05, 0.35, 0.65, 0.95)
"""Where on the way from noise to action the expert is seen."""
_LOSS_OUTPUTS = 512

PrecisionPlan = dict[str, dict[str, tuple[str, ...]]]
"""Graph → layer family → the precisions to prepare for."""


@dataclass(frozen=True)
class Continuation:
    """Tokens ``ids [T]`` at ``positions [3, T]`` behind the first ``shared`` tokens of the action prompt."""

    ids: Tensor
    positions: Tensor
    shared: int


@dataclass(frozen=True)
class ModelInput:
    """A sample as the model takes it.

    ``patches [n, patch_dim]``; ``ids [T]`` and ``positions [3, T]`` of the action prompt; ``continuations``
    of it: the subgoal's prompt and answer, the tokens of FAST actions; ``state, state_mask [slots]``;
    ``actions [horizon, slots]`` normalised, ``mask`` alike;
    ``chunk_positions [3, horizon]``.
    """

    patches: Tensor
    ids: Tensor
    positions: Tensor
    continuations: tuple[Continuation, ...]
    state: Tensor
    state_mask: Tensor
    actions: Tensor
    mask: Tensor
    chunk_positions: Tensor


@dataclass
class _Stream:
    """One sequence on its way through the decoder, behind the keys/values of the one that it continues."""

    graph: str
    x: Tensor
    rotary: Rotary
    bias: Tensor | None
    behind: int | None = None
    """Index of the stream whose keys/values it sees; None for a sequence of its own."""
    visible: int | None = None
    """How many of that stream's tokens it sees; None for all."""


class Calibrator:
    """Runs the model over samples and prepares the quantisation of the layers in ``plan``."""

    def __init__(
        self, streaming: StreamingModel, graph_inputs: GraphInputs, plan: PrecisionPlan, seed: int = 0
    ) -> None:
        self._streaming, self._model, self._graph_inputs, self._plan = (
            streaming,
            streaming.model,
            graph_inputs,
            plan,
        )
        self._rng = np.random.default_rng(seed)
        self.results = {graph: Calibrated() for graph in ("vision", "prefix", "expert")}

    def run(self, samples: Sequence[ModelInput], progress: Callable[[str], None]) -> dict[str, Calibrated]:
        """Calibrated layers by graph; raises when an activation is not finite."""
        with torch.inference_mode():
            embeds = self._vision([sample.patches for sample in samples], progress)
            self._decoder(self._streams(samples, embeds), progress)
        return self.results

    def _vision(self, patches: list[Tensor], progress: Callable[[str], None]) -> list[Tensor]:
        tower, layout = self._model.visual, VisionLayout(self._graph_inputs.grids, self._model.shape.vision)
        with self._streaming.hold():
            xs = [tower.patch_embed(sample) for sample in patches]
        for number, block in enumerate(tower.blocks):
            progress(f"vision block {number + 1}/{len(tower.blocks)}")
            with self._observing(f"visual.blocks.{number}", block) as look:
                for index, x in enumerate(xs):
                    look("vision")
                    xs[index] = tower.block(number, x, layout)
        with self._observing("visual.merger", tower.merger) as look:
            look("vision")
            return [tower.merger(x) for x in xs]

    def _streams(self, samples: Sequence[ModelInput], embeds: Sequence[Tensor]) -> list[_Stream]:
        """Per sample: the action prompt, the subgoal's prompt and answer, and the chunk at each flow time."""
        streams: list[_Stream] = []
        head, rotary = self._model.action_preprocessor, self._model.model.rotary
        with self._streaming.hold():
            for sample, images in zip(samples, embeds, strict=True):
                prompt = len(streams)
                x = self._embedded(sample.ids, images, head.embed_state(sample.state, sample.state_mask))
                bias = additive(causal_mask(len(x), 0))
                streams.append(_Stream("prefix", x, rotary(sample.positions), bias))
                for text in sample.continuations:
                    words = self._model.model.embed_tokens(text.ids)
                    bias = additive(causal_mask(len(words), text.shared))
                    streams.append(
                        _Stream("prefix", words, rotary(text.positions), bias, prompt, text.shared)
                    )
                for time in FLOW_TIMES if self._graph_inputs.actions.integrates else ():
                    noise = torch.from_numpy(
                        self._rng.standard_normal(sample.actions.shape, dtype=np.float32)
                    )
                    noisy = (1 - time) * noise + time * sample.actions
                    token = head.embed_action(noisy, sample.mask, torch.tensor(time))
                    streams.append(_Stream("expert", token, rotary(sample.chunk_positions), None, prompt))
        return streams

    def _embedded(self, ids: Tensor, images: Tensor, state: Tensor) -> Tensor:
        is_image, causal = ids == self._graph_inputs.image_token_id, causal_mask(len(ids), 0)
        x = self._model.embed(self._model.model.embed_tokens(ids), is_image, images, causal)
        return torch.where((ids == self._graph_inputs.state_token_id).unsqueeze(-1), state, x)

    def _decoder(self, streams: list[_Stream], progress: Callable[[str], None]) -> None:
        layers = self._model.model.layers
        for number, layer in enumerate(layers):
            progress(f"decoder layer {number + 1}/{len(layers)}")
            with self._observing(f"model.layers.{number}", layer) as look:
                keys_values: dict[int, Tensor] = {}
                for index, stream in enumerate(streams):
                    look(stream.graph)
                    past = None if stream.behind is None else keys_values[stream.behind][: stream.visible]
                    expert = ACTION_EXPERT if stream.graph == "expert" else TEXT_EXPERT
                    # In the graph only the last token gets beyond the last layer's keys/values. Every word of
                    # a continuation is the last one once; of the prompt before it the others never are.
                    last = layer is layers[-1] and stream.behind is None
                    stream.x, keys_values[index] = layer(
                        stream.x, stream.rotary, stream.bias, past, expert=expert, last=last
                    )

    @contextmanager
    def _observing(self, name: str, module: nn.Module) -> Iterator[Callable[[str], None]]:
        """Collect the inputs of a block's linear layers; quantise them when all samples have passed."""
        graph = ""
        collected: dict[tuple[str, str], LinearStatistics] = {}

        def look(now: str) -> None:
            nonlocal graph
            graph = now

        def observe(weight: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
            def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
                if precisions := self._precisions(graph, weight):
                    rows = inputs[0].reshape(-1, inputs[0].shape[-1]).numpy()
                    key = (graph, input_group(weight))
                    if key not in collected:
                        hessian = INT4_WEIGHTS in precisions
                        collected[key] = LinearStatistics(f"{graph} {key[1]}", rows.shape[1], hessian=hessian)
                    collected[key].update(rows)

            return hook

        linears = {
            f"{name}.{child}.weight": part
            for child, part in module.named_modules()
            if isinstance(part, nn.Linear)
        }
        # Layers that read the same input need it collected once: by the last, as the query may read less.
        leaders = {input_group(weight): weight for weight in linears}
        handles = [linears[weight].register_forward_pre_hook(observe(weight)) for weight in leaders.values()]
        with self._streaming.hold():
            try:
                yield look
            finally:
                for handle in handles:
                    handle.remove()
            self._prepare(linears, collected)

    def _precisions(self, graph: str, weight: str) -> tuple[str, ...]:
        layer = family(graph, weight)
        if (graph == "expert" and ".experts.0." in weight) or (graph == "prefix" and ".experts.1." in weight):
            return ()
        return self._plan.get(graph, {}).get(layer or "", ())

    def _prepare(
        self, linears: dict[str, nn.Linear], collected: dict[tuple[str, str], LinearStatistics]
    ) -> None:
        for (graph, group), statistics in collected.items():
            members = {w: linear.weight.numpy() for w, linear in linears.items() if input_group(w) == group}
            precisions, calibrated = self._precisions(graph, next(iter(members))), self.results[graph]
            if INT8 in precisions:
                calibrated.inputs[group] = scaling = _scaling(statistics, list(members.values()))
                for weight, values in members.items():
                    calibrated.losses[weight, INT8] = _int8_loss(statistics, values, scaling)
            if INT4_WEIGHTS in precisions:
                for weight, values in members.items():
                    block = int4_block(weight, values.shape[1])
                    q, scale = calibrated.int4[weight] = gptq_blocks(values, statistics.hessian, block)
                    back = dequantize_blocks(q, scale, block)
                    calibrated.losses[weight, INT4_WEIGHTS] = linear_error(values, back, statistics.rows)


def _scaling(statistics: LinearStatistics, weights: Sequence[Floats32]) -> InputScaling:
    smoothing = best_smoothing(statistics, weights)
    return InputScaling(smoothing, activation_scale(statistics, smoothing))


def _int8_loss(statistics: LinearStatistics, weight: Floats32, scaling: InputScaling) -> float:
    """The layer's output error on the sampled rows, over at most some of its outputs."""
    smooth = weight[:: -(-len(weight) // _LOSS_OUTPUTS)] * scaling.smoothing
    q, scale = quantize_per_channel(smooth)
    rows = statistics.rows / scaling.smoothing
    return linear_error(smooth, q * scale[:, None], rows, fake_quantize(rows, scaling.scale))
