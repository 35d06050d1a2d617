"""What an export reads of the actions, by kind: for the bundle, and what training puts behind a prompt."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wall_edge.array_types import Floats32
from wall_edge.bundle import FAST_TOKENIZER, ActionKind, FastActions, FastSettings, FlowActions, file_digest
from wall_edge.config import RobotConfig
from wall_edge.errors import CheckpointError, ConfigError
from wall_edge.files import shown
from wall_edge.policies.fast.codec import FastCodec
from wall_edge.policies.fast.policy import first_action_token
from wall_edge.policies.prompt_text import TURN_END, Ids, PromptTokenizer
from wall_edge_export.checkpoint.checkpoint import Checkpoint
from wall_edge_export.inputs.settings import ExportSettings
from wall_edge_export.model.family import FAMILIES


class ExportActions(ABC):
    """A kind of action, with all that its export needs beside the checkpoint."""

    @property
    @abstractmethod
    def stored(self) -> FlowActions | FastActions:
        """What the manifest says of them."""

    @property
    def files(self) -> dict[str, Path]:
        """What the bundle gets a copy of, by its name there."""
        return {}

    @property
    def head_tokens(self) -> Ids:
        """Rows that a trimmed vocabulary head must keep."""
        return np.zeros(0, dtype=np.int64)

    def spelled(self, actions: Floats32) -> Ids:  # noqa: ARG002
        """Tokens of normalised ``actions [horizon, degrees]``, in slot order, behind the action prompt."""
        return np.zeros(0, dtype=np.int64)

    def action_tokens(self, horizon: int) -> int:  # noqa: ARG002
        """How many ``<|action|>`` the references put behind the action prompt."""
        return 0

    def fingerprint(self) -> str:
        """Of all that decides the bundle."""
        return repr(self.stored) + "".join(map(file_digest, self.files.values()))


@dataclass(frozen=True)
class FlowExport(ExportActions):
    """Flow actions, which stand in the sequence one token a step."""

    settings: ExportSettings

    @property
    def stored(self) -> FlowActions:
        return FlowActions(self.settings.time_grid, self.settings.time_schedule)

    def action_tokens(self, horizon: int) -> int:
        return horizon


@dataclass(frozen=True)
class FastExport(ExportActions):
    """FAST actions, whose tokenizer is no part of the checkpoint."""

    codec: FastCodec
    tokenizer: PromptTokenizer
    first: int
    """Id of ``<|action_token_0|>``."""

    @property
    def stored(self) -> FastActions:
        return FastActions(self.codec.settings)

    @property
    def files(self) -> dict[str, Path]:
        return {FAST_TOKENIZER: self.codec.path}

    @property
    def head_tokens(self) -> Ids:
        return np.arange(self.first, self.first + self.codec.settings.vocab_size)

    def spelled(self, actions: Floats32) -> Ids:
        words = self.first + np.array(self.codec.encode(actions), dtype=np.int64)
        return np.concatenate([words, self.tokenizer.encode(TURN_END)])


def kind_asked(fast: Path | None) -> type[ActionKind]:
    """The kind that is exported: FAST where its tokenizer's folder is given."""
    return FlowActions if fast is None else FastActions


def export_actions(
    fast: Path | None,
    checkpoint: Checkpoint,
    settings: ExportSettings,
    robot: RobotConfig | None,
    tokenizer: PromptTokenizer,
) -> ExportActions:
    """Actions of the kind that is exported.

    Raises :class:`CheckpointError`, :class:`ConfigError` or :class:`BundleError`.
    """
    if fast is None:
        return FlowExport(settings)
    codec = _fast_codec(fast, checkpoint, settings, robot)
    return FastExport(codec, tokenizer, first_action_token(tokenizer, codec.settings.vocab_size))


def _fast_codec(
    folder: Path, checkpoint: Checkpoint, settings: ExportSettings, robot: RobotConfig | None
) -> FastCodec:
    """The FAST tokenizer in ``folder``, for this robot's chunks.

    A chunk spells all degrees of freedom that are not masked: what ROBOT.yaml does not describe as padding.
    """
    if not FAMILIES[checkpoint.shape.family].fast_tokens:
        raise CheckpointError(
            f"{shown(checkpoint.folder)}: --fast for a checkpoint of {checkpoint.shape.family}'s generation",
            expected="flow actions: what its tokens of actions mean, a tokenizer says that is not FAST's",
            fix="leave out --fast",
        )
    trained, driven = checkpoint.action_layout.names, settings.embodiment.action.names
    described = robot is not None and robot.embodiment is not None
    if trained and not described and set(trained) != set(driven):
        raise ConfigError(
            f"FAST actions for {', '.join(driven)}",
            expected=f"all degrees of freedom that the model was trained with: {', '.join(trained)}",
            fix="a FAST chunk spells them all: name them all in ROBOT.yaml",
        )
    fast = FastSettings.read(folder / "processor_config.json", CheckpointError)
    return FastCodec(folder / "tokenizer.json", fast, settings.horizon, len(driven), CheckpointError)
