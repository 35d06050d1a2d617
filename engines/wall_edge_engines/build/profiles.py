"""The shapes that an engine is built for: one optimisation profile a use, from a bundle's manifest.

A graph's dynamic axes are ``tokens`` (new ones), ``past`` (tokens whose keys/values are cached) and ``keys``
(both together). A shape outside of every profile cannot run.
"""

from __future__ import annotations

from dataclasses import dataclass

from wall_edge.bundle import GraphSpec, Manifest, TensorSpec, session_capacity
from wall_edge.config_loader import Invalid
from wall_edge.errors import EngineError

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Profile:
    """One use of a graph: of each dynamic axis the least, the usual and the largest size."""

    name: str
    axes: dict[str, tuple[int, int, int]]

    def __post_init__(self) -> None:
        for axis, (least, usual, most) in self.axes.items():
            if not 0 <= least <= usual <= most:
                raise Invalid(f"axes.{axis}", [least, usual, most], expected="three sizes that rise")

    def shapes(self, tensor: TensorSpec) -> tuple[Shape, Shape, Shape]:
        """The least, usual and largest shape of a tensor."""
        least, usual, most = (
            tuple(axis if isinstance(axis, int) else self.axes[axis][size] for axis in tensor.shape)
            for size in range(3)
        )
        return least, usual, most


def profiles_of(manifest: Manifest) -> dict[str, tuple[Profile, ...]]:
    """Of every graph that a bundle has. Raises :class:`EngineError` for axes that are no use's."""
    by_graph = uses(manifest.max_prompt_tokens, session_capacity(manifest))
    return {
        name: tuple(_required(profile, name, graph) for profile in by_graph[name])
        for name, graph in manifest.graphs.items()
    }


def uses(prompt: int, capacity: int) -> dict[str, tuple[Profile, ...]]:
    """Of every graph the uses, the widest first, for prompts of up to ``prompt`` tokens in such a session.

    Not the other way round: with one token in the first profile, TensorRT-RTX 1.7.1 says of the engine's
    output that it always is of one token.
    """
    return {
        "vision": (Profile("frames", {}),),
        "lm_head": (Profile("token", {}),),
        "prefix": (
            Profile("prompt", _axes((1, prompt, prompt), (0, 0, prompt - 1))),
            Profile("one token", _axes((1, 1, 1), (1, prompt, capacity - 1))),
        ),
        "expert": (Profile("step", {"past": (1, prompt, capacity)}),),
        "guided": (Profile("step", {"past": (1, prompt, capacity)}),),
    }


def _axes(tokens: tuple[int, int, int], past: tuple[int, int, int]) -> dict[str, tuple[int, int, int]]:
    least, usual, most = (new + cached for new, cached in zip(tokens, past, strict=True))
    return {"tokens": tokens, "past": past, "keys": (least, usual, most)}


def _required(profile: Profile, name: str, graph: GraphSpec) -> Profile:
    """The axes that the graph's inputs have. Raises :class:`EngineError` for one that is not theirs."""
    dynamic = {axis for tensor in graph.inputs.values() for axis in tensor.shape if isinstance(axis, str)}
    if strange := dynamic - set(profile.axes):
        raise EngineError(
            f"graph {name}: an axis {', '.join(sorted(strange))}",
            expected=f"the dynamic axes {', '.join(profile.axes) or 'of no name'}",
            fix="export the bundle again with 'wall-edge export'",
        )
    return Profile(profile.name, {axis: sizes for axis, sizes in profile.axes.items() if axis in dynamic})
