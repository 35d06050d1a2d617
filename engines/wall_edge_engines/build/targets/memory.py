"""What building and running take, estimated before anything starts; refused with the arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wall_edge.bundle import Bundle
from wall_edge.errors import EngineError
from wall_edge_engines.build.profiles import uses
from wall_edge_engines.build.targets.sizes import PolicySizes
from wall_edge_engines.build.targets.target import Target

BUILD_COPIES = 3
"""Of a graph's weights while it is compiled. Measured with tensorrt-rtx 1.7.1.116 for SM86 on 2026-11-26, on
wall-oss-mini in bf16: 4991 MB for a prefix of 1548 MB, 1477 MB for 395, 1249 MB for 315. Reports of TensorRT
on Jetsons say 3 to 5: what passes here may still be killed."""
SECOND_PROFILE = 0.34
"""Of the weights: what an engine holds again in another order for a second profile's kernels (2071 MB against
1553 MB in the same runs); the compiler has that part twice, 6024 MB in all."""
BUILD_BASE_BYTES = 350_000_000
"""Beside them: the shipped policy's graphs, a few MB each, took 227 to 330 MB."""
SESSIONS = 2
"""Key/value caches: one for actions, one for subgoals."""
_SMALLEST = "int8-int4"
"""The recipe of the fewest bytes."""
_CONTEXT_BYTES = 500_000_000
"""CUDA's and TensorRT's own, a round figure."""
SYSTEM_BYTES = 1_500_000_000
"""On a Jetson: kernel, daemon and cameras, a round figure."""


@dataclass(frozen=True)
class RunEstimate:
    """Bytes that a device holds while a policy runs."""

    weights: int
    caches: int
    activations: int
    rest: int

    @property
    def total(self) -> int:
        return self.weights + self.caches + self.activations + self.rest

    def __str__(self) -> str:
        return (
            f"weights {gigabytes(self.weights)} + keys/values {gigabytes(self.caches)} + "
            f"activations {gigabytes(self.activations)} + CUDA and system {gigabytes(self.rest)} = "
            f"{gigabytes(self.total)}"
        )


def build_bytes(weights: int, profiles: int) -> int:
    """The most that the compiler of a graph of ``weights`` bytes will hold."""
    return round(_copies(profiles) * weights) + BUILD_BASE_BYTES


def _copies(profiles: int) -> float:
    return BUILD_COPIES + 2 * SECOND_PROFILE * (profiles - 1)


def available_bytes() -> int:
    """What a new process can have: ``MemAvailable`` and ``SwapFree`` of /proc/meminfo.

    A compiler's copies of the weights may be swapped out; what CUDA allocates may not.
    """
    sizes = _meminfo()
    return sizes["MemAvailable"] + sizes["SwapFree"]


def total_bytes() -> int:
    """What this machine has without swap: ``MemTotal``."""
    return _meminfo()["MemTotal"]


def _meminfo() -> dict[str, int]:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return {line.split(":")[0]: 1024 * int(line.split()[1]) for line in lines}


def build_shortage(weights: int, profiles: int, available: int) -> str:
    """Why a graph of ``weights`` bytes cannot be compiled in ``available``; empty where it can."""
    if build_bytes(weights, profiles) <= available:
        return ""
    need = _build_arithmetic(weights, profiles)
    return (
        f"{need}, {gigabytes(available)} are free; end other programs, add swap, or export a smaller recipe"
    )


def _build_arithmetic(weights: int, profiles: int) -> str:
    factors = f"{_copies(profiles):g} x {gigabytes(weights)} of weights + {gigabytes(BUILD_BASE_BYTES)}"
    return f"compiling takes {factors} = {gigabytes(build_bytes(weights, profiles))}"


def build_peak(sizes: PolicySizes) -> tuple[str, int]:
    """The graph whose compiler holds the most, and those bytes: each graph is compiled by itself."""
    needs = {name: build_bytes(sizes.weights[name], count) for name, count in _profiles(sizes).items()}
    graph = max(needs, key=lambda name: needs[name])
    return graph, needs[graph]


def build_peak_words(sizes: PolicySizes) -> str:
    """The arithmetic of :func:`build_peak`."""
    graph, _ = build_peak(sizes)
    return f"{graph}: {_build_arithmetic(sizes.weights[graph], _profiles(sizes)[graph])}"


def _profiles(sizes: PolicySizes) -> dict[str, int]:
    """How many profiles every graph has."""
    by_graph = uses(sizes.max_prompt_tokens, sizes.capacity)
    return {name: len(by_graph[name]) for name in sizes.weights}


def run_estimate(sizes: PolicySizes, target: Target, engines: int | None = None) -> RunEstimate:
    """What the policy's engines take on ``target`` when they run; ``engines``: their size, once built."""
    return RunEstimate(
        weights=sum(sizes.weights.values()) if engines is None else engines,
        caches=SESSIONS * sizes.capacity * sizes.token_bytes,
        activations=sizes.activation_bytes,
        rest=(0 if target.sm is None else _CONTEXT_BYTES) + (SYSTEM_BYTES if target.integrated else 0),
    )


def run_shortage(sizes: PolicySizes, target: Target, memory_bytes: int | None) -> str:
    """Why the engines cannot run in ``memory_bytes``; empty where they can, or for no device (none)."""
    estimate = run_estimate(sizes, target)
    if memory_bytes is None or estimate.total <= memory_bytes:
        return ""
    return f"running takes {estimate}, more than its {gigabytes(memory_bytes)}"


def require_fits(
    bundle: Bundle, target: Target, memory_bytes: int | None, engines: int | None = None
) -> None:
    """Raises :class:`EngineError` where the engines do not fit ``memory_bytes``; none: of no device."""
    estimate = run_estimate(PolicySizes.of_bundle(bundle), target, engines)
    if memory_bytes is not None and estimate.total > memory_bytes:
        raise EngineError(
            f"{target.title}: running takes {estimate}",
            expected=f"at most its {gigabytes(memory_bytes)}",
            fix=smaller_recipe(bundle.manifest.recipe, target),
        )


def smaller_recipe(recipe: str, target: Target) -> str:
    """What to do about a policy that does not fit."""
    smaller = "int4" in target.element_types and recipe != _SMALLEST
    return f"export a smaller recipe: --precision {_SMALLEST}" if smaller else "take a larger device"


def gigabytes(count: int) -> str:
    """A size for a person."""
    return f"{count / 1e9:.2f} GB"
