"""Which types weights may be stored in: floats of 16 bits or more, so that no scale beside them is needed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from wall_edge.errors import CheckpointError
from wall_edge.files import shown

FLOATS = ("F64", "F32", "F16", "BF16")
_UNUSED = ("inv_freq",)
"""Ends of names that a module computes again by itself."""
_QUANTISED = (
    "weight_scale", "weight_scale_inv", "input_scale", "output_scale", "scale_inv", "weight_packed",
    "weight_zero_point", "weight_g_idx", "weight_shape", "qweight", "qzeros", "g_idx", "scales", "SCB",
    "weight_format", "absmax", "nested_absmax", "quant_map", "nested_quant_map", "quant_state",
    "weight_scales", "weight_qdata", "_weight_qdata", "_weight_scale", "_weight_zero_point",
    "_data", "_scale", "W_q",
)  # fmt: skip
"""Ends of names that bitsandbytes, GPTQ, AWQ, compressed-tensors, torchao, quanto, HQQ and fp8 store."""
_QUANTISED_TYPES = ("F8_", "F4", "F6_", "I4", "U4", "I8", "U8")


class _Typed(Protocol):
    @property
    def dtype(self) -> str:
        """The safetensors name of the type."""


def refuse_quantised(folder: Path, stored: Mapping[str, _Typed]) -> None:
    """Raise :class:`CheckpointError` for weights that are anything but floats of 16 bits or more."""
    for name, tensor in stored.items():
        marked = name.rpartition(".")[2] in _QUANTISED or "quant_state" in name
        marked = marked or name.endswith(("_proj_blocks", "_proj_scales"))
        if marked or tensor.dtype.startswith(_QUANTISED_TYPES):
            raise quantised(f"{folder}: tensor {name} of type {tensor.dtype}")
        if tensor.dtype not in FLOATS and not name.endswith(_UNUSED):
            raise CheckpointError(
                f"{folder}: tensor {name} is of type {tensor.dtype}",
                expected=f"weights of type {', '.join(FLOATS)}",
                fix="save the model in one of them",
            )


def quantised(evidence: str) -> CheckpointError:
    """The refusal of a quantised checkpoint; ``evidence`` is what it was known by."""
    return CheckpointError(
        f"{evidence}: a quantised checkpoint",
        expected=f"weights of type {', '.join(FLOATS)}",
        fix="export the checkpoint that it was made from; --precision quantises it",
    )


def refuse_quantised_types(path: Path, header: Mapping[str, Any]) -> None:
    """The same of a file's header alone: some of these types torch cannot even read."""
    for name, entry in header.items():
        kind = entry.get("dtype") if isinstance(entry, dict) else None
        if isinstance(kind, str) and kind.startswith(_QUANTISED_TYPES):
            raise quantised(f"{path}: tensor {shown(name)} of type {shown(kind)}")


def refuse_quantised_config(path: Path, config: Mapping[str, Any]) -> None:
    """Raise :class:`CheckpointError` where ``config.json`` says how its weights are quantised."""
    parts = {"": config} | {k: v for k, v in config.items() if k.endswith("_config") and isinstance(v, dict)}
    for part, settings in parts.items():
        for key in ("quantization_config", "compression_config", "quantization"):
            if settings.get(key):
                raise quantised(f"{path}: {f'{part}.{key}' if part else key}")
