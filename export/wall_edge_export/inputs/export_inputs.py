"""Everything that an export reads before it computes: checkpoint, settings, tokenizer, graph inputs."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from wall_edge.bundle import file_digest
from wall_edge.config import RobotConfig
from wall_edge.errors import CheckpointError, ConfigError
from wall_edge.files import read_text, shown
from wall_edge.policies.instruction import require_words
from wall_edge.policies.prompt_text import TURN_END, Ids, PromptTokenizer
from wall_edge.policies.prompts import Prompts
from wall_edge_export.checkpoint.checkpoint import Checkpoint
from wall_edge_export.inputs.actions import ExportActions, export_actions
from wall_edge_export.inputs.settings import ExportSettings, resolve_settings
from wall_edge_export.model.inventory import inventory
from wall_edge_export.onnx.graphs import GraphInputs
from wall_edge_export.onnx.trace import hollow_model
from wall_edge_export.quantize.precision import INT4_BLOCKS, INT4_WEIGHTS, Recipe
from wall_edge_export.quantize.weight_bytes import weight_bytes

INSTRUCTION_TOKENS = 256
"""Room for what a user may ask, beside the images and a state in words."""
INSTRUCTION = "do the task."
"""What a policy is asked where nobody says."""
_LINE = 1000


@dataclass(frozen=True)
class ExportInputs:
    """A checkpoint that is fit to be exported for a robot."""

    checkpoint: Checkpoint
    settings: ExportSettings
    tokenizer: PromptTokenizer
    head_tokens: Ids | None
    actions: ExportActions
    guidance: bool = False
    """Whether the graph ``guided`` is asked for."""

    @classmethod
    def open(
        cls,
        checkpoint: Checkpoint,
        robot: RobotConfig | None,
        vocabulary: Path | None = None,
        fast: Path | None = None,
        guidance: bool = False,
    ) -> ExportInputs:
        """Read and check; raises :class:`CheckpointError`, :class:`ConfigError` or :class:`BundleError`."""
        settings = resolve_settings(checkpoint, robot)
        tokenizer = PromptTokenizer(checkpoint.tokenizer, state_token=checkpoint.shape.state_token)
        _check_tokenizer(checkpoint, tokenizer)
        checkpoint.check()
        actions = export_actions(fast, checkpoint, settings, robot, tokenizer)
        head = None if vocabulary is None else subgoal_tokens(vocabulary, tokenizer)
        if head is not None:
            head = np.union1d(head, actions.head_tokens)
        return cls(checkpoint, settings, tokenizer, head, actions, guidance)

    @cached_property
    def prompts(self) -> Prompts:
        settings = self.settings
        return Prompts(
            settings.cameras,
            self.tokenizer,
            self.head_tokens,
            settings.wording,
            action_space=settings.action_space,
            state_tokens=self._state_tokens,
        )

    @property
    def _state_tokens(self) -> int:
        text = self.settings.state_text
        return 0 if text is None else text.most_tokens(len(self.settings.embodiment.state))

    @cached_property
    def graph_inputs(self) -> GraphInputs:
        cameras = self.settings.cameras
        return GraphInputs(
            grids=tuple(camera.grid for camera in cameras.values()),
            image_token_id=self.tokenizer.ids.image,
            state_token_id=self.tokenizer.ids.state,
            horizon=self.settings.horizon,
            cameras=cameras,
            actions=type(self.actions.stored),
            head_rows=None if self.head_tokens is None else len(self.head_tokens),
            guidance=self.guidance,
            padding=self.settings.padding,
        )

    @cached_property
    def sha256(self) -> str:
        """Digest of the configuration and the weights."""
        return file_digest(self.checkpoint.folder / "config.json", *self.checkpoint.weight_files())

    @property
    def max_prompt_tokens(self) -> int:
        return self.prompts.observation_tokens + INSTRUCTION_TOKENS + self._state_tokens

    def fingerprint(self) -> str:
        """Digest of all that decides the graphs but the recipe."""
        head = b"" if self.head_tokens is None else self.head_tokens.tobytes()
        tokenizer = file_digest(self.checkpoint.tokenizer)
        actions = self.actions.fingerprint()
        parts = (self.sha256, tokenizer, repr(self.settings), repr(self.graph_inputs), head.hex(), actions)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def int4_scratch_bytes(self, recipe: Recipe) -> int:
        """About what calibration keeps of ready 4-bit weights: a byte each, and their scales."""
        total = 0
        for weight in inventory(hollow_model(self.checkpoint.shape)).values():
            for graph in set(weight.graphs) & set(self.graph_inputs.graphs):
                if recipe.precision(graph, weight) == INT4_WEIGHTS:
                    total += int(math.prod(weight.shape) * (1 + 4 / INT4_BLOCKS[-1]))
        return total

    def graph_bytes(self, recipe: Recipe) -> dict[str, int]:
        """How many bytes each graph's weights will take: what the disk must have room for."""
        sizes = weight_bytes(self.checkpoint.shape, self.graph_inputs, recipe)
        return {graph: sum(weights.values()) for graph, weights in sizes.items()}


def subgoal_tokens(path: Path, tokenizer: PromptTokenizer) -> Ids:
    """Ids of the tokens that the subgoals in a text file (one a line) need, in rising order."""
    try:
        text = read_text(path, ConfigError)
    except ConfigError as error:
        raise ConfigError(
            str(error).partition(";")[0], expected="a text file with one subgoal a line"
        ) from None
    lines = [line.strip() for line in text.splitlines()]
    sentences = [line for line in lines if line]
    if longest := max((len(line) for line in sentences if len(line) > _LINE), default=0):
        raise ConfigError(f"{path}: a line of {longest} characters", expected=f"subgoals of at most {_LINE}")
    if not sentences:
        raise ConfigError(f"{path}: no subgoals", expected="a text file with one subgoal a line")
    for number, line in enumerate(lines, 1):
        if line:
            require_words(line, f"{shown(path)}: line {number}")
    return np.unique(np.concatenate([tokenizer.encode(f"{line}{TURN_END}") for line in sentences]))


def _check_tokenizer(checkpoint: Checkpoint, tokenizer: PromptTokenizer) -> None:
    rows = checkpoint.shape.vocab_size
    if tokenizer.largest_id >= rows:
        raise CheckpointError(
            f"{checkpoint.tokenizer}: token id {tokenizer.largest_id}",
            expected=f"ids below vocab_size {rows}",
            fix="use the tokenizer that was saved with these weights",
        )
    config_id = checkpoint.config.get("image_token_id", tokenizer.ids.image)
    if config_id != tokenizer.ids.image:
        raise CheckpointError(
            f"{checkpoint.folder}: image_token_id {config_id!r} in config.json",
            expected=f"the tokenizer's {tokenizer.ids.image}",
            fix="use the tokenizer that was saved with these weights",
        )
