"""The engine contract: the same suite against every one of ``BACKENDS``, on one model's graphs."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import cast, get_args, get_type_hints

import numpy as np
import pytest
from wall_edge_engines import ENGINES, Engine, EngineSettings, Guidance, ModelSession, load
from wall_edge_engines.base import Binding, DeviceTensor, Lane
from wall_edge_engines.loop import Step, loop_steps
from wall_edge_engines.session import MAX_BINDINGS
from wall_edge_export.reference.golden_case import GoldenCase
from wall_edge_export.reference.goldens import BACKENDS, engine_for

from tests.doubles.installed import gpu_or_double
from wall_edge.bundle import Bundle, ElementType
from wall_edge.config import PolicyConfig
from wall_edge.errors import EngineError


def test_a_robot_may_choose_every_engine() -> None:
    assert set(get_args(get_type_hints(PolicyConfig)["engine"])) == set(ENGINES)


def test_an_engine_that_is_not_there_is_refused_by_name() -> None:
    with pytest.raises(EngineError, match="engine 'tensorflow'; expected onnxruntime"):
        load(cast(Bundle, None), EngineSettings("tensorflow"))


@pytest.fixture(scope="module", params=BACKENDS)
def engine(
    request: pytest.FixtureRequest, golden_case: Path, traced_once: Callable[[], AbstractContextManager[None]]
) -> Iterator[Engine]:
    case = GoldenCase(golden_case)
    model, inputs = case.checkpoint.load(), case.graph_inputs
    with traced_once(), gpu_or_double(request.param), engine_for(request.param, model, inputs) as made:
        yield made


@pytest.fixture(scope="module")
def case(golden_case: Path) -> GoldenCase:
    return GoldenCase(golden_case)


def prefill(session: ModelSession, case: GoldenCase, tokens: int) -> None:
    ids, positions = case["text_input_ids"][0, :tokens], case["position_ids"][:, 0, :tokens]
    state = case["proprioception"][0, 0]
    session.prefill(ids, positions, state, np.ones_like(state))


def test_the_four_graphs_are_there(engine: Engine) -> None:
    assert set(engine.graphs) == {"vision", "prefix", "lm_head", "expert"}


def test_tensors_start_as_zeros_and_keep_what_is_written(engine: Engine) -> None:
    tensor = engine.tensor((3, 2), "float32")
    assert not tensor.read().any()
    tensor.rows(1, 2).write([[5.0, 6.0]])
    assert tensor.read().tolist() == [[0, 0], [5, 6], [0, 0]]
    with pytest.raises(EngineError, match="shape"):
        tensor.write(np.zeros((2, 2), dtype=np.float32))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, _: t.pop("time"), "time"),
        (lambda t, e: t.update(extra=e.tensor((1,), "float32")), "extra"),
        (lambda t, e: t.update(velocity=e.tensor((8, 6), "float32")), "velocity"),
        (lambda t, e: t.update(positions=e.tensor((3, 8), "float32")), "positions"),
    ],
)
def test_wrong_tensors_are_refused_by_name(engine: Engine, change: object, message: str) -> None:
    spec = engine.graphs["expert"]
    shapes = {**spec.inputs, **spec.outputs}
    tensors = {
        name: engine.tensor(tuple(4 if isinstance(a, str) else a for a in t.shape), t.dtype)
        for name, t in shapes.items()
    }
    engine.bind("expert", tensors)
    change(tensors, engine)  # type: ignore[operator]
    with pytest.raises(EngineError, match=message):
        engine.bind("expert", tensors)


def test_one_dynamic_axis_has_one_size(engine: Engine) -> None:
    spec = engine.graphs["prefix"]
    tensors = {
        name: engine.tensor(tuple(3 if isinstance(a, str) else a for a in t.shape), t.dtype)
        for name, t in {**spec.inputs, **spec.outputs}.items()
    }
    tensors["input_ids"] = engine.tensor((4,), "int64")
    with pytest.raises(EngineError, match="tokens"):
        engine.bind("prefix", tensors)
    with pytest.raises(EngineError, match="one of vision"):
        engine.bind("nothing", tensors)


def test_a_prefix_in_two_pieces_equals_one(engine: Engine, case: GoldenCase) -> None:
    """The cache of the first piece is the past of the second: what forking a shared prefix rests on."""
    whole, pieces = ModelSession(engine, capacity=80), ModelSession(engine, capacity=80)
    for session in (whole, pieces):
        session.encode_images({"patches": case["pixel_values"]})
    total, cut = 60, 56  # both images are in the first piece
    prefill(whole, case, total)
    prefill(pieces, case, cut)
    ids, positions = case["text_input_ids"][0, cut:total], case["position_ids"][:, 0, cut:total]
    state = case["proprioception"][0, 0]
    pieces.prefill(ids, positions, state, np.ones_like(state), keep=cut)
    np.testing.assert_allclose(pieces.keys_values(), whole.keys_values(), atol=2e-5)


@pytest.mark.parametrize("written", ["a word", "the state token"])
def test_an_appended_token_extends_the_cache_like_a_prefilled_one(
    engine: Engine, case: GoldenCase, written: str
) -> None:
    """A state token that a model wrote itself once took a state of zeros; upstream gives it the prompt's."""
    one, other = ModelSession(engine, capacity=80), ModelSession(engine, capacity=80)
    for session in (one, other):
        session.encode_images({"patches": case["pixel_values"]})
    ids, positions = case["text_input_ids"][0, :60].copy(), case["position_ids"][:, 0, :60]
    if written == "the state token":
        ids[59] = case.graph_inputs.state_token_id
    state = case["proprioception"][0, 0]
    one.prefill(ids, positions, state, np.ones_like(state))
    prefill(other, case, 59)
    other.append(int(ids[59]), int(positions[0, 59]))
    np.testing.assert_allclose(other.keys_values(), one.keys_values(), atol=2e-5)
    np.testing.assert_allclose(other.logits(), one.logits(), atol=1e-4)


