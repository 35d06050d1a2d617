"""Checkpoint → bundle."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from wall_edge.bundle import (
    FORMAT_VERSION,
    GOLDENS,
    TOKENIZER,
    Bundle,
    Manifest,
    Source,
    file_digest,
    new_bundle,
    require_replaceable,
    write_manifest,
)
from wall_edge.config import RobotConfig
from wall_edge.errors import CheckpointError
from wall_edge.policy import Prompts
from wall_edge.prompt import PromptTokenizer, observation_text
from wall_edge.verify import FP32_TOLERANCES, golden_inputs, replay

from .checkpoint import Checkpoint
from .graphs import GraphInputs, export_graphs
from .intake import Settings, settings
from .model import WallModel
from .reference import ReferenceEngine

INSTRUCTION_TOKENS = 256
"""Room for what a user may ask, beside the images."""

Progress = Callable[[str], None]
STAGES = ("checkpoint", "vision", "prefix", "text", "expert", "goldens", "digests")


def export_bundle(
    folder: Path, out: Path, robot: RobotConfig | None = None, progress: Progress = lambda _: None
) -> Manifest:
    """Write the bundle of the checkpoint in ``folder`` to ``out``, whole or not at all.

    ``progress`` is told the name of every stage (:data:`STAGES`) before it starts. Raises
    :class:`CheckpointError`, :class:`ConfigError` or :class:`BundleError`.
    """
    progress("checkpoint")
    checkpoint = Checkpoint(folder)
    chosen = settings(checkpoint, robot)
    tokenizer = PromptTokenizer(folder / TOKENIZER)
    _check_tokenizer(checkpoint, tokenizer)
    require_replaceable(out)
    model = checkpoint.load()
    with new_bundle(out) as work:
        shutil.copyfile(folder / TOKENIZER, work / TOKENIZER)
        given = GraphInputs(
            grids=tuple(camera.grid for camera in chosen.cameras.values()),
            image_token_id=tokenizer.ids.image,
            state_token_id=tokenizer.ids.state,
            horizon=chosen.horizon,
        )
        graphs = export_graphs(model, given, work, progress)
        manifest = Manifest(
            format_version=FORMAT_VERSION,
            source=Source(folder.resolve().name, _source_digest(checkpoint)),
            embodiment=chosen.embodiment,
            cameras=chosen.cameras,
            prompt_flavour="wall-oss-flow",
            horizon=chosen.horizon,
            action_rate_hz=chosen.action_rate_hz,
            integration_steps=chosen.integration_steps,
            max_prompt_tokens=_observation_tokens(tokenizer, chosen) + INSTRUCTION_TOKENS,
            graphs=graphs,
            tolerances=FP32_TOLERANCES,
            files=_digests(work),
        )
        write_manifest(work, manifest)
        progress("goldens")
        instruction = robot.instruction if robot is not None and robot.instruction else "do the task."
        _write_goldens(work, model, given, instruction)
        progress("digests")
        manifest = replace(manifest, files=_digests(work))
        write_manifest(work, manifest)
    return manifest


def _write_goldens(work: Path, model: WallModel, given: GraphInputs, instruction: str) -> None:
    bundle = Bundle(work)
    inputs = golden_inputs(bundle.manifest, instruction)
    outputs = replay(bundle.manifest, Prompts(bundle), ReferenceEngine(model, given), inputs)
    for name, values in outputs.items():
        if not np.all(np.isfinite(values)):
            raise CheckpointError(
                f"{bundle.manifest.source.checkpoint}: its weights give a {name} that is not finite",
                expected="finite values",
                fix="copy or download the checkpoint again",
            )
    np.savez(work / GOLDENS, **inputs, **outputs)  # type: ignore[arg-type]


def _check_tokenizer(checkpoint: Checkpoint, tokenizer: PromptTokenizer) -> None:
    rows = checkpoint.shape.vocab_size
    if tokenizer.largest_id >= rows:
        raise CheckpointError(
            f"{checkpoint.folder / TOKENIZER}: token id {tokenizer.largest_id}",
            expected=f"ids below vocab_size {rows}",
            fix="use the tokenizer that was saved with these weights",
        )
    named = checkpoint.config.get("image_token_id", tokenizer.ids.image)
    if named != tokenizer.ids.image:
        raise CheckpointError(
            f"{checkpoint.folder}: image_token_id {named!r} in config.json",
            expected=f"the tokenizer's {tokenizer.ids.image}",
            fix="use the tokenizer that was saved with these weights",
        )


def _digests(folder: Path) -> dict[str, str]:
    payload = [path for path in sorted(folder.iterdir()) if not path.name.startswith("manifest.")]
    return {path.name: file_digest(path) for path in payload}


def _source_digest(checkpoint: Checkpoint) -> str:
    return file_digest(checkpoint.folder / "config.json", *checkpoint.weight_files())


def _observation_tokens(tokenizer: PromptTokenizer, chosen: Settings) -> int:
    return len(tokenizer.encode(observation_text({n: g.tokens for n, g in chosen.cameras.items()})))
