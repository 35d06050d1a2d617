"""Manifests of policies that read their state as text: what the graph ``prefix`` then takes, and sizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from wall_edge.bundle import Bundle, Embodiment, GraphSpec, Layout, Manifest, StateText
from wall_edge.checks import MAX_SLOTS
from wall_edge.config_loader import Invalid, from_mapping
from wall_edge.errors import BundleError
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
        (lambda m: replace(m, state_text=StateText(256)), "state_text"),
        (lambda m: replace(m, graphs=without_token(m)), "state_text"),
        (lambda m: replace(m, graphs=without_token(m), family="wall-oss"), "graphs.prefix"),
        (
            lambda m: replace(m, graphs=without_token(m), state_text=StateText(256, slots=3)),
            "embodiment.state.degrees",
        ),
        (
            lambda m: replace(m, graphs=without_token(m), state_text=StateText(256), family="wall-oss"),
            "state_text",
        ),
    ],
    ids=("both", "neither", "neither, in the first family", "too few slots", "of the first family"),
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


def test_words_that_were_taken_out_of_a_manifest_are_named(manifest: Manifest) -> None:
    """It said "graphs.prefix is []; expected a tensor state of 1 axes"."""
    written = asdict(replace(manifest, graphs=without_token(manifest), state_text=StateText(256)))
    del written["state_text"]
    with pytest.raises(BundleError) as refused:
        from_mapping(Manifest, written, "manifest.yaml", BundleError)
    assert str(refused.value) == (
        "manifest.yaml: state_text is None; expected the bins of the state's words, as the graph prefix has "
        "no input for the state; export the bundle again"
    )


def moved(manifest: Manifest, slot: int, masked: int = 0) -> Embodiment:
    """The robot with the last degree of freedom of its state in another slot."""
    state = manifest.embodiment.state
    degrees = (*state.degrees[:-1], replace(state.degrees[-1], slot=slot))
    layout = replace(state, degrees=degrees, masked=tuple([0.5] * masked))
    return replace(manifest.embodiment, state=layout)


@pytest.mark.parametrize(("slot", "masked"), [(MAX_SLOTS, 0), (1 << 20, 0), (20, 20), (255, 20)])
def test_a_slot_that_no_model_has_is_refused_where_only_degrees_are_said(
    manifest: Manifest, slot: int, masked: int
) -> None:
    """Any slot was taken, and as many values were made of each state."""
    made = replace(manifest, graphs=without_token(manifest), state_text=StateText(256))
    assert replace(made, embodiment=moved(made, (masked or MAX_SLOTS) - 1, masked))
    with pytest.raises(Invalid) as refused:
        replace(made, embodiment=moved(made, slot, masked))
    assert refused.value.key == f"embodiment.state.degrees[{len(made.embodiment.state) - 1}].slot"
    assert refused.value.expected == f"0 to {(masked or MAX_SLOTS) - 1} (the model's slots)"


def test_more_masked_values_than_any_model_has_slots_are_refused(manifest: Manifest) -> None:
    made = replace(manifest, graphs=without_token(manifest), state_text=StateText(256))
    with pytest.raises(Invalid, match=r"embodiment\.state\.masked"):
        replace(made, embodiment=moved(made, 5, MAX_SLOTS + 1))


def test_a_prompt_without_room_for_the_state_is_refused(manifest: Manifest) -> None:
    """It opened, and every chunk failed: "N tokens; expected at most M; shorten the instruction"."""
    text = StateText(256, slots=60)
    images = sum(camera.tokens for camera in manifest.cameras.values())
    room = images + text.most_tokens(manifest.state_dof)
    made = replace(manifest, graphs=without_token(manifest), state_text=text, max_prompt_tokens=room + 1)
    with pytest.raises(Invalid) as refused:
        replace(made, max_prompt_tokens=room)
    assert refused.value.key == "max_prompt_tokens"
    assert refused.value.expected == f"more than the images' {images} and the state's {60 * 4 - 1}"


def test_a_prompt_of_a_bundle_has_room_for_the_state(shipped_bundle: Path, manifest: Manifest) -> None:
    bundle = Bundle(shipped_bundle)
    plain = Prompts.of(bundle).most_action_tokens("go")
    bundle.manifest = replace(manifest, graphs=without_token(manifest), state_text=StateText(512))
    assert Prompts.of(bundle).most_action_tokens("go") - plain == 4 * manifest.state_dof - 1
