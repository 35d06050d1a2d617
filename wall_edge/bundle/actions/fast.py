"""FAST actions: a chunk is words of the vocabulary head (arXiv 2501.09747; WALL-OSS-FAST)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from wall_edge.bundle.actions.fast_settings import FAST_TOKENIZER, FastSettings
from wall_edge.bundle.actions.kind import COMMON_GRAPHS, ActionKind, GoldenShape
from wall_edge.bundle.graphs.specs import MAX_SIZE, Graphs, GraphTensors, TensorSpec

MAX_FAST_TOKENS = 256
"""Tokens that a chunk may take, ``<|im_end|>`` among them; the references stop at 100."""


@dataclass(frozen=True)
class FastActions(ActionKind):
    """How they are spelled; their tokenizer is in ``fast_tokenizer.json``."""

    spelling: FastSettings
    kind: Literal["fast"] = "fast"

    title: ClassVar[str] = "FAST"
    graphs: ClassVar[tuple[str, ...]] = COMMON_GRAPHS
    files: ClassVar[tuple[str, ...]] = (FAST_TOKENIZER,)
    generated_tokens: ClassVar[int] = MAX_FAST_TOKENS
    integrates: ClassVar[bool] = False
    stages: ClassVar[Mapping[str, tuple[str, ...]]] = {"action_logits": ("vision", "prefix", "lm_head")}

    @property
    def integration_steps(self) -> None:
        return None

    @property
    def integration(self) -> str:
        return "none: a chunk is words"

    def slots(self, graphs: Graphs, dof: int) -> int:  # noqa: ARG002
        """Words spell the robot's degrees of freedom only."""
        return dof

    def slot_bound(self, graphs: Graphs) -> int:  # noqa: ARG002
        """No graph knows how many the model has; their order counts."""
        return MAX_SIZE

    def tensors(self, graphs: Graphs, horizon: int, past: TensorSpec) -> GraphTensors:  # noqa: ARG002
        return {}

    def golden_shapes(self, graphs: Graphs, horizon: int, dof: int) -> dict[str, GoldenShape]:  # noqa: ARG002
        return {"action_logits": ("f", (int(graphs["lm_head"].outputs["logits"].shape[0]),))}
