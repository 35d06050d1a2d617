"""Whether a checkpoint's tensors are those that its ``config.json`` calls for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch

from wall_edge.errors import CheckpointError
from wall_edge.files import shown
from wall_edge_export.checkpoint.names import EMBEDDINGS, HEAD, NORMALIZER, STATE_PROJECTION
from wall_edge_export.checkpoint.views import Readable, TensorView
from wall_edge_export.checkpoint.weights import REDO
from wall_edge_export.model.shapes import ModelShape
from wall_edge_export.model.wall import WallModel

_OTHER_CONFIG = "use the config.json that was saved with these weights"
_ROWS = 4096
"""Of an embedding at a time."""
_NOT_CALLED_FOR = {
    HEAD: "tie_word_embeddings",
    STATE_PROJECTION: "use_state_string_representation",
}
"""Switches that do without a tensor; where a file leaves one out, it is false."""


def require_layers(folder: Path, shape: ModelShape, tensors: Mapping[str, Readable]) -> None:
    """Compare the counts of layers with the tensors that are there, before a model of them is made.

    Raises :class:`CheckpointError`.
    """
    counts = (
        ("num_hidden_layers", shape.num_layers, "model.layers."),
        ("vision_config.depth", shape.vision.depth, "visual.blocks."),
    )
    for key, count, prefix in counts:
        names = (name.removeprefix(prefix) for name in tensors if name.startswith(prefix))
        layers = len({name.partition(".")[0] for name in names})
        if layers != count and layers:
            raise CheckpointError(
                f"{folder}: {key} is {count}, and the weights have {layers} layers {prefix}N",
                expected="as many layers as config.json says",
                fix=_OTHER_CONFIG,
            )


def require_tensors(
    folder: Path,
    shape: ModelShape,
    tensors: Mapping[str, Readable],
    model_views: Mapping[str, TensorView],
) -> None:
    """Compare every tensor's name and shape with the model's; raises :class:`CheckpointError`.

    ``model_views``: the model's tensors in the stored ones.
    """
    with torch.device("meta"):
        shapes = {name: tuple(t.shape) for name, t in WallModel(shape).state_dict().items()}
    if shape.tied_embeddings and HEAD not in tensors:
        del shapes[HEAD]
    others = list(_others(tensors, {view.name for view in model_views.values()}))
    for name, expected in shapes.items():
        if name not in model_views:
            raise _missing(folder, name, expected, others)
        if model_views[name].shape != expected:
            raise CheckpointError(
                f"{folder}: tensor {model_views[name].name} has shape {list(model_views[name].shape)}",
                expected=f"{list(expected)} by config.json",
                fix=_OTHER_CONFIG,
            )
    for name in others:
        raise CheckpointError(
            f"{folder}: tensor {shown(name)} is not part of the model that config.json describes",
            expected="the tensors of a wall-oss-flow, wall-oss-fast or wall-oss-0.5 model alone",
            fix=_OTHER_CONFIG,
        )
    if shape.tied_embeddings:
        _refuse_two_heads(folder, tensors)


def _others(tensors: Mapping[str, Readable], names: set[str]) -> Iterator[str]:
    """What is stored and of no use; ``names``: what the model reads."""
    for name in tensors:
        if not (name in names or name.startswith(NORMALIZER) or name.endswith("inv_freq") or name == HEAD):
            yield name


def _missing(folder: Path, name: str, shape: tuple[int, ...], others: Sequence[str]) -> CheckpointError:
    """``others``: tensors that the model does not know; where there are some, the settings are another's."""
    what, fix = f"tensor {name} is missing", REDO
    if others:
        what, fix = f"{what}, and {shown(others[0])} is none of the model's", _OTHER_CONFIG
    elif switch := _NOT_CALLED_FOR.get(name):
        fix = f"say {switch}: true in config.json, if the policy was trained so; else {REDO}"
    return CheckpointError(f"{folder}: {what}", expected=f"shape {list(shape)} by config.json", fix=fix)


def _refuse_two_heads(folder: Path, tensors: Mapping[str, Readable]) -> None:
    """Tied and stored apart: which of the two a model ends up with depends on who loads it."""
    head, embeddings = tensors.get(HEAD), tensors[EMBEDDINGS]
    if head is None or head == embeddings:
        return
    parts = (slice(start, start + _ROWS) for start in range(0, head.shape[0], _ROWS))
    if not all(torch.equal(head.rows(part).float(), embeddings.rows(part).float()) for part in parts):
        raise CheckpointError(
            f"{folder}: {HEAD} differs from {EMBEDDINGS}, and tie_word_embeddings is true",
            expected="one of them, or equal ones",
            fix="set tie_word_embeddings to what the policy was trained with",
        )
