"""Which policy a kind of action needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from wall_edge.bundle import Bundle, FastActions, FlowActions
from wall_edge.policies.encoder import Encoder
from wall_edge.policies.fast.policy import FastPolicy, fast_codec
from wall_edge.policies.flow_policy import FlowPolicy

ActionPolicy = FlowPolicy | FastPolicy
POLICIES: Mapping[str, Callable[[Bundle, Encoder, int | None, int], ActionPolicy]] = {
    FlowActions.kind: lambda _, encoder, steps, seed: FlowPolicy(encoder, integration_steps=steps, seed=seed),
    FastActions.kind: lambda bundle, encoder, *_: FastPolicy(encoder, fast_codec(bundle)),
}
"""By kind."""


def action_policy(
    bundle: Bundle, encoder: Encoder, *, integration_steps: int | None = None, seed: int = 0
) -> ActionPolicy:
    """The policy that a bundle's actions need; ``seed`` is that of the noise, where there is any."""
    return POLICIES[bundle.manifest.actions.kind](bundle, encoder, integration_steps, seed)
