"""What building and running take, estimated before anything starts; refused with the arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wall_edge.bundle import Bundle, GraphSpec, Manifest, session_capacity
from wall_edge.errors import EngineError
from wall_edge_engines.build.targets.target import Target
from wall_edge_engines.element_types import STORAGE

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
_SYSTEM_BYTES = 1_500_000_000
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


def graph_bytes(bundle: Bundle, graph: str) -> int:
    """A graph's weights in its files."""
    spec = bundle.manifest.graphs[graph]
    return sum(bundle.path(name).stat().st_size for name in (spec.file, spec.data))


def build_bytes(weights: int, profiles: int) -> int:
    """The most that the compiler of a graph of ``weights`` bytes will hold."""
    return round(_copies(profiles) * weights) + BUILD_BASE_BYTES


def _copies(profiles: int) -> float:
    return BUILD_COPIES + 2 * SECOND_PROFILE * (profiles - 1)


def available_bytes() -> int:
    """What a new process can have: ``MemAvailable`` and ``SwapFree`` of /proc/meminfo.

    A compiler's copies of the weights may be swapped out; what CUDA allocates may not.
    """
    lines = Path("/proc/meminfo").read_text().splitlines()
    sizes = {line.split(":")[0]: 1024 * int(line.split()[1]) for line in lines}
    return sizes["MemAvailable"] + sizes["SwapFree"]


def build_shortage(weights: int, profiles: int, available: int) -> str:
    """Why a graph of ``weights`` bytes cannot be compiled in ``available``; empty where it can."""
    need = build_bytes(weights, profiles)
    if need <= available:
        return ""
    factors = f"{_copies(profiles):g} x {gigabytes(weights)} of weights + {gigabytes(BUILD_BASE_BYTES)}"
    return (
        f"compiling takes {factors} = {gigabytes(need)}, {gigabytes(available)} are free; end other programs,"
        " add swap, or export a smaller recipe"
    )


def run_estimate(bundle: Bundle, target: Target, engines: int | None = None) -> RunEstimate:
    """What the bundle's engines take on ``target`` when they run; ``engines``: their size, once built."""
    manifest = bundle.manifest
    past = manifest.graphs["prefix"].inputs["past_kv"]
    token = _item_bytes(manifest.graphs["prefix"])
    for size in past.shape[1:]:
        token *= int(size)
    return RunEstimate(
        weights=sum(graph_bytes(bundle, graph) for graph in manifest.graphs) if engines is None else engines,
        caches=SESSIONS * session_capacity(manifest) * token,
        activations=_activation_bytes(manifest),
        rest=_CONTEXT_BYTES + (_SYSTEM_BYTES if target.integrated else 0),
    )


def require_fits(
    bundle: Bundle, target: Target, memory_bytes: int | None, engines: int | None = None
) -> None:
    """Raises :class:`EngineError` where the engines do not fit ``memory_bytes``; none: of no device."""
    estimate = run_estimate(bundle, target, engines)
    smaller = "int4" in target.element_types and bundle.manifest.recipe != _SMALLEST
    if memory_bytes is not None and estimate.total > memory_bytes:
        raise EngineError(
            f"{target.title}: running takes {estimate}",
            expected=f"at most its {gigabytes(memory_bytes)}",
            fix=f"export a smaller recipe: --precision {_SMALLEST}" if smaller else "take a larger device",
        )


def _activation_bytes(manifest: Manifest) -> int:
    """A guess: the prefix's widest layer (gate, up and their product: 3 x 5.4 hidden sizes) for the longest
    prompt, half as much for four patches a token of the vision tower, and scores unless attention is fused.
    """
    prefix = manifest.graphs["prefix"]
    tokens, item = manifest.max_prompt_tokens, _item_bytes(prefix)
    hidden, head = int(prefix.inputs["image_embeds"].shape[1]), int(prefix.inputs["past_kv"].shape[4])
    layers = 16 * tokens * hidden * item + 4 * tokens * 8 * hidden * item
    scores = 2 * max(1, hidden // head) * tokens * tokens * item if item == 4 else 0
    return layers + scores


def _item_bytes(prefix: GraphSpec) -> int:
    return STORAGE[prefix.inputs["past_kv"].dtype].itemsize


def gigabytes(count: int) -> str:
    """A size for a person."""
    return f"{count / 1e9:.2f} GB"
