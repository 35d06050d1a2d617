"""Graphs, lanes and tensors of the TensorRT backend."""

from __future__ import annotations

import gc
import threading
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from wall_edge_engines import EngineSettings, OnnxRuntimeEngine
from wall_edge_engines.base import DeviceTensor, Lane
from wall_edge_engines.tensorrt.engine import TensorRtEngine

from tests.doubles import tensorrt_runtime
from tests.doubles.gpu import Gpu
from tests.doubles.tensorrt_builder import plan
from tests.unit.tensorrt.conftest import LONGEST, PROFILES, SPECS, WIDTH, Open
from tests.unit.tensorrt.test_loop import NOISE, STEPS, past_of, tensors
from wall_edge.errors import EngineError

PROMPTS = 100_000


def prefix(engine: TensorRtEngine, cache: DeviceTensor, keep: int, stop: int) -> dict[str, DeviceTensor]:
    ids = engine.tensor((stop - keep,), "int64")
    ids.write(np.arange(1, stop - keep + 1))
    return {"input_ids": ids, "past_kv": cache.rows(0, keep), "kv": cache.rows(keep, stop)}


def test_keys_values_grow_in_place_in_one_cache(engine: TensorRtEngine) -> None:
    """The first piece has no past; each later one begins where the one before ended, aligned or not."""
    cache = engine.tensor((8, WIDTH), "float32")
    rows: list[float] = []
    for keep, stop in ((0, 3), (3, 4), (4, 8)):
        engine.bind("prefix", prefix(engine, cache, keep, stop)).run()
        total = WIDTH * sum(rows)
        rows += [number + total for number in range(1, stop - keep + 1)]
        np.testing.assert_allclose(cache.read()[:stop, 0], rows, rtol=1e-5)


@pytest.mark.parametrize(("keep", "stop"), [(0, LONGEST + 1), (LONGEST + 1, LONGEST + 2)])
def test_a_shape_outside_of_every_profile_is_refused_by_name(
    engine: TensorRtEngine, keep: int, stop: int
) -> None:
    cache = engine.tensor((LONGEST + 2, WIDTH), "float32")
    with pytest.raises(
        EngineError, match=rf"graph prefix: input_ids \[{stop - keep}\].*expected .*input_ids \[1\] to \[1\]"
    ):
        engine.bind("prefix", prefix(engine, cache, keep, stop))


def test_the_narrowest_profile_that_fits_is_taken(engine: TensorRtEngine, gpu: Gpu) -> None:
    cache = engine.tensor((LONGEST, WIDTH), "float32")
    for keep, stop, contexts in ((5, 6, 1), (7, 8, 1), (0, 4, 2), (5, 8, 2)):
        engine.bind("prefix", prefix(engine, cache, keep, stop)).run()
        assert gpu.counts()["contexts"] == contexts


def test_one_token_behind_a_long_past_is_narrower_than_a_prompt(
    gpu: Gpu, graphs: Path, plans: dict[str, Path], open_engine: Open
) -> None:
    """As bundles have it: words go on behind the longest prompt, so their keys/values are the larger ones."""
    prompt, word = PROFILES["prefix"]
    prompt = {**prompt, "past_kv": [(0, WIDTH), (0, WIDTH), (LONGEST - 32, WIDTH)]}
    plans["prefix"].write_bytes(plan(graphs / SPECS["prefix"].file, [prompt, word], sm=gpu.sm))
    engine = open_engine()
    cache = engine.tensor((LONGEST, WIDTH), "float32")
    for keep, stop, contexts in ((5, 6, 1), (LONGEST - 1, LONGEST, 1), (5, 7, 2)):
        engine.bind("prefix", prefix(engine, cache, keep, stop)).run()
        assert gpu.counts()["contexts"] == contexts
    engine.close()


