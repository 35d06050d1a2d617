"""The kinds of action that a policy may have."""

from collections.abc import Iterable

from wall_edge.bundle.actions.fast import MAX_FAST_TOKENS, FastActions
from wall_edge.bundle.actions.flow import FlowActions, require_flow, require_steps
from wall_edge.bundle.actions.kind import COMMON_GRAPHS, MAX_SUBGOAL_TOKENS, ActionKind, GoldenShape

__all__ = [
    "MAX_FAST_TOKENS",
    "MAX_SUBGOAL_TOKENS",
    "ActionKind",
    "FastActions",
    "FlowActions",
    "GoldenShape",
    "kind_of_graphs",
    "require_flow",
    "require_steps",
]


def kind_of_graphs(names: Iterable[str]) -> type[ActionKind]:
    """The kind that has these graphs beside the common ones, of a policy that was not exported yet."""
    present = set(names)
    kinds: tuple[type[ActionKind], ...] = (FlowActions, FastActions)  # the one that needs most comes first
    return next(kind for kind in kinds if present >= set(kind.graphs) - set(COMMON_GRAPHS))
