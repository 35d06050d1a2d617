"""What ``inspect`` and ``export`` say of a bundle's policy."""

from __future__ import annotations

from wall_edge.bundle import Manifest
from wall_edge.errors import plural


def policy_facts(manifest: Manifest) -> dict[str, str]:
    """By heading: of which generation, what it is asked, what it answers, on which times."""
    seconds = manifest.horizon / manifest.action_rate_hz
    return {
        "policy": manifest.policy,
        "prompt": ", ".join(_prompt(manifest)),
        "chunk": f"{plural(manifest.horizon, 'step')} at {manifest.action_rate_hz:g} Hz ({seconds:.2f} s)",
        "integration": manifest.actions.integration,
    }


def slot_facts(manifest: Manifest) -> dict[str, str]:
    """Where a model is known to have more slots than its robot takes: how many of how many."""
    sides = (
        ("actions", manifest.dof, manifest.action_slots),
        ("the state", manifest.state_dof, manifest.model_state_slots),
    )
    told = [
        f"{taken} of the model's {slots} for {side}"
        for side, taken, slots in sides
        if slots is not None and slots != taken
    ]
    return {"slots": ", ".join(told)} if told else {}


def _prompt(manifest: Manifest) -> list[str]:
    text, space = manifest.state_text, manifest.prompt_action_space
    return [
        f"{manifest.prompt_wording} wording",
        *([f"a system turn for {space}"] if space is not None else []),
        "the state in a token of its own" if text is None else f"the state in words of {text.bins} bins",
        f"at most {manifest.max_prompt_tokens} tokens",
    ]
