"""Floors and likely ranges of stages and chunks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wall_edge_engines.build.targets.target import Ceiling, named_target, targets
from wall_edge_engines.plan.ceilings import BANDWIDTH, ceilings, efficiency
from wall_edge_engines.plan.prediction import StagePrediction, predict, prompt_span
from wall_edge_engines.plan.workload import Use

from tests.unit.plan.workloads import GB, NOBODY, device, use, workload
from wall_edge.errors import ConfigError


def stage(size: int, **operations: int) -> StagePrediction:
    work = workload(
        uses={"vision": use(size, **operations), "prefix": use(1), "word": use(1), "expert": use(1)}
    )
    return predict(work, device(), 1).stages["vision"]


@pytest.mark.parametrize(
    ("operations", "floor", "likely", "bound"),
    [
        (0, 10.0, (12.5, 20.0), "bandwidth"),
        (50 * GB, 10.0, (12.5, 20.0 + 10.0), "bandwidth"),
        (100 * GB, 10.0, (12.5, 20.0 + 20.0), "bandwidth"),
        (101 * GB, 10.1, (12.625, 20.0 + 20.2), "compute"),
        (1000 * GB, 100.0, (125.0, 20.0 + 200.0), "compute"),
    ],
)
def test_the_longer_of_bytes_and_products_binds_and_at_worst_they_add_up(
    operations: int, floor: float, likely: tuple[float, float], bound: str
) -> None:
    predicted = stage(GB, bf16=operations)
    assert predicted.floor_ms == pytest.approx(floor)
    assert predicted.likely_ms == pytest.approx(likely)
    assert predicted.bound == bound


def test_products_of_several_kinds_add_up() -> None:
    predicted = stage(1, fp32=GB, bf16=10 * GB, fp16=10 * GB, int8=20 * GB)
    assert predicted.floor_ms == pytest.approx(4.0)
    assert predicted.operations == 41 * GB


def test_a_chunk_is_vision_prefix_and_every_step() -> None:
    one, ten = (predict(workload(), device(), steps) for steps in (1, 10))
    floors = {name: part.floor_ms or 0.0 for name, part in ten.stages.items()}
    assert floors["expert"] == pytest.approx(20.0)
    assert ten.chunk_floor_ms == pytest.approx(floors["vision"] + floors["prefix"] + 10 * floors["expert"])
    assert ten.chunk_ms is not None
    assert one.chunk_ms is not None
    assert ten.chunk_ms[0] - one.chunk_ms[0] == pytest.approx(9 * 25.0)
    assert ten.chunk_rate_hz == pytest.approx((1000 / ten.chunk_ms[1], 1000 / ten.chunk_ms[0]))


def test_the_words_of_fast_actions_make_a_chunk_of_one_to_256() -> None:
    uses = {name: entry for name, entry in workload().uses.items() if name != "expert"}
    fast = predict(workload(uses=uses), device(), 10)
    assert fast.chunk_ms is not None
    low, high = (sum(fast.stages[name].likely_ms[end] for name in ("vision", "prefix")) for end in (0, 1))  # type: ignore[index]
    word, words = (sum(fast.stages[name].likely_ms[end] for name in ("word", "lm_head")) for end in (0, 1))  # type: ignore[index]
    second_run = fast.stages["word"].likely_ms[1]  # type: ignore[index]
    assert fast.chunk_ms == pytest.approx((low + word, high + second_run + 256 * words))
    assert fast.integration_steps is None
    assert any("1 to 256" in note for note in fast.notes)


@given(words=st.integers(1, 251), size=st.integers(1, 100 * GB), token=st.integers(0, GB))
def test_a_prompt_in_two_runs_is_within_its_range(words: int, size: int, token: int) -> None:
    """What a robot does: the tokens that every prompt shares, then the words; each run reads the weights."""

    def run(tokens: int) -> Use:
        return use(size, bf16=token * tokens)

    work = workload(
        uses={"vision": run(252 - words), "prefix": run(252), "word": run(1), "expert": run(words)}
    )
    stages = {name: part.likely_ms or (0.0, 0.0) for name, part in predict(work, device(), 1).stages.items()}
    low, high = prompt_span(stages["prefix"], stages["word"])
    assert low <= (stages["vision"][0] + stages["expert"][0]) * (1 + 1e-9)
    assert stages["vision"][1] + stages["expert"][1] <= high * (1 + 1e-9)


def test_the_second_run_of_a_prompt_is_in_the_top_of_a_chunk_and_said() -> None:
    predicted = predict(workload(), device(), 1)
    tops = {name: part.likely_ms[1] for name, part in predicted.stages.items() if part.likely_ms is not None}
    assert predicted.chunk_ms is not None
    assert predicted.chunk_ms[1] == pytest.approx(
        sum(tops[n] for n in ("vision", "prefix", "word", "expert"))
    )
    assert any("read its weights twice" in note for note in predicted.notes)


@pytest.mark.parametrize("name", ["orin-agx-64", "h100"])
def test_a_stand_in_for_float32_says_whose_it_is(name: str) -> None:
    note = ceilings(named_target(name))["fp32"].note
    assert note == "fp32: nobody measured it here: 22% to 80% of the data sheet's, as bf16 on AGX Orin 64"


def test_without_a_step_there_is_no_chunk() -> None:
    with pytest.raises(ConfigError, match="0 integration steps; expected at least 1"):
        predict(workload(), device(), 0)


def test_a_device_that_nobody_measured_has_the_efficiencies_of_orin() -> None:
    nx, orin = (ceilings(named_target(name)) for name in ("orin-nx-16", "orin-agx-64"))
    assert nx[BANDWIDTH].low == pytest.approx(102.4e9 * 92 / 204.8)
    assert nx[BANDWIDTH].high == pytest.approx(102.4e9 * 168 / 204.8)
    assert "45% to 82%" in nx[BANDWIDTH].note
    assert "AGX Orin 64" in nx[BANDWIDTH].note
    assert orin[BANDWIDTH].note == ""
    assert efficiency(named_target("orin-agx-64").bandwidth_gb_s) == pytest.approx((0.449, 0.820), abs=1e-3)


def test_without_a_data_sheet_the_best_measured_figure_is_the_floor() -> None:
    probed = replace(NOBODY, measured=(50.0, 80.0))
    predicted = predict(workload(), device(bandwidth_gb_s=probed), 1)
    expert = predicted.stages["expert"]
    assert expert.likely_ms is not None
    assert expert.floor_ms == pytest.approx(25.0) == expert.likely_ms[0]
    assert any("the best measured one is the floor" in note for note in predicted.notes)


def test_products_of_no_ceiling_are_left_out_and_that_is_said() -> None:
    predicted = predict(workload(), device(bf16_tflops=NOBODY), 1)
    assert predicted.stages["vision"].floor_ms == pytest.approx(10.0)
    assert any("its products are left out" in note for note in predicted.notes)


def test_without_a_bandwidth_no_time_is_predicted() -> None:
    predicted = predict(workload(), named_target("sm86-check"), 1)
    assert predicted.chunk_ms is None
    assert predicted.chunk_rate_hz is None
    assert {part.floor_ms for part in predicted.stages.values()} == {None}
    assert all(part.bytes > 0 for part in predicted.stages.values())
    assert any("stands for no device" in note for note in predicted.notes)


def test_a_data_sheet_that_is_exceeded_does_not_make_a_floor_above_the_range() -> None:
    fast = Ceiling(100.0, "data sheet", (90.0, 120.0), "measured")
    expert = predict(workload(), device(bandwidth_gb_s=fast), 1).stages["expert"]
    assert expert.likely_ms is not None
    assert expert.floor_ms == pytest.approx(expert.likely_ms[0])


@given(
    size=st.integers(1, 100 * GB),
    operations=st.integers(0, 10_000 * GB),
    name=st.sampled_from([name for name in targets() if name != "sm86-check"]),
    steps=st.integers(1, 50),
)
def test_a_floor_is_below_its_range_and_more_work_never_takes_less(
    size: int, operations: int, name: str, steps: int
) -> None:
    target = named_target(name)
    little = predict(workload(uses=dict.fromkeys(workload().uses, use(size, bf16=operations))), target, steps)
    more = predict(
        workload(uses=dict.fromkeys(workload().uses, use(2 * size, bf16=operations))), target, steps
    )
    assert little.chunk_ms is not None
    assert more.chunk_ms is not None
    assert little.chunk_floor_ms is not None
    assert little.chunk_floor_ms <= little.chunk_ms[0] * (1 + 1e-9)
    assert little.chunk_ms[0] <= little.chunk_ms[1]
    assert little.chunk_ms[1] <= more.chunk_ms[1]
