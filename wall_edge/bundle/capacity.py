"""How many tokens a policy's session holds: what engines are built for, and what caches are made for."""

from __future__ import annotations

from wall_edge.bundle.manifest import Manifest


def session_capacity(manifest: Manifest) -> int:
    """The longest prompt and what is generated behind it, in tokens."""
    return manifest.max_prompt_tokens + manifest.actions.generated_tokens
