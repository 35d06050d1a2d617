"""The reference engine's way onto a GPU, as far as it can be checked without one.

The operators are compared with the modules on the CPU, at other sizes than they were traced at. That every
one of them finds all its tensors on the GPU is checked on fake tensors, which have a device and no values.
What a CUDA graph records is not checked here: ``benchmarks/gpu_check.sh`` does.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.export import ExportedProgram
from wall_edge_engines import ModelSession
from wall_edge_engines.base import of_engine
from wall_edge_engines.loop import Step
from wall_edge_export.onnx.graphs import Activations, Stage, stages
from wall_edge_export.reference import engine as reference
from wall_edge_export.reference.engine import ReferenceEngine
from wall_edge_export.reference.golden_case import GoldenCase
from wall_edge_export.reference.programs import on_device, traced
from wall_edge_export.reference.torch_tensor import TorchTensor

from wall_edge.errors import EngineError

CPU = torch.device("cpu")
HALF = Activations("bfloat16", "bfloat16")


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def typed(
    request: pytest.FixtureRequest, golden_case: Path
) -> tuple[dict[str, Stage], dict[str, ExportedProgram]]:
    """The stages of a golden case, and their operators."""
    case, activations = GoldenCase(golden_case), HALF if request.param == "bfloat16" else Activations()
    model = reference._in_types(case.checkpoint.load(), activations)
    chosen = stages(model, replace(case.graph_inputs, guidance=request.param == "float32"), activations)
    return chosen, {name: traced(stage) for name, stage in chosen.items()}


def inputs(stage: Stage, sizes: Mapping[str, int]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    tensors = []
    for spec in stage.spec.inputs.values():
        shape = [sizes[axis] if isinstance(axis, str) else axis for axis in spec.shape]
        values = torch.rand(shape, generator=generator) * (
            2 if spec.dtype in ("bool", "int64", "uint8") else 1
        )
        tensors.append(values.to(getattr(torch, spec.dtype)))
    return tensors


@pytest.mark.parametrize(
    "sizes", [{"tokens": 1, "past": 30, "keys": 31}, {"tokens": 9, "past": 0, "keys": 9}]
)
def test_the_operators_compute_what_the_modules_do(typed: Any, sizes: dict[str, int]) -> None:
    weights: dict[str, nn.Parameter] = {}
    for name, stage in typed[0].items():
        tensors = inputs(stage, sizes)
        with torch.no_grad():
            expected, actual = stage.module(*tensors), on_device(typed[1][name], CPU, weights)(*tensors)
        expected, actual = (r if isinstance(r, tuple) else (r,) for r in (expected, actual))
        for one, other in zip(expected, actual, strict=True):
            torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-5)


def test_stages_share_their_weights(typed: Any) -> None:
    weights: dict[str, nn.Parameter] = {}
    programs = {name: on_device(typed[1][name], CPU, weights) for name in ("prefix", "expert")}
    names = [dict(module.named_parameters()) for module in programs.values()]  # type: ignore[attr-defined]
    both = [name for name in names[0] if name in names[1] and "self_attn" in name]
    assert both
    assert all(names[0][name] is names[1][name] is weights[name] for name in both)


def test_every_operator_finds_all_its_tensors_on_the_gpu(typed: Any) -> None:
    """Where the modules do not: their tables are made on the host."""
    for name, stage in typed[0].items():
        tensors = inputs(stage, {"tokens": 5, "past": 7, "keys": 12})
        module = copy.deepcopy(stage.module)
        with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
            there = [torch.empty_like(tensor, device="cuda:0") for tensor in tensors]
            results = on_device(typed[1][name], torch.device("cuda:0"), {})(*there)
            for result in results if isinstance(results, tuple) else (results,):
                assert result.device == torch.device("cuda:0")
            if name == "prefix":
                with pytest.raises(RuntimeError, match="device"):
                    module.to("cuda:0")(*there)


def test_no_operator_waits_for_the_gpu_or_copies_from_the_host(typed: Any) -> None:
    """A CUDA graph records neither."""
    for program in typed[1].values():
        for node in program.graph_module.graph.nodes:
            assert "_local_scalar_dense" not in str(node.target)
            assert "nonzero" not in str(node.target)


def test_a_loop_whose_numbers_are_on_the_device_equals_one_on_the_host(golden_case: Path) -> None:
    case = GoldenCase(golden_case)
    engine = ReferenceEngine(case.checkpoint.load(), case.graph_inputs)
    rng, spec = np.random.default_rng(0), engine.graphs["expert"]
    tensors = {
        name: engine.tensor(tuple(6 if isinstance(a, str) else a for a in t.shape), t.dtype)
        for name, t in {**spec.inputs, **spec.outputs}.items()
    }
    for name in ("noisy_action", "dof_mask", "target", "weights", "past_kv"):
        tensors[name].write(rng.standard_normal(tensors[name].shape, dtype=np.float32))
    noise = tensors["noisy_action"].read()
    steps = [Step(0.0, 0.25, 0.5), Step(0.25, 0.5, 0.0), Step(0.75, 0.25, 2.0)]
    engine.bind_loop("expert", tensors, steps).run()
    expected = tensors["next_action"].read()
    tensors["noisy_action"].write(noise)
    local = of_engine("expert", tensors, TorchTensor)
    reference._Loop(reference._Run(engine._programs["expert"], spec, local), local, steps).run()
    np.testing.assert_array_equal(tensors["next_action"].read(), expected)


def test_a_device_that_torch_does_not_have_is_refused(golden_case: Path) -> None:
    case = GoldenCase(golden_case)
    device = "cuda:99" if torch.cuda.is_available() else "cuda"
    with pytest.raises(EngineError, match=r"cuda.*; expected .*"):
        ReferenceEngine(case.checkpoint.load(), case.graph_inputs, device=device)
    assert ModelSession(ReferenceEngine(case.checkpoint.load(), case.graph_inputs), capacity=4).length == 0
