"""The shipped policy, from ``wall-edge build`` to chunks and words, all of it on the double."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from wall_edge_engines import Engine, EngineSettings, load

from tests.doubles.gpu import Gpu
from tests.doubles.installed import built_copy, doubles
from wall_edge.bundle import Bundle
from wall_edge.errors import EngineError
from wall_edge.policies.encoder import Encoder
from wall_edge.policies.flow_policy import FlowPolicy
from wall_edge.policies.observation import Observation
from wall_edge.policies.prompts import Prompts
from wall_edge.policies.subgoals import SubgoalPlanner
from wall_edge.sim.tabletop import arm
from wall_edge.sim.tabletop.referee import TabletopWorld

ON_CUDA = EngineSettings("tensorrt", device="cuda")
WORDS = "touch the red block."


@pytest.fixture(scope="module")
def bundle(shipped_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle with its engines beside it."""
    return Bundle(built_copy(shipped_bundle, tmp_path_factory.mktemp("built") / "tabletop"))


@pytest.fixture
def engine(bundle: Bundle) -> Iterator[Engine]:
    with doubles(Gpu()):
        engine = load(bundle, ON_CUDA)
        yield engine
        engine.close()


def observation(seed: int) -> Observation:
    return Observation(0, TabletopWorld(seed).frames(arm.REST), np.array(arm.REST), index=seed)


def encoder(engine: Engine, bundle: Bundle, lane: str = "actions") -> Encoder:
    return Encoder.on(engine, bundle.manifest, Prompts.of(bundle), lane=lane)  # type: ignore[arg-type]


def test_chunks_and_words_are_those_of_the_graphs(engine: Engine, bundle: Bundle) -> None:
    """Actions go on while a copy of the prefix decodes words on the other lane."""
    host = load(bundle)
    task = TabletopWorld(3).episode.task
    acting, planning = encoder(engine, bundle), encoder(engine, bundle, "words")
    policy, planner = FlowPolicy(acting), SubgoalPlanner(planning)
    expected = FlowPolicy(encoder(host, bundle)).chunk(observation(3), WORDS)
    for _ in range(2):  # the second time from a captured loop
        policy.observe(observation(3))
        acting.fork(planning)
        np.testing.assert_allclose(policy.act(observation(3), WORDS), expected, atol=1e-5)
        assert planner.words(task.instruction) == task.subgoal(0)


def test_after_the_first_chunks_nothing_is_allocated_and_only_the_chunk_comes_back(
    engine: Engine, bundle: Bundle
) -> None:
    gpu, policy = Gpu.current, FlowPolicy(encoder(engine, bundle))
    policy.chunk(observation(1), WORDS)
    before = gpu.counts()
    for seed in range(2, 5):
        gpu.calls.clear()
        policy.chunk(observation(seed), WORDS)
        inputs = {name: set(graph.inputs) for name, graph in bundle.manifest.graphs.items()}
        written = len(inputs["vision"])
        written += 2 * len(inputs["prefix"] - {"image_embeds", "past_kv"})  # what is seen, then the words
        written += len(inputs["expert"] - {"time", "step_size", "guidance_weight", "past_kv"})
        assert gpu.calls["cuMemcpyHtoDAsync"] == written
        assert gpu.calls["cuMemcpyDtoHAsync"] == gpu.calls["cuGraphLaunch"] == 1
        assert gpu.calls["cuMemcpyDtoDAsync"] == gpu.calls["cuMemAlloc"] == 0
        assert gpu.counts() == before


@pytest.mark.parametrize(
    ("gpu_at_hand", "message"),
    [
        (Gpu(sm=86, name="RTX 3090"), "engines for SM 87, not 86"),
        (Gpu(name="another Orin"), r"engines for GPU Orin \(double\), not another Orin"),
    ],
    ids=["SM", "GPU"],
)
def test_engines_of_another_gpu_are_refused_with_the_fix(
    bundle: Bundle, gpu_at_hand: Gpu, message: str
) -> None:
    with doubles(gpu_at_hand), pytest.raises(EngineError, match=f"{message}.*wall-edge build"):
        load(bundle, ON_CUDA)


def test_engines_of_another_version_are_refused(
    bundle: Bundle, gpu: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorrt

    assert gpu
    monkeypatch.setattr(tensorrt, "__version__", "10.16.2")
    with pytest.raises(EngineError, match=r"tensorrt 10.3.0, not tensorrt 10.16.2.*wall-edge build"):
        load(bundle, ON_CUDA)


@pytest.mark.usefixtures("gpu")
def test_a_bundle_without_engines_is_refused(shipped_bundle: Path) -> None:
    with pytest.raises(EngineError, match=r"no engines.*wall-edge build"):
        load(Bundle(shipped_bundle), ON_CUDA)


def test_a_cpu_is_no_device_for_it(bundle: Bundle) -> None:
    with pytest.raises(EngineError, match=r"device 'cpu'.*choose device cuda"):
        load(bundle, EngineSettings("tensorrt"))
