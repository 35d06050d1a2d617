"""The integration loop: the first run prepares, all others are one launch at fixed addresses."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from wall_edge_engines.base import DeviceTensor
from wall_edge_engines.loop import Step
from wall_edge_engines.tensorrt.engine import TensorRtEngine
from wall_edge_engines.tensorrt.lane import MAX_CAPTURED, MAX_SCHEDULES

from tests.doubles.gpu import Gpu
from tests.unit.tensorrt.conftest import HORIZON, SPECS, WIDTH

NOISE = np.arange(HORIZON, dtype=np.float32)
STEPS = tuple(Step(0.1 * number, 0.25, 2.0 * number) for number in range(7))


def tensors(engine: TensorRtEngine, past: DeviceTensor) -> dict[str, DeviceTensor]:
    spec = SPECS["expert"]
    fixed = {name: tensor for name, tensor in {**spec.inputs, **spec.outputs}.items() if name != "past_kv"}
    return {name: engine.tensor(tensor.shape, tensor.dtype) for name, tensor in fixed.items()} | {
        "past_kv": past
    }  # type: ignore[arg-type]


def past_of(engine: TensorRtEngine, rows: int) -> DeviceTensor:
    past = engine.tensor((rows, WIDTH), "float32")
    past.write(np.full((rows, WIDTH), 0.125, dtype=np.float32))
    return past


def expected(steps: tuple[Step, ...], rows: int) -> np.ndarray:
    action = NOISE.copy()
    for step in steps:
        action = action + np.float32(step.size) * (
            step.time + step.guidance_weight + 0.125 * rows * WIDTH - action
        )
    return action


@pytest.mark.parametrize("count", [1, 2, 3, 6, 7])
def test_every_run_gives_the_action_and_leaves_the_noise(engine: TensorRtEngine, count: int) -> None:
    given = tensors(engine, past_of(engine, 8))
    given["noisy_action"].write(NOISE)
    loop = engine.bind_loop("expert", given, STEPS[:count])
    for _ in range(3):
        loop.run()
        np.testing.assert_allclose(given["next_action"].read(), expected(STEPS[:count], 8), rtol=1e-5)
        assert given["noisy_action"].read().tolist() == NOISE.tolist()


def test_after_the_first_run_it_is_one_launch_and_copies_nothing_but_noise_and_action(
    engine: TensorRtEngine, gpu: Gpu
) -> None:
    given = tensors(engine, past_of(engine, 8))
    loop = engine.bind_loop("expert", given, STEPS)
    given["noisy_action"].write(NOISE)
    loop.run()
    given["next_action"].read()
    assert gpu.calls["execute_async_v3"] == 2 * len(STEPS)  # once each uncaptured, once into the capture
    gpu.calls.clear()
    before = gpu.counts()
    for _ in range(5):
        given["noisy_action"].write(NOISE)
        loop.run()
        given["next_action"].read()
    assert gpu.counts() == before
    calls = {name: count for name, count in gpu.calls.items() if "Event" not in name}
    assert calls == {"cuMemcpyHtoDAsync": 5, "cuGraphLaunch": 5, "cuMemcpyDtoHAsync": 5}


def test_new_values_at_the_same_addresses_are_what_the_captured_loop_reads(engine: TensorRtEngine) -> None:
    past = past_of(engine, 8)
    given = tensors(engine, past)
    loop = engine.bind_loop("expert", given, STEPS)
    given["noisy_action"].write(NOISE)
    loop.run()
    past.write(np.full((8, WIDTH), 0.25, dtype=np.float32))
    loop.run()
    np.testing.assert_allclose(given["next_action"].read(), expected(STEPS, 16), rtol=1e-5)


def test_keys_values_at_any_row_go_in_without_the_host(engine: TensorRtEngine, gpu: Gpu) -> None:
    """Row 1, of 96 bytes, is at an address that TensorRT refuses: it is copied, on the device."""
    cache = past_of(engine, 9)
    given = tensors(engine, cache.rows(1, 9))
    loop = engine.bind_loop("expert", given, STEPS)
    given["noisy_action"].write(NOISE)
    gpu.calls.clear()
    for _ in range(2):
        loop.run()
        np.testing.assert_allclose(given["next_action"].read(), expected(STEPS, 8), rtol=1e-5)
    assert gpu.calls["cuMemcpyDtoDAsync"] == 2  # once run, once captured
    assert gpu.calls["cuMemcpyHtoDAsync"] == 0


def test_captured_loops_are_few_and_the_oldest_is_captured_again(engine: TensorRtEngine, gpu: Gpu) -> None:
    cache = past_of(engine, MAX_CAPTURED + 3)
    given = tensors(engine, cache)
    given["noisy_action"].write(NOISE)
    loops = [
        engine.bind_loop("expert", {**given, "past_kv": cache.rows(0, rows)}, STEPS)
        for rows in range(1, MAX_CAPTURED + 4)
    ]
    for rows, loop in [*enumerate(loops, 1), *enumerate(loops, 1)]:
        loop.run()
        np.testing.assert_allclose(given["next_action"].read(), expected(STEPS, rows), rtol=1e-5)
        assert gpu.counts()["graphs"] <= MAX_CAPTURED + 1  # what was dropped goes before the next capture
    loops[-1].run()
    assert gpu.calls["cuGraphLaunch"] == 1


def test_each_captured_loop_has_a_context_whose_shapes_stay(engine: TensorRtEngine, gpu: Gpu) -> None:
    """A graph is undefined once its context took other shapes: other lengths, launches, single steps."""
    cache = past_of(engine, 2 * MAX_CAPTURED + 1)
    given = tensors(engine, cache)
    loops = [
        engine.bind_loop("expert", {**given, "past_kv": cache.rows(0, rows)}, STEPS)
        for rows in range(1, 2 * MAX_CAPTURED + 1)
    ]
    step = engine.bind("expert", {**given, "past_kv": cache})
    for _ in range(2):
        for captured in (loops[:MAX_CAPTURED], loops[MAX_CAPTURED:]):
            for rows, loop in 2 * [*enumerate(captured, 1 + loops.index(captured[0]))]:
                step.run()
                given["noisy_action"].write(NOISE)
                loop.run()
                np.testing.assert_allclose(given["next_action"].read(), expected(STEPS, rows), rtol=1e-5)
    assert gpu.calls["cuGraphLaunch"] == 2 * 2 * MAX_CAPTURED
    assert gpu.counts()["contexts"] == MAX_CAPTURED + 1


def test_the_numbers_of_few_step_sequences_are_kept(engine: TensorRtEngine, gpu: Gpu) -> None:
    given = tensors(engine, past_of(engine, 8))
    given["noisy_action"].write(NOISE)
    levels = []
    for number in range(3 * MAX_SCHEDULES):
        steps = (Step(number, 0.5, 0.0), *STEPS)
        engine.bind_loop("expert", given, steps).run()
        np.testing.assert_allclose(given["next_action"].read(), expected(steps, 8), rtol=1e-5)
        levels.append(gpu.counts()["allocations"])
    assert max(levels[MAX_SCHEDULES + 1 :]) <= levels[MAX_SCHEDULES] + 1


def test_a_loop_that_nobody_holds_is_destroyed_with_its_memory(engine: TensorRtEngine, gpu: Gpu) -> None:
    given = tensors(engine, past_of(engine, 8))
    loop = engine.bind_loop("expert", given, STEPS)
    loop.run()
    engine.tensor((1,), "float32")
    before = gpu.counts()
    del loop, given
    gc.collect()
    engine.tensor((1,), "float32")
    after = gpu.counts()
    assert after["graphs"] == before["graphs"] - 1 == 0
    assert after["allocations"] < before["allocations"]


def test_steps_of_other_numbers_do_not_disturb_one_another(engine: TensorRtEngine) -> None:
    given = tensors(engine, past_of(engine, 8))
    given["noisy_action"].write(NOISE)
    backwards = STEPS[::-1]
    first, second = engine.bind_loop("expert", given, STEPS), engine.bind_loop("expert", given, backwards)
    for loop, steps in 2 * [(first, STEPS), (second, backwards)]:
        loop.run()
        np.testing.assert_allclose(given["next_action"].read(), expected(steps, 8), rtol=1e-5)
