"""The integration loop: its steps as data, and the default loop on the host against a known result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from wall_edge_engines.base import STEP_NUMBERS, Binding, DeviceTensor, Engine, Lane
from wall_edge_engines.host_tensor import HostTensor
from wall_edge_engines.loop import Step, guidance_weight, loop_steps

from wall_edge.bundle import ElementType, GraphSpec, TensorSpec, TimeSchedule, check_grid
from wall_edge.errors import ConfigError, EngineError

ACTION, NUMBER = TensorSpec((2, 1), "float32"), TensorSpec((), "float32")
EXPERT = GraphSpec(
    "expert.onnx",
    "expert.data",
    "fp32",
    {},
    {"noisy_action": ACTION, **dict.fromkeys(STEP_NUMBERS, NUMBER)},
    {"next_action": ACTION},
)


class Growth(Engine):
    """One graph whose velocity is ``field(x, time)``."""

    description = "a field with a known result"

    def __init__(self, field: Any) -> None:
        self.graphs = {"expert": EXPERT}
        self.field = field
        self.times: list[float] = []

    def tensor(self, shape: tuple[int, ...], dtype: ElementType) -> HostTensor:
        return HostTensor.zeros(shape, dtype)

    def _bind(self, graph: str, tensors: Mapping[str, DeviceTensor], lane: Lane) -> Binding:
        assert (graph, lane) == ("expert", "actions")
        return _Step(self, tensors)


class _Step:
    def __init__(self, engine: Growth, tensors: Mapping[str, DeviceTensor]) -> None:
        self._engine, self._tensors = engine, tensors

    def run(self) -> None:
        x = self._tensors["noisy_action"].read()
        time, size, _ = (float(self._tensors[name].read()) for name in STEP_NUMBERS)
        self._engine.times.append(time)
        self._tensors["next_action"].write(x + np.float32(size) * self._engine.field(x, time))


def integrated(engine: Engine, start: Sequence[float], grid: Sequence[float]) -> np.ndarray:
    specs = {**EXPERT.inputs, **EXPERT.outputs}
    tensors = {name: engine.tensor(spec.shape, spec.dtype) for name, spec in specs.items()}  # type: ignore[arg-type]
    loop = engine.bind_loop("expert", tensors, loop_steps(grid))
    for _ in range(2):  # a loop can run again
        tensors["noisy_action"].write(np.array(start, dtype=np.float32)[:, None])
        loop.run()
    return tensors["next_action"].read()[:, 0]


@pytest.mark.parametrize("steps", [1, 2, 9, 10])
def test_linear_growth_compounds_per_step(steps: int) -> None:
    result = integrated(Growth(lambda x, _: x), [1.0, -2.0], TimeSchedule().grid(steps))
    np.testing.assert_allclose(result, np.array([1.0, -2.0]) * (1 + 1 / steps) ** steps, rtol=1e-5)


def test_times_start_at_zero_and_never_reach_one() -> None:
    engine = Growth(lambda x, _: x)
    integrated(engine, [0.0, 0.0], TimeSchedule().grid(4))
    assert engine.times == pytest.approx([0.0, 0.25, 0.5, 0.75] * 2)


def test_steps_of_unequal_length_weigh_by_their_length() -> None:
    """v = t is summed at the left ends: 0 · 0.1 + 0.1 · 0.5 + 0.6 · 0.4."""
    result = integrated(Growth(lambda x, t: np.full_like(x, t)), [0.0, 0.0], (0.0, 0.1, 0.6, 1.0))
    assert result == pytest.approx([0.29, 0.29], abs=1e-6)


def test_a_loop_without_steps_is_refused() -> None:
    with pytest.raises(EngineError, match="0 steps"):
        Growth(None).bind_loop("expert", {}, ())


def test_the_steps_are_the_grid_s_in_float32() -> None:
    assert loop_steps((0.0, 0.25, 1.0)) == (Step(0.0, 0.25, 0.0), Step(0.25, 0.75, 0.0))
    tenth = loop_steps(TimeSchedule().grid(10))[1]
    assert tenth.time == float(np.float32(0.1))
    assert tenth.size == float(np.float32(0.2) - np.float32(0.1))
    assert [step.guidance_weight for step in loop_steps((0.0, 0.5, 1.0), 5.0)] == [5.0, 2.0]


def test_a_uniform_grid_ends_where_the_action_is() -> None:
    assert TimeSchedule().grid(1) == (0.0, 1.0)
    grid = TimeSchedule().grid(10)
    assert len(grid) == 11
    assert np.diff(grid) == pytest.approx([0.1] * 10)
    check_grid(grid)


@pytest.mark.parametrize("end", [0.9, 0.999, 1.0])
def test_a_grid_may_end_shortly_before_the_action(end: float) -> None:
    check_grid((0.0, 0.5, end))
    check_grid(TimeSchedule(scale=end, shift=2.0).grid(7))


@given(st.floats(1e-3, 1e3), st.sampled_from((0.95, 0.999, 1.0)), st.integers(1, 50))
@example(0.1, 1.0, 10)  # 0.1 / (1 + (0.1 - 1)) is rounded to more than 1
def test_whatever_the_shift_a_grid_ends_where_it_should(shift: float, scale: float, steps: int) -> None:
    grid = TimeSchedule(scale, shift).grid(steps)
    check_grid(grid)
    assert grid[-1] == scale


@pytest.mark.parametrize("steps", [0, -1])
def test_no_steps_is_an_error(steps: int) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        TimeSchedule().grid(steps)


@pytest.mark.parametrize(
    "grid",
    [
        (),
        (0.0,),
        (1.0,),
        (0.0, 0.89),
        (0.0, 1.01),
        (0.1, 1.0),
        (0.0, 0.5, 0.5, 1.0),
        (0.0, 0.6, 0.5, 1.0),
        (1.0, 0.0),
        (0.0, 0.5, 0.99999999, 1.0),  # equal in float32
        (0.0, 0.5, float("nan")),
        (0.0, 1e300),
    ],
)
def test_a_grid_that_does_not_rise_from_noise_to_the_action_is_an_error(grid: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match=r"rise from 0 to between 0\.9 and 1"):
        check_grid(grid)


def test_a_grid_with_a_hole_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"rise from 0 to between 0\.9 and 1"):
        check_grid((0.0, float("nan"), 1.0))


@pytest.mark.parametrize(
    ("time", "weight"), [(0.0, 5.0), (1.0, 5.0), (0.5, 2.0), (0.2, 4.25), (0.8, 4.25), (0.1, 5.0), (0.9, 5.0)]
)
def test_the_guidance_weight_is_rtcs(time: float, weight: float) -> None:
    """min(β, (1 - t) / (t · r²)) with r² = (1 - t)² / (t² + (1 - t)²): 0.68 / 0.16 at 0.2."""
    assert guidance_weight(time, 5.0) == pytest.approx(weight)