def test_what_tensorrt_refuses_is_an_error_with_its_reason(
    engine: TensorRtEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    binding = engine.bind("expert", tensors(engine, past_of(engine, 4)))

    def refuse(context: Any, _: int) -> Any:
        return context._answer("execute_async_v3", "no kernel image")

    monkeypatch.setattr(tensorrt_runtime.IExecutionContext, "execute_async_v3", refuse)
    with pytest.raises(EngineError, match="refuses graph expert, execute_async_v3: no kernel image"):
        binding.run()


def test_a_failure_in_a_capture_ends_the_capture(
    engine: TensorRtEngine, gpu: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = tensors(engine, past_of(engine, 4))
    loop = engine.bind_loop("expert", given, STEPS)
    execute = tensorrt_runtime.IExecutionContext.execute_async_v3

    def refuse(context: Any, handle: int) -> Any:
        capturing = gpu.stream(handle).capture is not None
        return (
            context._answer("execute_async_v3", "not capturable") if capturing else execute(context, handle)
        )

    with monkeypatch.context() as patch:
        patch.setattr(tensorrt_runtime.IExecutionContext, "execute_async_v3", refuse)
        with pytest.raises(EngineError, match="not capturable"):
            loop.run()
    assert gpu.counts()["graphs"] == 0
    loop.run()
    given["next_action"].read()
    assert gpu.counts()["graphs"] == 1


def test_tensors_of_another_engine_are_refused(engine: TensorRtEngine, graphs: Path) -> None:
    expert = {"expert": SPECS["expert"]}
    given = tensors(engine, OnnxRuntimeEngine(graphs, expert, EngineSettings()).tensor((4, WIDTH), "float32"))
    with pytest.raises(EngineError, match="tensor past_kv; expected tensors of this engine"):
        engine.bind("expert", given)


def test_the_words_lane_decodes_and_does_nothing_else(engine: TensorRtEngine) -> None:
    with pytest.raises(EngineError, match="graph expert on this lane; expected prefix"):
        engine.bind("expert", tensors(engine, past_of(engine, 4)), "words")


def test_actions_go_before_words(engine: TensorRtEngine, gpu: Gpu) -> None:
    priorities = {lane: engine._lanes[lane].stream.handle for lane in get_args(Lane)}
    actions, words = (gpu.streams[int(priorities[lane])].priority for lane in ("actions", "words"))
    assert actions < words


def test_a_cache_handed_to_the_other_lane_is_whole_when_it_reads(engine: TensorRtEngine) -> None:
    """Nobody waits on the host between the lanes: events order them, or the double raises."""
    first, second = (engine.tensor((6, WIDTH), "float32") for _ in range(2))
    for round_ in range(3):
        engine.bind("prefix", prefix(engine, first, 0, 4)).run()
        second.rows(0, 4).copy(first.rows(0, 4))
        engine.bind("prefix", prefix(engine, second, 4, 5), "words").run()
        engine.bind("prefix", prefix(engine, first, 4, 6)).run()
        assert second.read()[:5, 0].tolist() == [1, 2, 3, 4, 1 + 10 * WIDTH], round_
        assert first.read()[4:, 0].tolist() == [1 + 10 * WIDTH, 2 + 10 * WIDTH]


def test_words_wait_for_the_copy_and_for_nothing_behind_it(engine: TensorRtEngine, gpu: Gpu) -> None:
    first, second = (engine.tensor((6, WIDTH), "float32") for _ in range(2))
    words = engine.bind("prefix", prefix(engine, second, 4, 5), "words")
    later = engine.bind("prefix", prefix(engine, first, 4, 6))
    words.run()
    second.read()
    second.rows(0, 4).copy(first.rows(0, 4))
    later.run()
    words.run()
    second.read()
    actions = gpu.stream(engine._lanes["actions"].stream.number)
    assert actions.done < actions.enqueued


def test_a_second_write_does_not_overtake_the_first(engine: TensorRtEngine) -> None:
    tensor, copied = (engine.tensor((2,), "float32") for _ in range(2))
    tensor.write([1.0, 2.0])
    copied.copy(tensor)
    tensor.write([3.0, 4.0])
    assert (copied.read().tolist(), tensor.read().tolist()) == ([1, 2], [3, 4])


def test_threads_run_their_lanes_at_once(engine: TensorRtEngine) -> None:
    failures: list[BaseException] = []

    def run(lane: Lane, graph: str) -> None:
        try:
            cache = past_of(engine, 8)
            given = prefix(engine, cache, 4, 5) if graph == "prefix" else tensors(engine, cache)
            loop = graph == "expert"
            binding = engine.bind_loop(graph, given, STEPS) if loop else engine.bind(graph, given, lane)
            for _ in range(50):
                given["next_action" if loop else "kv"].read()
                binding.run()
        except BaseException as error:  # noqa: BLE001 - told to the test
            failures.append(error)

    jobs: list[tuple[Lane, str]] = [("actions", "expert"), ("words", "prefix"), ("actions", "expert")]
    threads = [threading.Thread(target=run, args=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_the_largest_engine_is_loaded_first_and_no_file_twice(
    open_engine: Open, plans: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    load = tensorrt_runtime.Runtime.deserialize_cuda_engine

    def loading(runtime: Any, content: Any) -> Any:
        sizes.append(len(content))
        return load(runtime, content)

    monkeypatch.setattr(tensorrt_runtime.Runtime, "deserialize_cuda_engine", loading)
    engine = open_engine()
    assert sizes == sorted((path.stat().st_size for path in plans.values()), reverse=True)
    assert "tensorrt 10.3.0 on Orin (double) (SM87, CUDA 12.6)" in engine.description


def test_half_precision_is_stored_in_two_bytes_and_read_in_four(engine: TensorRtEngine) -> None:
    tensor = engine.tensor((2, 3), "bfloat16")
    tensor.write([[1.0, 2.0, 3.140625], [-1e-3, 1e30, 0.0]])
    assert (tensor.size, tensor.read().dtype) == (12, np.float32)
    np.testing.assert_allclose(tensor.read(), [[1, 2, 3.140625], [-1e-3, 1e30, 0]], rtol=2**-8)
    assert tensor.rows(1, 2).view((3,)).read()[1] == tensor.read()[1, 1]
    assert tensor.rows(1, 2).rows(0, 1).read().tolist() == tensor.read()[1:].tolist()
    with pytest.raises(EngineError, match="at most"):
        tensor.view((7,))


def test_tensors_take_only_their_own_kind(engine: TensorRtEngine) -> None:
    tensor = engine.tensor((2,), "int64")
    for values in ([1], [[1, 2]]):
        with pytest.raises(EngineError, match=r"expected \[2\]"):
            tensor.write(values)
    with pytest.raises(EngineError, match="float64 values for int64"):
        tensor.write([0.5, 1.0])
    with pytest.raises(EngineError, match=r"expected a tensor of this engine, \[2\] int64"):
        tensor.copy(engine.tensor((3,), "int64"))


def test_closing_gives_all_of_the_gpu_back_at_once(open_engine: Open, gpu: Gpu) -> None:
    """Weights, activations and contexts: the next engine must not wait for the garbage collector."""
    engine = open_engine()
    given = tensors(engine, past_of(engine, 4))
    engine.bind_loop("expert", given, STEPS).run()
    engine.bind("prefix", prefix(engine, engine.tensor((4, WIDTH), "float32"), 0, 4), "words").run()
    given["next_action"].read()
    gc.collect()
    gc.disable()
    try:
        del given
        engine.close()
        assert {what: count for what, count in gpu.counts().items() if count} == {}
    finally:
        gc.enable()


def test_a_hundred_thousand_prompts_of_different_length_leave_nothing(open_engine: Open, gpu: Gpu) -> None:
    """Each prompt has lengths of its own, of what is kept and of what is added. Nothing is computed."""
    gpu.computes = False
    engine = open_engine()
    cache, given = engine.tensor((LONGEST, WIDTH), "float32"), tensors(engine, past_of(engine, 1))
    ids = engine.tensor((LONGEST,), "int64")
    levels = []
    pairs = [(keep, stop) for keep in range(LONGEST) for stop in range(keep + 1, LONGEST + 1)]
    for number in range(PROMPTS):
        keep, stop = pairs[number % len(pairs)]
        ids.view((stop - keep,)).write(np.zeros(stop - keep, dtype=np.int64))
        views = {
            "input_ids": ids.view((stop - keep,)),
            "past_kv": cache.rows(0, keep),
            "kv": cache.rows(keep, stop),
        }
        engine.bind("prefix", views).run()
        if number % 25 == 0:
            given["noisy_action"].write(NOISE)
            engine.bind_loop("expert", {**given, "past_kv": cache.rows(0, stop)}, STEPS).run()
        given["next_action"].read()
        if number % (PROMPTS // 5) == PROMPTS // 5 - 1:
            gc.collect()
            engine._device.free_now()
            levels.append(gpu.counts())
    assert levels[0] == levels[-1]
    engine.close()
