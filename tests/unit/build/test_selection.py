"""Which compiler builds for which device, and what is said where none can."""

from __future__ import annotations

import pytest
from wall_edge_engines.build.targets.selection import select
from wall_edge_engines.cuda.driver import DeviceFacts

from tests.unit.build.conftest import ORIN, Machine
from wall_edge.errors import ConfigError, EngineError

RTX_3090 = DeviceFacts("RTX 3090", 86, 24 << 30, integrated=False, driver="13.0")
pytestmark = pytest.mark.usefixtures("compilers")


def test_on_an_orin_it_is_the_orin_by_jetpacks_compiler(machine: Machine) -> None:
    machine(ORIN, "tensorrt", "tensorrt_rtx")
    choice = select(None, None)
    assert (choice.compiler, choice.version, choice.target.name) == ("tensorrt", "10.3.0", "orin-nx-16")
    assert choice.device == ORIN
    assert choice.memory_bytes == ORIN.memory_bytes
    assert select("orin-nx-16", None) == choice


def test_where_only_rtx_is_it_builds_on_the_gpu(machine: Machine) -> None:
    machine(RTX_3090, "tensorrt_rtx")
    choice = select(None, None)
    assert (choice.compiler, choice.target.name, choice.device) == ("tensorrt-rtx", "gpu", RTX_3090)


@pytest.mark.parametrize("compiler", [None, "tensorrt-rtx"])
def test_ahead_of_time_without_a_gpu(machine: Machine, compiler: str | None) -> None:
    machine(None, "tensorrt", "tensorrt_rtx")
    choice = select("sm86-check", compiler)
    assert (choice.compiler, choice.target.sm, choice.device) == ("tensorrt-rtx", 86, None)
    assert choice.memory_bytes is None


def refusal(target: str | None, compiler: str | None) -> str:
    with pytest.raises((ConfigError, EngineError)) as refused:
        select(target, compiler)
    return str(refused.value)


def test_no_gpu_and_no_target(machine: Machine) -> None:
    machine(None, "tensorrt_rtx")
    text = refusal(None, None)
    assert text.startswith("no GPU at hand: cuInit says CUDA_ERROR_NO_DEVICE; expected a GPU")
    assert "--target sm86-check --compiler tensorrt-rtx" in text
    assert "orin-agx-64" in text


@pytest.mark.parametrize("target", ["orin-agx-64", "orin-agx-32", "orin-nx-16", "orin-nano-8"])
def test_no_orin_is_built_for_ahead_of_time(machine: Machine, target: str) -> None:
    machine(None, "tensorrt_rtx")
    text = refusal(target, None)
    assert f"target {target} is SM87: tensorrt-rtx builds ahead of time only for SM75, SM80, SM86" in text
    assert "run 'wall-edge build BUNDLE' on the Jetson" in text


@pytest.mark.parametrize("target", ["thor", "h100"])
def test_nor_thor_nor_an_h100(machine: Machine, target: str) -> None:
    machine(None, "tensorrt_rtx")
    assert "builds ahead of time only for" in refusal(target, "tensorrt-rtx")


def test_jetpacks_compiler_builds_for_the_gpu_at_hand_only(machine: Machine) -> None:
    machine(ORIN, "tensorrt")
    text = refusal("thor", "tensorrt")
    assert "target thor is SM110: tensorrt builds only for the GPU at hand" in text
    assert "expected that GPU at hand (it is Orin, SM87, orin-nx-16)" in text
    assert "(it is Orin, SM87, orin-nx-16)" in refusal("orin-agx-64", None)
    assert refusal("sm86-check", "tensorrt").endswith("use --compiler tensorrt-rtx")


def test_no_compiler_at_all(machine: Machine) -> None:
    machine(ORIN)
    text = refusal(None, None)
    assert text.startswith("no compiler is installed; expected tensorrt or tensorrt_rtx")
    assert "it comes with JetPack" in text


def test_words_that_name_nothing(machine: Machine) -> None:
    machine(ORIN, "tensorrt")
    assert "compiler 'trtexec'; expected tensorrt or tensorrt-rtx" in refusal(None, "trtexec")
    assert "target 'nano'; expected one of h100" in refusal("nano", None)
