"""The shapes that engines are built for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from wall_edge_engines.build.profiles import Profile, profiles_of

from wall_edge.bundle import MAX_SUBGOAL_TOKENS, Bundle, Manifest, TensorSpec
from wall_edge.errors import ConfigError, EngineError


@pytest.fixture(scope="module")
def manifest(shipped_bundle: Path) -> Manifest:
    return Bundle(shipped_bundle).manifest


def test_every_graph_has_a_profile_and_the_prefix_one_a_use(manifest: Manifest) -> None:
    uses = {graph: [p.name for p in profiles] for graph, profiles in profiles_of(manifest).items()}
    assert uses == {
        "vision": ["frames"],
        "prefix": ["prompt", "one token"],
        "lm_head": ["token"],
        "expert": ["step"],
    }


def test_sizes_come_from_the_manifest(manifest: Manifest) -> None:
    prompt, one = profiles_of(manifest)["prefix"]
    longest, capacity = manifest.max_prompt_tokens, manifest.max_prompt_tokens + MAX_SUBGOAL_TOKENS
    assert one.axes["tokens"] == (1, 1, 1)
    assert one.axes["past"] == (1, longest, capacity - 1)
    assert prompt.axes["tokens"] == (1, longest, longest)
    assert prompt.axes["past"][0] == 0
    assert profiles_of(manifest)["expert"][0].axes == {"past": (1, longest, capacity)}


def test_keys_are_past_and_tokens_together(manifest: Manifest) -> None:
    """TensorRT checks each of the three shapes by itself: a mask of another size would be refused."""
    for profile in profiles_of(manifest)["prefix"]:
        parts = zip(profile.axes["tokens"], profile.axes["past"], strict=True)
        assert profile.axes["keys"] == tuple(tokens + past for tokens, past in parts)


def holds(profile: Profile, sizes: dict[str, int]) -> bool:
    return all(least <= sizes[axis] <= most for axis, (least, _, most) in profile.axes.items())


@pytest.mark.parametrize(
    ("tokens", "past", "uses"),
    [
        (1, 0, ["prompt"]),
        (1, 1, ["prompt", "one token"]),
        (1, 316, ["one token"]),
        (1, 317, []),
        (285, 0, ["prompt"]),
        (286, 0, []),
        (2, 284, ["prompt"]),
        (2, 285, []),
    ],
)
def test_which_uses_sizes_are_of(manifest: Manifest, tokens: int, past: int, uses: list[str]) -> None:
    assert manifest.max_prompt_tokens == 285
    sizes = {"tokens": tokens, "past": past, "keys": tokens + past}
    assert [p.name for p in profiles_of(manifest)["prefix"] if holds(p, sizes)] == uses


def test_shapes_of_a_tensor() -> None:
    profile = Profile("x", {"past": (0, 3, 9)})
    assert profile.shapes(TensorSpec(("past", 2), "float32")) == ((0, 2), (3, 2), (9, 2))
    assert profile.shapes(TensorSpec((), "float32")) == ((), (), ())


@pytest.mark.parametrize("sizes", [(2, 1, 3), (1, 3, 2), (-1, 0, 0)])
def test_sizes_that_do_not_rise_are_refused(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(ConfigError, match="expected three sizes that rise"):
        Profile("x", {"past": sizes})


def test_an_axis_that_nobody_gives_a_size_is_refused_by_name(manifest: Manifest) -> None:
    expert = manifest.graphs["expert"]
    odd = replace(expert, inputs={**expert.inputs, "rows": TensorSpec(("beams",), "float32")})
    changed = object.__new__(Manifest)  # what its checks would refuse
    changed.__dict__.update({**manifest.__dict__, "graphs": {**manifest.graphs, "expert": odd}})
    with pytest.raises(EngineError, match="graph expert: an axis beams; expected the dynamic axes past"):
        profiles_of(changed)
