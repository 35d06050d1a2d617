"""Upstream's names of tensors (``visual.…``, ``model.layers.…``, ``action_preprocessor.…``) for everybody's.

LeRobot puts ``model.`` in front; FSDP, torch.compile, DataParallel and PEFT wrap modules; transformers 4.52
and later nest the vision tower and the decoder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from wall_edge.errors import CheckpointError
from wall_edge_export.model.family import WIDTH_KEYS

NORMALIZER = "action_preprocessor.normalizer_"
"""What the names of upstream's normalisation statistics begin with."""
EMBEDDINGS, HEAD = "model.embed_tokens.weight", "lm_head.weight"
ACTION_INPUT, ACTION_OUTPUT = "action_preprocessor.w1.weight", "action_preprocessor.action_proj_back.weight"
STATE_PROJECTION = "action_preprocessor.propri_proj.weight"
HEAD_WIDTHS = dict(zip(WIDTH_KEYS, (ACTION_INPUT, STATE_PROJECTION), strict=True))
"""Settings of the action head, and the tensors that have as many rows."""
_LEROBOT_PREFIX, _LEROBOT_MARK = "model.", "model.action_preprocessor."
_WRAPPERS = ("_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_orig_mod.")
_OUTER = ("module.", "base_model.model.")
_NESTED = {"model.visual.": "visual.", "model.language_model.": "model."}


def upstream_names(folder: Path, stored: Iterable[str]) -> dict[str, str]:
    """Stored names by upstream's names; raises :class:`CheckpointError` when two become one."""
    named = _renamed(folder, {name: name for name in stored}, _unwrapped)
    if any(".lora_" in name for name in named):
        raise CheckpointError(
            f"{folder}: holds LoRA layers beside the weights",
            expected="merged weights, or a base with --adapter",
            fix="merge them with PEFT's merge_and_unload, or save the adapter with save_pretrained",
        )
    if any(name.startswith(_LEROBOT_MARK) for name in named):
        named = _renamed(folder, named, lambda name: name.removeprefix(_LEROBOT_PREFIX))
    return _renamed(folder, named, _flat)


def candidates(name: str) -> tuple[str, ...]:
    """Upstream's names that a module of an adapter may have.

    Adapters are trained on the whole model, on LeRobot's policy around it, or on the decoder alone.
    """
    bare = _unwrapped(name)
    names = (bare, bare.removeprefix(_LEROBOT_PREFIX), f"{_LEROBOT_PREFIX}{bare}")
    return (*names, *(_flat(one) for one in names))


def _unwrapped(name: str) -> str:
    for wrapper in _WRAPPERS:
        name = name.replace(wrapper, "")
    while prefix := next((outer for outer in _OUTER if name.startswith(outer)), None):
        name = name.removeprefix(prefix)
    return name.replace(".base_layer.", ".")


def _flat(name: str) -> str:
    """transformers 4.52 and later put the vision tower and the decoder side by side below ``model``."""
    for nested, flat in _NESTED.items():
        if name.startswith(nested):
            return flat + name.removeprefix(nested)
    return name


def _renamed(folder: Path, stored: Mapping[str, str], rule: Callable[[str], str]) -> dict[str, str]:
    named: dict[str, str] = {}
    for name, key in stored.items():
        new = rule(name)
        if new in named:
            raise CheckpointError(
                f"{folder}: tensors {named[new]} and {key} are both {new}",
                expected="one tensor of a name",
                fix="remove the one that was not trained",
            )
        named[new] = key
    return named
