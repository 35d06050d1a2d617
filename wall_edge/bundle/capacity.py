"""How many tokens a policy's session holds: what engines are built for, and what caches are made for."""

from __future__ import annotations

from wall_edge.bundle.manifest import Manifest

MAX_SUBGOAL_TOKENS = 32
MAX_FAST_TOKENS = 256
"""Tokens that a chunk may take, ``<|im_end|>`` among them; the references stop at 100."""


def session_capacity(manifest: Manifest) -> int:
    """The longest prompt and what is generated behind it, in tokens."""
    return manifest.max_prompt_tokens + (MAX_SUBGOAL_TOKENS if manifest.fast is None else MAX_FAST_TOKENS)