def test_two_sessions_do_not_disturb_each_other(engine: Engine, case: GoldenCase) -> None:
    first, second = ModelSession(engine, capacity=80), ModelSession(engine, capacity=80)
    first.encode_images({"patches": case["pixel_values"]})
    prefill(first, case, 60)
    before = first.keys_values()
    second.encode_images({"patches": case["pixel_values"] * 0})
    prefill(second, case, 40)
    np.testing.assert_array_equal(first.keys_values(), before)
    assert np.abs(second.keys_values()[:40] - before[:40]).max() > 1e-3


def test_running_again_gives_the_same_and_binds_nothing_new(engine: Engine, case: GoldenCase) -> None:
    session = ModelSession(engine, capacity=80)
    session.encode_images({"patches": case["pixel_values"]})
    mask, noise = case["dof_mask"][0], case["noise"][0]
    positions = np.broadcast_to(np.arange(len(noise)) + 40, (3, len(noise)))
    prefill(session, case, 60)
    first = session.velocity(noise, mask, 0.5, positions)
    made = len(session._bindings), len(session._buffers)
    prefill(session, case, 60)
    second = session.velocity(noise, mask, 0.5, positions)
    np.testing.assert_array_equal(first, second)
    assert made == (len(session._bindings), len(session._buffers))


def test_more_tokens_than_the_cache_holds_are_refused(engine: Engine, case: GoldenCase) -> None:
    session = ModelSession(engine, capacity=60)
    session.encode_images({"patches": case["pixel_values"]})
    with pytest.raises(EngineError, match="at most 60"):
        prefill(session, case, 61)


