"""ONNX Runtime's CUDA provider on doubles of a GPU and of onnxruntime-gpu: what of it needs no GPU.

That is: addresses, order on the stream, no hidden CPU, errors. Not: which operators have CUDA kernels in
which types, and how fast they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from wall_edge_engines import EngineSettings, ModelSession, OnnxRuntimeEngine, load, onnxruntime_cuda

from tests.doubles.gpu import Gpu
from tests.doubles.installed import doubles
from tests.doubles.onnxruntime_gpu import OnnxRuntimeGpu
from wall_edge.bundle import Bundle
from wall_edge.errors import EngineError

GRID = (0.0, 0.25, 0.5, 1.0)
CUDA = EngineSettings(device="cuda")


@pytest.fixture
def gpu() -> Iterator[Gpu]:
    with doubles(Gpu()) as gpu:
        yield gpu


def use(monkeypatch: pytest.MonkeyPatch, module: OnnxRuntimeGpu) -> None:
    monkeypatch.setattr(onnxruntime_cuda, "require_onnxruntime", lambda: module)


def chunk(session: ModelSession, bundle: Bundle) -> np.ndarray:
    rng, manifest = np.random.default_rng(0), bundle.manifest
    frames = {
        name: rng.integers(0, 256, (camera.height, camera.width, 3), dtype=np.uint8)
        for name, camera in manifest.cameras.items()
    }
    session.encode_images(frames)
    ids, positions = np.full(7, 30, np.int64), np.tile(np.arange(7), (3, 1))
    state = np.zeros(manifest.state_slots, np.float32)
    session.prefill(ids[:5], positions[:, :5], state, state)
    session.prefill(ids[5:], positions[:, 5:], state, state, keep=5)
    noise = rng.standard_normal((manifest.horizon, manifest.action_slots), dtype=np.float32)
    behind = np.tile(np.arange(manifest.horizon) + 7, (3, 1))
    return session.denoise(noise, np.ones_like(noise), behind, GRID)


@pytest.mark.parametrize("host_inputs", [(), ("time", "positions", "input_ids")])
def test_a_chunk_is_the_cpus_also_where_an_input_is_the_hosts(
    gpu: Gpu, shipped_bundle: Path, monkeypatch: pytest.MonkeyPatch, host_inputs: tuple[str, ...]
) -> None:
    use(monkeypatch, OnnxRuntimeGpu(gpu, host_inputs=frozenset(host_inputs)))
    bundle = Bundle(shipped_bundle)
    engine = load(bundle, CUDA)
    session = ModelSession(engine, capacity=16)
    expected = chunk(ModelSession(load(bundle), capacity=16), bundle)
    for _ in range(2):
        np.testing.assert_allclose(chunk(session, bundle), expected, atol=1e-5)
    assert "Orin (double)" in engine.description
    assert "CUDA provider" in engine.description


def test_a_second_chunk_allocates_nothing_and_moves_no_prefix(
    gpu: Gpu, shipped_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, OnnxRuntimeGpu(gpu))
    bundle = Bundle(shipped_bundle)
    session = ModelSession(load(bundle, CUDA), capacity=16)
    chunk(session, bundle)
    counts, calls = gpu.counts(), gpu.calls.copy()
    chunk(session, bundle)
    assert gpu.counts() == counts
    # A step copies its noisy action and three numbers, on the device; nothing goes to the host but the chunk.
    assert gpu.calls["cuMemcpyDtoDAsync"] - calls["cuMemcpyDtoDAsync"] == 4 * (len(GRID) - 1) - 1
    assert gpu.calls["cuMemcpyDtoHAsync"] - calls["cuMemcpyDtoHAsync"] == 1


def test_a_tensor_of_another_engine_is_refused(
    gpu: Gpu, shipped_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, OnnxRuntimeGpu(gpu))
    bundle = Bundle(shipped_bundle)
    engine, other = load(bundle, CUDA), OnnxRuntimeEngine(bundle.folder, bundle.manifest.graphs)
    spec = engine.graphs["lm_head"]
    tensors = {
        name: engine.tensor(tuple(int(size) for size in tensor.shape), tensor.dtype)
        for name, tensor in {**spec.inputs, **spec.outputs}.items()
    }
    engine.bind("lm_head", tensors)
    tensors["hidden"] = other.tensor(tensors["hidden"].shape, "float32")
    with pytest.raises(EngineError, match="tensor hidden; expected a tensor of this engine"):
        engine.bind("lm_head", tensors)


def test_a_provider_that_does_not_load_is_an_error_and_not_the_cpu(
    gpu: Gpu, shipped_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, OnnxRuntimeGpu(gpu, loads=False))
    with pytest.raises(EngineError, match=r"did not load: .*; expected the CUDA and cuDNN"):
        load(Bundle(shipped_bundle), CUDA)


def test_without_a_cuda_provider_the_fix_is_told(shipped_bundle: Path) -> None:
    """As it is here: onnxruntime for the CPU."""
    with pytest.raises(EngineError, match=r"no CUDA provider; expected onnxruntime-gpu; .*onnxruntime-gpu\]"):
        load(Bundle(shipped_bundle), CUDA)


def test_a_gpu_that_is_not_there_is_refused(
    gpu: Gpu, shipped_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, OnnxRuntimeGpu(gpu))
    with pytest.raises(EngineError, match="device cuda:1; expected one of 1"):
        load(Bundle(shipped_bundle), EngineSettings(device="cuda:1"))


def test_without_a_driver_the_fix_is_told(shipped_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, OnnxRuntimeGpu(Gpu()))
    with pytest.raises(EngineError, match=r"cuda-bindings is not installed|no NVIDIA driver"):
        load(Bundle(shipped_bundle), CUDA)
