"""A WALL-OSS checkpoint folder, read lazily: names and shapes first, each tensor only when asked for.

Three kinds of folder are known: upstream's and its fine-tunes, a policy that LeRobot saved (its
architecture and tokenizer come from a base folder), and either of them with a LoRA adapter of PEFT on top.
Only safetensors, JSON and YAML are read; nothing in a checkpoint is ever executed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wall_edge.bundle.tokenizer import load_tokenizer
from wall_edge.checks import MAX_SLOTS
from wall_edge.errors import CheckpointError
from wall_edge.files import require_folder, shown
from wall_edge_export.checkpoint.completeness import require_layers, require_tensors
from wall_edge_export.checkpoint.forms import as_adapted
from wall_edge_export.checkpoint.hub import resolve_checkpoint
from wall_edge_export.checkpoint.lerobot.folders import config_folder, model_config, policy_of, read_settings
from wall_edge_export.checkpoint.lora.adapter import LoraAdapter, adapted_shapes, stored_adapter
from wall_edge_export.checkpoint.names import (
    ACTION_OUTPUT,
    EMBEDDINGS,
    HEAD,
    HEAD_WIDTHS,
    NORMALIZER,
    STATE_PROJECTION,
)
from wall_edge_export.checkpoint.normalizers.places import normalizer_files
from wall_edge_export.checkpoint.normalizers.tables import KINDS
from wall_edge_export.checkpoint.settings.config_keys import refuse_unsupported, unknown_switches
from wall_edge_export.checkpoint.settings.dof import Layout, trained
from wall_edge_export.checkpoint.settings.merged import merged_settings
from wall_edge_export.checkpoint.settings.training_file import TrainingFile, training_file
from wall_edge_export.checkpoint.tensor_types import refuse_quantised_config
from wall_edge_export.checkpoint.views import Readable, TensorView, is_fused, views
from wall_edge_export.checkpoint.weights import StoredTensor, has_weights, stored_weights
from wall_edge_export.model.config import READ_KEYS, flattened, model_shape
from wall_edge_export.model.family import FAMILIES, LATER
from wall_edge_export.model.inventory import Inventory, inventory
from wall_edge_export.model.shapes import ModelShape
from wall_edge_export.model.wall import WallModel

_FOLDER = "a checkpoint folder with config.json and safetensors"


def open_checkpoint(location: str, base: str | None = None, adapter: str | None = None) -> Checkpoint:
    """The checkpoint at ``location``; each of the three is a folder or a Hub id (``owner/name[@revision]``).

    Raises :class:`CheckpointError`, or :class:`ConfigError` where the Hub's package is needed and not there.
    """
    folders = [None if name is None else resolve_checkpoint(name) for name in (base, adapter)]
    return Checkpoint(resolve_checkpoint(location), *folders)


def open_outline(location: str, base: str | None = None) -> CheckpointOutline:
    """As :func:`open_checkpoint`, for what decides sizes: of a Hub id no weights are fetched."""
    folder = None if base is None else resolve_checkpoint(base, weights=False)
    return CheckpointOutline(resolve_checkpoint(location, weights=False), folder)


class Checkpoint:
    """``config.json`` and the tensors beside it. Raises :class:`CheckpointError` on anything missing.

    ``base``: the folder of the model that a LeRobot policy was trained from. ``adapter``: the folder of a
    PEFT LoRA adapter, which is merged into the tensors while they are read.
    """

    def __init__(self, folder: Path, base: Path | None = None, adapter: Path | None = None) -> None:
        for path in (folder, base, adapter):
            if path is not None:
                require_folder(path, CheckpointError, _FOLDER, "check the path")
        self.folder = folder
        self.policy = policy_of(folder, adapter)
        self.config_folder = config_folder(folder, base)
        self.config = model_config(self.config_folder)
        self.training = training_file(self.config_folder)
        self._refuse_other_arithmetic()
        self.config = self._with_widths(flattened(self.config))
        self.config = merged_settings(self.config, self.training, self.config_folder)
        if self.policy is not None:
            # The base was trained for other robots: what its block says does not hold for this policy.
            path = self.policy.folder / "config.json"
            settings = read_settings(self.policy.folder)
            self.config = merged_settings(self.config, TrainingFile(path, settings), self.config_folder)
            self.config["wall_edge"] = settings.get("wall_edge", {})
        robot = trained(self.config, self.config_folder, self.training, self._slots)
        self.action_layout: Layout = robot.action
        self.state_layout: Layout = robot.state
        self.trained_robot: str | None = robot.robot
        self.shape: ModelShape = self._resized(self._of_generation(model_shape(self.config)))
        require_layers(self.folder, self.shape, self._tensors)
        self._adapter_folder = adapter
        self._adapter = self._open_adapter(adapter)

    @property
    def notes(self) -> list[str]:
        """What a user should know of this checkpoint, a line each."""
        switches = unknown_switches(self.config, READ_KEYS)
        where = self.config_folder / "config.json"
        return [
            f"{shown(where)}: {shown(name)} is true, and nothing here knows that key" for name in switches
        ]

    def _refuse_other_arithmetic(self) -> None:
        """Before anything else is read: quantised weights and settings that nothing here computes."""
        settings = [(self.config_folder, self.config)]
        if self.policy is not None:
            settings.append((self.policy.folder, read_settings(self.policy.folder)))
        for folder, config in settings:
            path = folder / "config.json"
            refuse_quantised_config(path, config)
            refuse_unsupported(config, str(path))
        refuse_unsupported(self.training.raw, self.training.where)

    @cached_property
    def _tensors(self) -> dict[str, StoredTensor]:
        return stored_weights(self.folder)

    @cached_property
    def _inventory(self) -> Inventory:
        with torch.device("meta"):
            return inventory(WallModel(self.shape))

    @cached_property
    def _held(self) -> Mapping[str, Readable]:
        """The stored tensors, in the form that the adapter was trained on."""
        if self._adapter_folder is None:
            return self._tensors
        shapes = adapted_shapes(self._adapter_tensors)
        return as_adapted(self.folder, self._inventory, self._tensors, shapes)

    @cached_property
    def _adapter_tensors(self) -> dict[str, StoredTensor]:
        return {} if self._adapter_folder is None else stored_adapter(self._adapter_folder)

    @cached_property
    def _views(self) -> dict[str, TensorView]:
        """The model's tensors by name, and what else is stored under a name of its own."""
        return views(self.folder, self._inventory, self._held)

    def _slots(self, key: str) -> int | None:
        """The model's action or state slots as its tensors have them; None when they are not there."""
        name, axis = {
            "dof_config": (ACTION_OUTPUT, 0),
            "agent_pos_config": (STATE_PROJECTION, 1),
        }[key]
        tensor = self._tensors.get(name)
        if tensor is None or len(tensor.shape) != 2:
            return None
        masked = axis == 1 and self.config.get("proj_with_mask") is not False
        return tensor.shape[axis] // (2 if masked else 1)

    def _with_widths(self, config: dict[str, Any]) -> dict[str, Any]:
        """The action head's widths are believed to its tensors: ``config.json`` may be the base's."""
        stored = {}
        for key, name in HEAD_WIDTHS.items():
            first = self._tensors.get(name)
            width = config.get(key) or config.get("hidden_size")
            if first is not None and len(first.shape) == 2 and first.shape[0] != width:
                stored[key] = first.shape[0]
        return {**config, **stored}

    def _of_generation(self, shape: ModelShape) -> ModelShape:
        """Only Wall-X 1.1 writes fused layers; of shared ones no setting need tell that it did."""
        return replace(shape, family=LATER.name) if any(map(is_fused, self._tensors)) else shape

    def _resized(self, shape: ModelShape) -> ModelShape:
        """Both references resize the vocabulary to the tokenizer whatever ``config.json`` says.

        wall-oss-0.5's ``config.json`` is known to be wrong there: its tensor is trusted.
        """
        stored = self._tensors.get(EMBEDDINGS)
        if stored is None or not stored.shape or stored.shape[0] == shape.vocab_size:
            return shape
        path, believed = self.tokenizer, FAMILIES[shape.family].vocabulary_in_config
        if believed and self.policy is None and not (path.is_file() and _tokens(path) == stored.shape[0]):
            return shape
        return replace(shape, vocab_size=stored.shape[0])

    def _open_adapter(self, folder: Path | None) -> LoraAdapter | None:
        if folder is None:
            return None
        shapes = {name: tensor.shape for name, tensor in self._held.items()}
        adapter = LoraAdapter(folder, self._adapter_tensors, shapes)
        embeddings = {EMBEDDINGS, HEAD}
        tied = self._tensors.get(HEAD, self._tensors.get(EMBEDDINGS)) == self._tensors.get(EMBEDDINGS)
        if tied and embeddings & adapter.touched():
            raise CheckpointError(
                f"{folder}: changes the vocabulary's embeddings, which are tied to its head",
                expected="an adapter of other layers",
                fix="merge the adapter with PEFT's merge_and_unload and export the result",
            )
        return adapter

    @property
    def tokenizer(self) -> Path:
        """The ``tokenizer.json`` that goes with the weights."""
        return self.config_folder / "tokenizer.json"

    def weight_files(self) -> list[Path]:
        """Every file that decides a number, beside ``config.json`` in :attr:`folder`.

        The safetensors in order, the base's configuration, the policy's processors and the adapter.
        """
        paths = sorted({tensor.path for tensor in self._tensors.values()})
        paths += [path for path in (self.config_folder / "config.json",) if self.config_folder != self.folder]
        paths += [self.training.path] if self.training.path is not None else []
        paths += self.policy.files() if self.policy is not None else normalizer_files(self.folder)
        return paths + (self._adapter.files() if self._adapter is not None else [])

    def has(self, name: str) -> bool:
        """Whether the model's tensor of this name is there."""
        return name in self._views

    def tensor(self, name: str) -> Tensor:
        """One of the model's tensors, as stored; in float32 where an adapter is merged into it."""
        view = self._views[name]
        return view.read(self._merged(view))

    def _merged(self, view: TensorView) -> Callable[[], Tensor] | None:
        """Reads the whole stored tensor with the adapter in it; None where the adapter does not change it."""
        adapter = self._adapter
        if adapter is None or view.name not in adapter.touched():
            return None
        return lambda: adapter.merged(view.name, view.stored.read)

    def check(self) -> None:
        """Compare every tensor's name and shape with what ``config.json`` calls for."""
        require_tensors(self.folder, self.shape, self._held, self._views)
        for view in self._views.values():
            if view.padding and (merged := self._merged(view)) is not None:
                view.require_zero_padding(merged)

    def load(self) -> WallModel:
        """The model with float32 weights, in evaluation mode."""
        self.check()
        with torch.device("meta"):
            model = WallModel(self.shape)
        state = {name: self.tensor(name).float() for name in model.state_dict() if self.has(name)}
        if HEAD not in state:
            state[HEAD] = state[EMBEDDINGS]
        model.load_state_dict(state, assign=True)
        return model.eval()

    def normalizers(self) -> Iterator[tuple[str, str, str, Tensor]]:
        """Upstream's normaliser tensors: (``action`` or ``propri``, ``min`` or ``delta``, robot, values).

        wall-oss-0.5 holds one more kind, of its discrete actions, which nothing asks for.
        """
        for name in sorted(self._tensors):
            if name.startswith(NORMALIZER):
                parts = name.removeprefix(NORMALIZER).split(".", 2)
                if len(parts) != 3:
                    raise CheckpointError(f"tensor {name}", expected=f"{NORMALIZER}KIND.STATISTIC.ROBOT")
                if parts[0] in KINDS:
                    yield parts[0], parts[1], parts[2], self._tensors[name].read_few(MAX_SLOTS).float()


class CheckpointOutline(Checkpoint):
    """A checkpoint whose weights need not be there; where they are, their names and shapes are read."""

    @cached_property
    def _tensors(self) -> dict[str, StoredTensor]:
        return stored_weights(self.folder) if has_weights(self.folder) else {}


def _tokens(path: Path) -> int:
    """Size of a tokenizer's vocabulary, added tokens included; 0 when it cannot be read."""
    try:
        return int(load_tokenizer(path, CheckpointError).get_vocab_size(with_added_tokens=True))
    except CheckpointError:  # the export names a broken file itself
        return 0
