"""Calibration looks at what the graphs compute, and at nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from wall_edge_export.quantize import observer
from wall_edge_export.quantize.calibrate import Calibrator, ModelInput, Placed
from wall_edge_export.quantize.observer import PrecisionPlan
from wall_edge_export.quantize.statistics import LinearStatistics
from wall_edge_export.reference.streaming_model import StreamingModel

from tests.golden_graphs import Workbench

LAYERS = (
    "self_attn.qkv_input",
    "self_attn.o_proj.input",
    "moe.experts.0.mlp_input",
    "moe.experts.0.down_proj.input",
)


def statistics(bench: Workbench, samples: list[ModelInput], layer: int) -> list[LinearStatistics]:
    """Of what ``LAYERS`` are given in a layer of the prefix."""
    tokens: dict[str, LinearStatistics] = {}

    class Counted(LinearStatistics):
        def __init__(self, name: str, *arguments: int, **options: bool) -> None:
            super().__init__(name, *arguments, **options)  # type: ignore[arg-type]
            tokens[name] = self

    plan: PrecisionPlan = {"prefix": dict.fromkeys(("qkv", "o", "mlp"), ("int8",))}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(observer, "LinearStatistics", Counted)
        Calibrator(StreamingModel(bench.case.checkpoint), bench.case.graph_inputs, plan).run(
            samples, lambda _: None
        )
    return [tokens[f"prefix model.layers.{layer}.{name}"] for name in LAYERS]


def test_beyond_the_last_layer_s_keys_and_values_only_last_tokens_count(bench: Workbench) -> None:
    """The last down projection's scale was once chosen for image tokens, which never get there: the first
    word's logits were 11 % off.
    """
    samples = [bench.sample(seed) for seed in range(2)]
    words = sum(len(text.ids) for sample in samples for text in sample.continuations)
    everything = words + sum(len(sample.ids) for sample in samples)
    first, last = ([found.count for found in statistics(bench, samples, number)] for number in (0, 1))
    assert first == [everything] * 4
    assert last == [everything] + [words + len(samples)] * 3


def test_a_prompt_of_its_own_is_seen_as_the_action_prompt_is(bench: Workbench) -> None:
    """A question behind another system turn has its own images: what follows them sees the same, and of the
    prompt before it only the last token gets beyond the last layer's keys/values.
    """
    shared = bench.sample(0)
    prompt = Placed(shared.ids, shared.positions)
    apart = replace(shared, continuations=tuple(replace(one, prompt=prompt) for one in shared.continuations))
    with_it, without = (statistics(bench, [sample], 1) for sample in (apart, shared))
    more = [found.count - before.count for found, before in zip(with_it, without, strict=True)]
    assert more == [len(shared.ids), 1, 1, 1]
    for found, before in zip(with_it, without, strict=True):
        np.testing.assert_allclose(found.channel_absmax, before.channel_absmax, rtol=1e-5)
