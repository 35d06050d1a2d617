"""Calibration looks at what the graphs compute, and at nothing else."""

from __future__ import annotations

import pytest
from wall_edge_export.quantize import observer
from wall_edge_export.quantize.calibrate import Calibrator
from wall_edge_export.quantize.observer import PrecisionPlan
from wall_edge_export.quantize.statistics import LinearStatistics
from wall_edge_export.reference.streaming_model import StreamingModel

from tests.golden_graphs import Workbench


def test_beyond_the_last_layer_s_keys_and_values_only_last_tokens_count(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last down projection's scale was once chosen for image tokens, which never get there: the first
    word's logits were 11 % off.
    """
    tokens: dict[str, LinearStatistics] = {}

    class Counted(LinearStatistics):
        def __init__(self, name: str, *arguments: int, **options: bool) -> None:
            super().__init__(name, *arguments, **options)  # type: ignore[arg-type]
            tokens[name] = self

    monkeypatch.setattr(observer, "LinearStatistics", Counted)
    plan: PrecisionPlan = {"prefix": dict.fromkeys(("qkv", "o", "mlp"), ("int8",))}
    samples = [bench.sample(seed) for seed in range(2)]
    Calibrator(StreamingModel(bench.case.checkpoint), bench.case.graph_inputs, plan).run(
        samples, lambda _: None
    )

    words = sum(len(text.ids) for sample in samples for text in sample.continuations)
    everything = words + sum(len(sample.ids) for sample in samples)
    experts = "moe.experts.0"
    layers = (
        "self_attn.qkv_input",
        "self_attn.o_proj.input",
        f"{experts}.mlp_input",
        f"{experts}.down_proj.input",
    )
    first, last = ([tokens[f"prefix model.layers.{n}.{layer}"].count for layer in layers] for n in (0, 1))
    assert first == [everything] * 4
    assert last == [everything] + [words + len(samples)] * 3
