"""What a workspace's finished steps are good for: a change of any of it begins afresh."""

from __future__ import annotations

import hashlib
import json
from importlib import metadata
from pathlib import Path

import wall_edge_engines

import wall_edge
import wall_edge_export
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
    """SHA-256 over the sources of all that an export runs: newer code never continues what older code began.

    Goldens are recorded by wall_edge's stages, and ``auto`` tries its recipes on an engine.
    """
    folders = (
        Path(str(package.__file__)).parent for package in (wall_edge, wall_edge_engines, wall_edge_export)
    )
    return file_digest(*(path for folder in folders for path in sorted(folder.rglob("*.py"))))
