"""One dictionary of a model's settings from ``config.json`` and ``config.yml``, in a documented order.

Facts (github.com/X-Square-Robot/wall-x 1.1): ``config.json`` is the file that training began with, copied
(``fsdp_trainer/checkpoint_io.py``), so it is the base's. Of five settings ``config.yml`` is the fine-tune's
own word (``Qwen2_5_VLConfig.update_model_config``): the two layouts, the horizon, the state's form and the
scheduler. These replace those of ``config.json``. Everything else upstream reads from ``config.json``
alone: what ``config.yml`` says otherwise is refused. Of what tensors say (rows of the embeddings, the
head's slots), the tensors are believed (:mod:`wall_edge_export.checkpoint.settings.dof`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wall_edge.errors import CheckpointError
from wall_edge.files import shown
from wall_edge_export.checkpoint.names import HEAD_WIDTHS
from wall_edge_export.checkpoint.settings.training_file import TrainingFile
from wall_edge_export.model.config import flattened

_OF_TRAINING = ("noise_scheduler", "action_horizon_flow", "use_state_string_representation")
"""Beside the layouts, which :func:`dof.trained` puts in."""
_OF_MODEL = {
    "num_hidden_layers": None,
    "num_attention_heads": None,
    "num_key_value_heads": None,
    "rms_norm_eps": None,
    "hidden_size": None,
    **dict.fromkeys(HEAD_WIDTHS),
    "experts": None,
    "num_experts": None,
    "dim_inputs": None,
    "attention_moe": False,
    "mlp_moe": None,
    "norm_moe": False,
    "use_adarms": False,
    "adarms_cond_dim": None,
    "proj_with_mask": True,
    "causal_action_attention_mask": False,
    "use_x_pred": False,
    "use_flow_action_expert": True,
    "tie_word_embeddings": None,
}
"""Settings of ``config.json`` alone, and what upstream takes where it has none; None: no such default."""


def merged_settings(config: Mapping[str, Any], training: TrainingFile, folder: Path) -> dict[str, Any]:
    """``config.json`` with what ``config.yml`` has the last word of; the layouts stay as they are.

    Raises :class:`CheckpointError` naming a setting of the model that both files say differently.
    """
    flat = flattened(config)
    for key in HEAD_WIDTHS:
        width = training.said(key)
        if width is not None and flat.get(key) is None:
            config = flat = {**flat, key: width}  # the tensors' are compared with it
    for key, default in _OF_MODEL.items():
        value, here = training.said(key), flat.get(key, default)
        if value is not None and not _same(value, here):
            raise CheckpointError(
                f"{training.where}: {key} is {shown(value, 60)}, and {shown(here, 60)} "
                f"by {shown(folder / 'config.json')}",
                expected="one value, of which only that of the model's config.json would count",
                fix="set both to what the policy was trained with",
            )
    own = {key: value for key in _OF_TRAINING if (value := training.said(key)) is not None}
    return {**config, **own}


def _same(one: object, other: object) -> bool:
    """Whether both mean one value: null means false, and a list what a tuple does."""
    if isinstance(one, bool) or isinstance(other, bool):
        return bool(one) == bool(other) and {type(one), type(other)} <= {bool, type(None)}
    return one == other