def chunk_inputs(case: GoldenCase) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Noise, mask of the degrees of freedom, positions behind a prompt."""
    noise, mask = case["noise"][0], case["dof_mask"][0]
    return noise, mask, np.broadcast_to(np.arange(len(noise)) + 40, (3, len(noise)))


def cached_prompt(engine: Engine, case: GoldenCase) -> ModelSession:
    session = ModelSession(engine, capacity=80)
    session.encode_images({"patches": case["pixel_values"]})
    prefill(session, case, 60)
    return session


@pytest.mark.parametrize("grid", [(0.0, 1.0), (0.0, 0.1, 0.5, 1.0)])
def test_a_loop_is_its_steps_one_by_one(engine: Engine, case: GoldenCase, grid: tuple[float, ...]) -> None:
    session = cached_prompt(engine, case)
    noise, mask, positions = chunk_inputs(case)
    x = noise
    for step in loop_steps(grid):
        x = x + np.float32(step.size) * session.velocity(x, mask, step.time, positions)
    for _ in range(3):  # the first run of a loop may differ in kind from the others
        np.testing.assert_allclose(session.denoise(noise, mask, positions, grid), x, atol=1e-5)


def test_guidance_element_by_element_is_in_the_loop(engine: Engine, case: GoldenCase) -> None:
    session, grid, most = cached_prompt(engine, case), (0.0, 0.3, 1.0), 5.0
    noise, mask, positions = chunk_inputs(case)
    rng = np.random.default_rng(0)
    target = rng.uniform(-1, 1, noise.shape).astype(np.float32)
    weights = rng.uniform(0, 1, noise.shape).astype(np.float32)
    x = noise
    for step in loop_steps(grid, most):
        v = session.velocity(x, mask, step.time, positions)
        pull = weights * (target - (x + np.float32(1 - step.time) * v))
        x = x + np.float32(step.size) * (v + np.float32(step.guidance_weight) * pull)
    guidance = Guidance(target, weights, most, jacobian=False)
    free = session.denoise(noise, mask, positions, grid)
    np.testing.assert_allclose(session.denoise(noise, mask, positions, grid, guidance), x, atol=1e-4)
    np.testing.assert_allclose(session.denoise(noise, mask, positions, grid), free, atol=0)
    assert np.abs(free - x).max() > 0.1


def test_the_engine_chooses_the_next_token(engine: Engine, case: GoldenCase) -> None:
    session = cached_prompt(engine, case)
    logits = session.logits()
    assert session.next_token() == (int(logits.argmax()), True)


def test_logits_that_are_not_finite_are_told(engine: Engine, case: GoldenCase) -> None:
    session = cached_prompt(engine, case)
    hidden = session._hidden
    broken = hidden.read()
    broken[0, 0] = np.nan
    hidden.write(broken)
    assert session.next_token()[1] is False


def test_bindings_are_bounded_whatever_the_prompts_lengths(engine: Engine, case: GoldenCase) -> None:
    session = ModelSession(engine, capacity=80)
    session.encode_images({"patches": case["pixel_values"]})
    noise, mask, positions = chunk_inputs(case)
    prefill(session, case, 40)
    first = session.denoise(noise, mask, positions, (0.0, 1.0))
    buffers = len(session._buffers)
    for tokens in range(20, 20 + MAX_BINDINGS):
        prefill(session, case, tokens)
        session.denoise(noise, mask, positions, (0.0, 1.0))
    assert (len(session._bindings), len(session._buffers)) == (MAX_BINDINGS, buffers)
    prefill(session, case, 40)
    np.testing.assert_array_equal(session.denoise(noise, mask, positions, (0.0, 1.0)), first)


def test_an_engine_says_what_it_is(engine: Engine) -> None:
    assert engine.description
    assert "\n" not in engine.description


class _Unrun(Engine):
    """An engine whose graphs are bound as ever and never run: what they would compute takes too long here."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self.graphs, self.description = engine, engine.graphs, engine.description
        self.count = 0

    def tensor(self, shape: tuple[int, ...], dtype: ElementType) -> DeviceTensor:
        return self._engine.tensor(shape, dtype)

    def _bind(self, graph: str, tensors: Mapping[str, DeviceTensor], lane: Lane) -> Binding:
        return self._held(self._engine._bind(graph, tensors, lane))

    def _bind_loop(
        self, graph: str, tensors: Mapping[str, DeviceTensor], steps: Sequence[Step], lane: Lane
    ) -> Binding:
        return self._held(self._engine._bind_loop(graph, tensors, steps, lane))

    def _held(self, binding: Binding) -> Binding:
        self.count += 1
        return cast(Binding, SimpleNamespace(binding=binding, run=lambda: None))


def test_a_hundred_thousand_prompts_of_different_length_take_no_memory(
    engine: Engine, case: GoldenCase
) -> None:
    """A robot that is told something new all day: each prompt has a length, or a shared front, of its own."""
    prompts, capacity, horizon = 100_000, 512, case["noise"].shape[1]
    unrun = _Unrun(engine)
    session = ModelSession(unrun, capacity=capacity)
    lengths = ((keep, 1 + tokens) for keep in range(capacity) for tokens in range(capacity - keep))
    ids, positions = np.zeros(capacity, np.int64), np.zeros((3, capacity), np.int64)
    state, mask, noise = case["proprioception"][0, 0], case["dof_mask"][0], case["noise"][0]
    before_kb = 0
    for number, (keep, tokens) in zip(range(prompts), lengths, strict=False):
        session.length = keep
        session.prefill(ids[:tokens], positions[:, :tokens], state, state, keep=keep)
        if number % 100 == 0:  # its captured loops are an engine's largest things
            session.denoise(noise, mask, positions[:, :horizon], (0.0, 0.5, 1.0))
        if number == prompts // 5:
            before_kb = _resident_kb()
    assert unrun.count >= prompts
    assert len(session._bindings) <= MAX_BINDINGS
    assert _resident_kb() - before_kb < 16 << 10


def _resident_kb() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 10
