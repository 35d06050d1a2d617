"""A WALL-OSS checkpoint folder, read lazily: names and shapes first, each tensor only when asked for.

Three kinds of folder are known: upstream's and its fine-tunes, a policy that LeRobot saved (its
architecture and tokenizer come from a base folder), and either of them with a LoRA adapter of PEFT on top.
Only safetensors, JSON and YAML are read; nothing in a checkpoint is ever executed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wall_edge.bundle.tokenizer import load_tokenizer
from wall_edge.errors import CheckpointError
from wall_edge.files import shown
from wall_edge_export.checkpoint.config_keys import refuse_later_family, unknown_switches
from wall_edge_export.checkpoint.dof import Layout, layouts
from wall_edge_export.checkpoint.hub import resolve_checkpoint
from wall_edge_export.checkpoint.lerobot_policy import TYPE, LeRobotPolicy
from wall_edge_export.checkpoint.lora import LoraAdapter
from wall_edge_export.checkpoint.tensor_types import refuse_quantised_config
from wall_edge_export.checkpoint.weights import REDO, StoredTensor, read_json, stored_weights
from wall_edge_export.model import ModelShape, WallModel, model_shape
from wall_edge_export.model.config import READ_KEYS

_NORMALIZER = "action_preprocessor.normalizer_"
_EMBEDDINGS, _HEAD = "model.embed_tokens.weight", "lm_head.weight"


def open_checkpoint(source: str, base: str | None = None, adapter: str | None = None) -> Checkpoint:
    """The checkpoint at ``source``; each of the three is a folder or a Hub id (``owner/name[@revision]``).

    Raises :class:`CheckpointError`, or :class:`ConfigError` where the Hub's package is needed and not there.
    """
    folders = [None if given is None else resolve_checkpoint(given) for given in (base, adapter)]
    return Checkpoint(resolve_checkpoint(source), *folders)


class Checkpoint:
    """``config.json`` and the tensors beside it. Raises :class:`CheckpointError` on anything missing.

    ``base``: the folder of the model that a LeRobot policy was trained from. ``adapter``: the folder of a
    PEFT LoRA adapter, which is merged into the tensors while they are read.
    """

    def __init__(self, folder: Path, base: Path | None = None, adapter: Path | None = None) -> None:
        for given in (folder, base, adapter):
            if given is not None and not given.is_dir():
                raise CheckpointError(
                    f"{given}: no such folder",
                    expected="a checkpoint folder with config.json and safetensors",
                )
        self.folder = folder
        self.policy = _policy(folder, adapter)
        self.config_folder = _config_folder(folder, base)
        self.config = _read_config(self.config_folder)
        self._refuse_other_arithmetic()
        if self.policy is not None:
            # The base was trained for other robots: what its block says does not hold for this policy.
            own = read_json(self.policy.folder / "config.json", "the policy's settings")
            self.config["wall_edge"] = own.get("wall_edge", {})
        layout = layouts(self.config, self.config_folder, self._slots)
        self.action_layout: Layout = layout["dof_config"]
        self.state_layout: Layout = layout["agent_pos_config"]
        self.shape: ModelShape = self._resized(model_shape(self.config))
        self._check_layers()
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
        """Before anything else is read: quantised weights and the later family's settings."""
        folders = {self.config_folder: self.config}
        if self.policy is not None:
            folders[self.policy.folder] = _read_config(self.policy.folder)
        for folder, config in folders.items():
            path = folder / "config.json"
            refuse_quantised_config(path, config)
            refuse_later_family(config, str(path), _hidden_size(config))

    def _check_layers(self) -> None:
        """Compare the counts of layers with the tensors that are there, before a model of them is made."""
        counts = (
            ("num_hidden_layers", self.shape.num_layers, "model.layers."),
            ("vision_config.depth", self.shape.vision.depth, "visual.blocks."),
        )
        for key, count, prefix in counts:
            named = (name.removeprefix(prefix) for name in self._stored if name.startswith(prefix))
            found = len({name.partition(".")[0] for name in named})
            if found != count and found:
                raise CheckpointError(
                    f"{self.folder}: {key} is {count}, and the weights have {found} layers {prefix}N",
                    expected="as many layers as config.json says",
                    fix="use the config.json that was saved with these weights",
                )

    @cached_property
    def _stored(self) -> dict[str, StoredTensor]:
        return stored_weights(self.folder)

    def _slots(self, key: str) -> int | None:
        """The model's action or state slots as its tensors have them; None when they are not there."""
        name, axis = {
            "dof_config": ("action_preprocessor.action_proj_back.weight", 0),
            "agent_pos_config": ("action_preprocessor.propri_proj.weight", 1),
        }[key]
        tensor = self._stored.get(name)
        if tensor is None or len(tensor.shape) != 2:
            return None
        return tensor.shape[axis] // (1 if axis == 0 else 2)

    def _resized(self, shape: ModelShape) -> ModelShape:
        """Both references resize the vocabulary to the tokenizer whatever ``config.json`` says."""
        stored = self._stored.get(_EMBEDDINGS)
        if stored is None or stored.shape[0] == shape.vocab_size:
            return shape
        path = self.tokenizer
        if self.policy is None and not (path.is_file() and _tokens(path) == stored.shape[0]):
            return shape
        return replace(shape, vocab_size=stored.shape[0])

    def _open_adapter(self, folder: Path | None) -> LoraAdapter | None:
        if folder is None:
            return None
        adapter = LoraAdapter(folder, {name: tensor.shape for name, tensor in self._stored.items()})
        embeddings = {_EMBEDDINGS, _HEAD}
        tied = self._stored.get(_HEAD, self._stored.get(_EMBEDDINGS)) == self._stored.get(_EMBEDDINGS)
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
        found = sorted({tensor.path for tensor in self._stored.values()})
        found += [path for path in (self.config_folder / "config.json",) if self.config_folder != self.folder]
        found += [path for path in (self.config_folder / "config.yml",) if path.is_file()]
        found += self.policy.files() if self.policy is not None else []
        return found + (self._adapter.files() if self._adapter is not None else [])

    def has(self, name: str) -> bool:
        """Whether a tensor of this name is there."""
        return name in self._stored

    def tensor(self, name: str) -> Tensor:
        """One tensor, as stored; in float32 where an adapter is merged into it."""
        stored = self._stored[name]
        return stored.read() if self._adapter is None else self._adapter.merged(name, stored.read)

    def tensor_shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape, from the header alone."""
        return self._stored[name].shape

    def check(self) -> None:
        """Compare every tensor's name and shape with what ``config.json`` calls for."""
        with torch.device("meta"):
            wanted = {name: tuple(t.shape) for name, t in WallModel(self.shape).state_dict().items()}
        if self.shape.tied_embeddings and not self.has(_HEAD):
            del wanted[_HEAD]
        for name, shape in wanted.items():
            if not self.has(name):
                raise CheckpointError(
                    f"{self.folder}: tensor {name} is missing",
                    expected=f"shape {list(shape)} by config.json",
                    fix=REDO,
                )
            found = self.tensor_shape(name)
            if found != shape:
                raise CheckpointError(
                    f"{self.folder}: tensor {name} has shape {list(found)}",
                    expected=f"{list(shape)} by config.json",
                    fix="use the config.json that was saved with these weights",
                )
        self._refuse_unknown(set(wanted))
        self._refuse_two_heads()

    def _refuse_unknown(self, wanted: set[str]) -> None:
        for name in self._stored:
            if name in wanted or name.startswith(_NORMALIZER) or name.endswith("inv_freq") or name == _HEAD:
                continue
            raise CheckpointError(
                f"{self.folder}: tensor {shown(name)} is not part of a wall-oss-flow model",
                expected="shared attention, shared norms and two expert MLPs per layer",
                fix="this checkpoint is of a family member that is not supported yet",
            )

    def _refuse_two_heads(self) -> None:
        """Tied and stored apart: which of the two a model ends up with depends on who loads it."""
        head, embeddings = self._stored.get(_HEAD), self._stored[_EMBEDDINGS]
        if not self.shape.tied_embeddings or head in (None, embeddings):
            return
        assert head is not None
        rows = zip(head.pieces(), embeddings.pieces(), strict=True)
        if not all(torch.equal(one.float(), other.float()) for one, other in rows):
            raise CheckpointError(
                f"{self.folder}: {_HEAD} differs from {_EMBEDDINGS}, and tie_word_embeddings is true",
                expected="one of them, or equal ones",
                fix="set tie_word_embeddings to what the policy was trained with",
            )

    def load(self) -> WallModel:
        """The model with float32 weights, in evaluation mode."""
        self.check()
        with torch.device("meta"):
            model = WallModel(self.shape)
        state = {name: self.tensor(name).float() for name in model.state_dict() if self.has(name)}
        if _HEAD not in state:
            state[_HEAD] = state[_EMBEDDINGS]
        model.load_state_dict(state, assign=True)
        return model.eval()

    def normalizers(self) -> Iterator[tuple[str, str, str, Tensor]]:
        """Upstream's normaliser tensors: (``action`` or ``propri``, ``min`` or ``delta``, robot, values)."""
        for name in sorted(self._stored):
            if name.startswith(_NORMALIZER):
                parts = name.removeprefix(_NORMALIZER).split(".", 2)
                if len(parts) != 3:
                    raise CheckpointError(f"tensor {name}", expected=f"{_NORMALIZER}KIND.STATISTIC.ROBOT")
                yield parts[0], parts[1], parts[2], self.tensor(name).float()


