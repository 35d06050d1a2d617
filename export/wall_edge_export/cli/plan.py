"""``wall-edge plan``: what a policy will take on a device, before anything is exported."""

from __future__ import annotations


def plan() -> None:
    """Predict time and memory of a policy on a device."""
    raise NotImplementedError  # the branch `plan` writes it
