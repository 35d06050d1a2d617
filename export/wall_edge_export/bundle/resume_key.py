"""What a workspace's finished steps are good for: a change of any of it begins afresh."""

from __future__ import annotations

import hashlib
import json
from importlib import metadata
from pathlib import Path

from wall_edge.bundle import file_digest
from wall_edge_export.bundle.options import ExportOptions
from wall_edge_export.data.samples import SampleSet
from wall_edge_export.inputs.export_inputs import ExportInputs
from wall_edge_export.quantize.precision import Recipe

_TOOLS = ("torch", "onnx", "onnx-ir", "onnxscript", "numpy")


def resume_key(
    inputs: ExportInputs, recipe: Recipe, options: ExportOptions, data: SampleSet | None, instruction: str
) -> str:
    """SHA-256 over checkpoint, settings, recipe, data, instruction, code and tools."""
    parts = {
        "source": inputs.fingerprint(),
        "recipe": recipe.as_dict(),
        "auto": (options.auto, options.max_action_error),
        "samples": None if data is None else (data.sha256, len(data.samples), options.sample_count),
        "instruction": instruction,
        "code": _code_digest(),
        "tools": {name: metadata.version(name) for name in _TOOLS},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _code_digest() -> str:
    """SHA-256 over the exporter's own sources: newer code never continues what older code began."""
    return file_digest(*sorted(Path(__file__).parents[1].rglob("*.py")))
