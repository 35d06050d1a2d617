"""Calibration: every layer runs once over all samples, and leaves what its quantisation needs to know.

The samples' activations advance through the model together, so each layer's weights are read once and memory
holds one layer, whatever the model's size. The two uses of the decoder are seen apart: the prompt's tokens
(both prompts, with the subgoal's words as the answer) calibrate the prefix, the chunk's noisy tokens at
several times of the flow calibrate the expert, as training makes them: x_t = (1 - t) · noise + t · action.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from wall_edge_export.model.decoder import Tokens, causal_mask
from wall_edge_export.model.shapes import ACTION_EXPERT
from wall_edge_export.model.vision import VisionLayout
from wall_edge_export.onnx.graphs import GraphInputs
from wall_edge_export.quantize.calibrated import Calibrated
from wall_edge_export.quantize.observer import Observer, PrecisionPlan
from wall_edge_export.reference.streaming_model import StreamingModel

FLOW_TIMES = (0.05, 0.35, 0.65, 0.95)
"""Where on the way from noise to action the expert is seen."""


@dataclass(frozen=True)
class Placed:
    """Tokens ``ids [T]`` at ``positions [3, T]``."""

    ids: Tensor
    positions: Tensor


@dataclass(frozen=True)
class Continuation(Placed):
    """Behind the first ``shared`` tokens of the action prompt, or of ``prompt`` where that is another."""

    shared: int
    prompt: Placed | None = None


@dataclass(frozen=True)
class ModelInput:
    """A sample as the model takes it.

    ``patches [n, patch_dim]``; ``ids [T]`` and ``positions [3, T]`` of the action prompt; ``continuations``
    of prompts: the subgoal's question and answer, the tokens of FAST actions; ``state, state_mask [slots]``;
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

    tokens: Tokens
    behind: int | None = None
    """Index of the stream whose keys/values it sees; None for a sequence of its own."""
    visible: int | None = None
    """How many of that stream's tokens it sees; None for all."""


class Calibrator:
    """Runs the model over samples and prepares the quantisation of the layers in ``plan``."""

    def __init__(
        self, streaming: StreamingModel, graph_inputs: GraphInputs, plan: PrecisionPlan, seed: int = 0
    ) -> None:
        self._streaming, self._model, self._graph_inputs = streaming, streaming.model, graph_inputs
        self._observer = Observer(streaming, plan)
        self._rng = np.random.default_rng(seed)

    def run(self, samples: Sequence[ModelInput], progress: Callable[[str], None]) -> dict[str, Calibrated]:
        """Calibrated layers by graph; raises when an activation is not finite."""
        with torch.inference_mode():
            embeds = self._vision([sample.patches for sample in samples], progress)
            with self._streaming.hold():
                streams = self._streams(samples, embeds)
            self._decoder(streams, progress)
        return self._observer.results

    def _vision(self, patches: list[Tensor], progress: Callable[[str], None]) -> list[Tensor]:
        tower, layout = self._model.visual, VisionLayout(self._graph_inputs.grids, self._model.shape.vision)
        with self._streaming.hold():
            xs = [tower.patch_embed(sample) for sample in patches]
        for number, block in enumerate(tower.blocks):
            progress(f"vision block {number + 1}/{len(tower.blocks)}")
            with self._observer.watching(block) as look:
                for index, x in enumerate(xs):
                    look("vision")
                    xs[index] = tower.block(number, x, layout)
        with self._observer.watching(tower.merger) as look:
            look("vision")
            return [tower.merger(x) for x in xs]

    def _streams(self, samples: Sequence[ModelInput], embeds: Sequence[Tensor]) -> list[_Stream]:
        """Per sample: the action prompt, what continues it, and the chunk at each flow time."""
        streams: list[_Stream] = []
        for sample, images in zip(samples, embeds, strict=True):
            prompt = len(streams)
            streams.append(_Stream(self._prompt(sample, images, sample, 0)))
            for text in sample.continuations:
                behind = prompt
                if text.prompt is not None:
                    behind = len(streams)
                    streams.append(_Stream(self._prompt(sample, images, text.prompt, 0)))
                tokens = self._prompt(sample, images, text, text.shared)
                streams.append(_Stream(tokens, behind, text.shared))
            if self._graph_inputs.actions.integrates:
                streams += [_Stream(chunk, prompt) for chunk in self._chunks(sample)]
        return streams

    def _prompt(self, sample: ModelInput, images: Tensor, text: Placed | ModelInput, past: int) -> Tokens:
        return self._model.prompt_tokens(
            text.ids,
            images,
            text.positions,
            causal_mask(len(text.ids), past),
            *((sample.state, sample.state_mask) if self._model.shape.state_token else ()),
            past=past,
            image_token_id=self._graph_inputs.image_token_id,
            state_token_id=self._graph_inputs.state_token_id,
        )

    def _chunks(self, sample: ModelInput) -> Iterator[Tokens]:
        """The chunk on its way from noise; dead degrees of freedom go where the graph says."""
        padding, actions = self._graph_inputs.padding, sample.actions
        if padding is not None:
            actions = torch.where(sample.mask > 0, actions, torch.tensor(padding))
        for time in FLOW_TIMES:
            noise = torch.from_numpy(self._rng.standard_normal(actions.shape, dtype=np.float32))
            yield self._model.action_tokens(
                (1 - time) * noise + time * actions,
                sample.mask,
                torch.tensor(time),
                sample.chunk_positions,
                past=len(sample.ids),
                dtype=torch.float32,
            )

    def _decoder(self, streams: list[_Stream], progress: Callable[[str], None]) -> None:
        decoder = self._model.model
        for number, layer in enumerate(decoder.layers):
            progress(f"decoder layer {number + 1}/{len(decoder.layers)}")
            with self._observer.watching(layer) as look:
                keys_values: dict[int, Tensor] = {}
                for index, stream in enumerate(streams):
                    look("expert" if stream.tokens.expert == ACTION_EXPERT else "prefix")
                    past = None if stream.behind is None else keys_values[stream.behind][: stream.visible]
                    # In the graph only the last token gets beyond the last layer's keys/values. Every word of
                    # a continuation is the last one once; of the prompt before it the others never are.
                    stream.tokens, keys_values[index] = decoder.layer(
                        number, stream.tokens, past, last=stream.behind is None
                    )
