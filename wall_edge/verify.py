"""Replay a bundle's goldens on an engine, stage by stage, so that a device can check itself.

The goldens are the torch modules' results for one synthetic observation; they are made by running this very
replay on the reference engine at export.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from wall_edge_engines.base import Engine
from wall_edge_engines.session import ModelSession

from .bundle import Bundle, Manifest
from .errors import BundleError
from .policy import FlowPolicy, Observation, Prompts, SubgoalPlanner, observed_patches, session_capacity

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]

FP32_TOLERANCES = {
    "patches": 1e-5,
    "action_prompt_ids": 0.0,
    "image_embeds": 1e-3,
    "prefix_kv": 1e-3,
    "velocity": 1e-3,
    "chunk": 1e-3,
    "joint_positions": 1e-3,
    "text_logits": 1e-3,
    "subgoal_ids": 0.0,
}
"""Largest absolute error a stage may show in float32; 0 is exact. ``joint_positions`` in rad."""


@dataclass(frozen=True)
class StageCheck:
    """One stage against its golden."""

    stage: str
    cosine: float
    relative_l2: float
    max_abs: float
    tolerance: float

    @property
    def ok(self) -> bool:
        return bool(self.max_abs <= self.tolerance)

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "ok": self.ok}


def golden_inputs(manifest: Manifest, instruction: str, seed: int = 0) -> dict[str, Array]:
    """A synthetic observation: noisy frames, joints inside the normalised range, fixed noise."""
    rng = np.random.default_rng(seed)
    shape = (manifest.horizon, manifest.dof)
    inputs: dict[str, Array] = {
        f"frames.{name}": rng.integers(0, 256, (camera.height, camera.width, 3), dtype=np.uint8)
        for name, camera in manifest.cameras.items()
    }
    inputs["state"] = manifest.embodiment.state.restore(rng.uniform(-0.9, 0.9, manifest.dof))
    inputs["noise"] = rng.standard_normal(shape, dtype=np.float32)
    inputs["instruction"] = np.array(instruction)
    return inputs


def replay(manifest: Manifest, prompts: Prompts, engine: Engine, inputs: Arrays) -> dict[str, Array]:
    """Every stage's output for the golden inputs."""
    frames = {name: inputs[f"frames.{name}"] for name in manifest.cameras}
    observation = Observation(0, frames, inputs["state"])
    words = str(inputs["instruction"])
    session = ModelSession(engine, capacity=session_capacity(manifest))
    policy = FlowPolicy(manifest, prompts, session)
    policy.prefill(observation, words)
    outputs: dict[str, Array] = {
        "patches": observed_patches(manifest, frames),
        "action_prompt_ids": prompts.action(words).ids,
        "image_embeds": session.image_embeds(),
        "prefix_kv": session.keys_values(),
        "velocity": policy.velocity(inputs["noise"], 0.0),
    }
    chunk = policy.normalised_chunk(observation, words, inputs["noise"])
    outputs["chunk"] = chunk
    outputs["joint_positions"] = policy.physical(chunk, observation.state)
    planner = SubgoalPlanner(manifest, prompts, session)
    outputs["text_logits"] = planner.first_logits(prompts.subgoal(words))
    outputs["subgoal_ids"] = np.array(planner.decode(words), dtype=np.int64)
    return outputs


def verify(bundle: Bundle, engine: Engine) -> list[StageCheck]:
    """Compare every stage with the bundle's goldens."""
    goldens, tolerances = bundle.goldens, bundle.manifest.tolerances
    try:
        found = replay(bundle.manifest, Prompts(bundle), engine, goldens)
        return [compare(stage, found[stage], goldens[stage], tolerances[stage]) for stage in found]
    except KeyError as error:
        raise BundleError(
            f"{bundle.folder}: golden {error} is missing", fix="export the bundle again"
        ) from error


def compare(stage: str, found: Array, golden: Array, tolerance: float) -> StageCheck:
    """Errors of one stage; a wrong shape or a value that is not finite counts as infinitely wrong."""
    if found.shape != golden.shape or not np.all(np.isfinite(found)):
        return StageCheck(stage, 0.0, float("inf"), float("inf"), tolerance)
    a, b = found.astype(np.float64).ravel(), golden.astype(np.float64).ravel()
    scale = float(np.linalg.norm(a) * np.linalg.norm(b))
    difference = a - b
    return StageCheck(
        stage=stage,
        cosine=float(a @ b / scale) if scale else 1.0,
        relative_l2=float(np.linalg.norm(difference) / max(np.linalg.norm(b), 1e-30)),
        max_abs=float(np.abs(difference).max(initial=0.0)),
        tolerance=tolerance,
    )
