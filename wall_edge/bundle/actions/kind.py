"""What a bundle's actions are asked, whatever kind they are of.

A kind is a frozen dataclass in the manifest, told apart by its ``kind``. The policy that it needs is found in
``policies.action_policy``, how it is verified in ``verification.action_stages``: no ``if`` asks which it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import ClassVar

from wall_edge.bundle.graphs.specs import Graphs, GraphTensors, TensorSpec
from wall_edge.config_loader import Invalid

MAX_SUBGOAL_TOKENS = 32
COMMON_GRAPHS = ("vision", "prefix", "lm_head")
"""Those of every policy, in order."""
GoldenShape = tuple[str, tuple[int, ...]]
"""A golden array's numpy kinds, any of which will do, and its shape; -1 is any size."""


class ActionKind(ABC):
    """A kind of action. Class variables are the same for every policy of the kind."""

    title: ClassVar[str]
    """In messages, before the word *actions*."""
    graphs: ClassVar[tuple[str, ...]]
    """Those that its policies need, in order."""
    optional_graphs: ClassVar[tuple[str, ...]] = ()
    """Those for guidance through the Jacobian, on request."""
    files: ClassVar[tuple[str, ...]] = ()
    """Of a bundle, beside those that all have."""
    generated_tokens: ClassVar[int] = MAX_SUBGOAL_TOKENS
    """The most that are generated behind a prompt: a chunk's or a subgoal's."""
    integrates: ClassVar[bool]
    """Whether a chunk is integrated in steps, and may be guided meanwhile; else it comes in words."""
    stages: ClassVar[Mapping[str, tuple[str, ...]]]
    """What verification checks of the actions: by stage, the graphs whose precision shows in it."""

    @classmethod
    def graph_names(cls, *, guidance: bool) -> tuple[str, ...]:
        """The graphs of a bundle, in order."""
        return (*cls.graphs, *cls.optional_graphs) if guidance else cls.graphs

    @classmethod
    def require_graphs(cls, names: Iterable[str]) -> None:
        """Raise :class:`Invalid` for a graph too many or too few."""
        present = set(names)
        if not set(cls.graphs) <= present or not present <= {*cls.graphs, *cls.optional_graphs}:
            raise Invalid("graphs", list(names), expected=", ".join(cls.graphs))

    @property
    @abstractmethod
    def integration_steps(self) -> int | None:
        """Of a chunk; none of words."""

    @property
    @abstractmethod
    def integration(self) -> str:
        """How a chunk is integrated, in words."""

    @abstractmethod
    def slots(self, graphs: Graphs, dof: int) -> int:
        """The actions' width in the graphs, for a robot of ``dof`` degrees of freedom."""

    @abstractmethod
    def slot_bound(self, graphs: Graphs) -> int:
        """The slot number that none of the model's reaches."""

    @abstractmethod
    def tensors(self, graphs: Graphs, horizon: int, past: TensorSpec) -> GraphTensors:
        """Inputs and outputs of the graphs that only this kind has, behind keys/values ``past``."""

    @abstractmethod
    def golden_shapes(self, graphs: Graphs, horizon: int, dof: int) -> dict[str, GoldenShape]:
        """The golden arrays that only this kind has."""
