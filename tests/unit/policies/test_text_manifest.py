"""Manifests of policies that read their state as text: what the graph ``prefix`` then takes, and sizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from wall_edge.bundle import Bundle, GraphSpec, Layout, Manifest, StateText
from wall_edge.config_loader import Invalid
from wall_edge.policies.prompts import Prompts


@pytest.fixture(scope="module")
def manifest(shipped_bundle: Path) -> Manifest:
    return replace(Bundle(shipped_bundle).manifest, family="wall-oss-0.5")


def without_token(manifest: Manifest) -> dict[str, GraphSpec]:
    prefix = manifest.graphs["prefix"]
    inputs = {name: spec for name, spec in prefix.inputs.items() if name not in ("state", "state_mask")}
    return {**manifest.graphs, "prefix": replace(prefix, inputs=inputs)}


def test_a_state_as_text_needs_no_input(manifest: Manifest) -> None:
    made = replace(manifest, graphs=without_token(manifest), state_text=StateText(256))
    assert made.state_slots == 1 + max(made.embodiment.state.slots)
    assert replace(made, state_text=StateText(256, slots=26)).state_slots == 26


Change = Callable[[Manifest], Manifest]


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (lambda m: replace(m, state_text=StateText(256)), "graphs.prefix.inputs"),
        (lambda m: replace(m, graphs=without_token(m)), "graphs.prefix"),
        (
            lambda m: replace(m, graphs=without_token(m), state_text=StateText(256, slots=3)),
            "embodiment.state.degrees",
        ),
        (
            lambda m: replace(m, graphs=without_token(m), state_text=StateText(256), family="wall-oss"),
            "state_text",
        ),
    ],
    ids=("both", "neither", "fewer slots than the state takes", "of the first family"),
)
def test_token_and_text_do_not_mix(manifest: Manifest, change: Change, key: str) -> None:
    with pytest.raises(Invalid) as refused:
        change(manifest)
    assert refused.value.key.startswith(key)


def test_slots_that_stand_masked_behind_the_last_degree(manifest: Manifest) -> None:
    """Upstream's 20 slots of a robot that has the first six: nothing of them is said, nor refused."""
    layout: Layout = replace(manifest.embodiment.state, masked=tuple([0.5] * 20))
    robot = replace(manifest.embodiment, state=layout)
    made = replace(manifest, graphs=without_token(manifest), state_text=StateText(256), embodiment=robot)
    assert made.state_slots == 20


def test_a_prompt_of_a_bundle_has_room_for_the_state(shipped_bundle: Path, manifest: Manifest) -> None:
    bundle = Bundle(shipped_bundle)
    plain = Prompts.of(bundle).most_action_tokens("go")
    bundle.manifest = replace(manifest, graphs=without_token(manifest), state_text=StateText(512))
    assert Prompts.of(bundle).most_action_tokens("go") - plain == 4 * manifest.state_dof - 1