def _read_config(folder: Path) -> dict[str, Any]:
    return read_json(folder / "config.json", "the model's config.json")


def _hidden_size(config: dict[str, Any]) -> int | None:
    nested = config.get("text_config")
    size = (nested if isinstance(nested, dict) else {}).get("hidden_size", config.get("hidden_size"))
    return size if isinstance(size, int) else None


def _is_policy(folder: Path) -> bool:
    return (folder / "config.json").is_file() and _read_config(folder).get("type") == TYPE


def _policy(folder: Path, adapter: Path | None) -> LeRobotPolicy | None:
    """LeRobot's settings: the adapter's, which was trained last, before the checkpoint's own."""
    for holder in (adapter, folder):
        if holder is not None and _is_policy(holder):
            return LeRobotPolicy(holder, _read_config(holder))
    return None


def _config_folder(folder: Path, base: Path | None) -> Path:
    """Where the architecture and the tokenizer are."""
    if not _is_policy(folder):
        if base is not None:
            raise CheckpointError(
                f"{folder}: has a config.json of its own",
                expected="a policy that LeRobot saved, beside --base",
                fix="leave out --base",
            )
        return folder
    if base is None:
        named = shown(LeRobotPolicy(folder, _read_config(folder)).base)
        raise CheckpointError(
            f"{folder}: a policy that LeRobot saved, without the model's architecture and tokenizer",
            expected="the model that it was trained from",
            fix=f"pass --base {named} (a folder or a Hub id)",
        )
    if _is_policy(base):
        raise CheckpointError(
            f"{base}: a policy that LeRobot saved",
            expected="the WALL-OSS model with config.json and tokenizer.json as --base",
            fix=f"pass the base of this policy: {shown(LeRobotPolicy(base, _read_config(base)).base)}",
        )
    return base


def _tokens(path: Path) -> int:
    """Size of a tokenizer's vocabulary, added tokens included; 0 when it cannot be read."""
    try:
        return int(load_tokenizer(path, CheckpointError).get_vocab_size(with_added_tokens=True))
    except CheckpointError:  # the export names a broken file itself
        return 0
