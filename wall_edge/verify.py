"""Check a bundle against its goldens, stage by stage, so that a device can check itself.

The goldens are the float32 torch modules' results for one observation, recorded at export: a moment of the
calibration data where there is any (on noise, activations leave the calibrated ranges), else a synthetic one.
A stage is fed the *golden* result of the stage before it, so that what it shows is its own error: frames →
image tokens, golden image tokens → keys/values of every layer and text logits, golden keys/values and golden
noisy actions → the velocity of every step (the graph ``guided``, if any: velocity and guidance of the middle
one). The chunk, normalised and in physical units, is checked end to end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from wall_edge_engines.base import Engine
from wall_edge_engines.session import ModelSession

from wall_edge.arrays import relative_l2
from wall_edge.bundle import Bundle, Embodiment, Manifest, Tolerance
from wall_edge.bundle.goldens import require_goldens, unchecked
from wall_edge.policies.encoder import new_session, observed_frames, prefill_action
from wall_edge.policies.flow_policy import FlowPolicy
from wall_edge.policies.observation import Observation
from wall_edge.policies.prompts import Prompts
from wall_edge.policies.subgoals import SubgoalPlanner
from wall_edge.policies.transforms import physical

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]

GOLDEN_TOKENS = 8
"""Generated tokens in the goldens: each one reads the whole prefix pathway once."""

_LIMITS = {"fp32": 1e-4, "fp16": 0.01, "int8-weights": 0.05, "int8": 0.10, "int4-weights": 0.20}
"""The tolerance table: relative L2 error that a stage may show, by the lowest precision it runs through.

int8's 0.10 is the gate of infinigence/ApxInf; joint positions have their own limits below.
"""
_JOINT_LIMITS = {"fp32": 1e-3, "fp16": 5e-3, "int8-weights": 0.03, "int8": 0.05, "int4-weights": 0.08}
"""Largest error of a joint position, as a share of the joint's normalisation range (its scale)."""

_GRAPHS_OF = {
    "image_embeds": ("vision",),
    "keys": ("prefix",),
    "values": ("prefix",),
    "text_logits": ("prefix", "lm_head"),
    "action_logits": ("vision", "prefix", "lm_head"),
    "velocity": ("expert",),
    "guided_velocity": ("guided",),
    "guidance": ("guided",),
    "chunk": ("vision", "prefix", "expert"),
    "joint_positions": ("vision", "prefix", "expert"),
}
"""The graphs whose precision shows in a stage."""


@dataclass(frozen=True)
class StageCheck:
    """One stage against its golden; ``tolerance`` bounds the error called ``measure``."""

    stage: str
    cosine: float
    relative_l2: float
    max_abs: float
    measure: str
    tolerance: float

    @property
    def ok(self) -> bool:
        return bool(getattr(self, self.measure) <= self.tolerance)

    def as_dict(self) -> dict[str, Any]:
        """For JSON, which has no infinity: what cannot be compared has null errors."""
        numbers = asdict(self)
        for name in ("cosine", "relative_l2", "max_abs"):
            numbers[name] = numbers[name] if np.isfinite(numbers[name]) else None
        return {**numbers, "ok": self.ok}


def tolerances(families: Mapping[str, Mapping[str, str]], embodiment: Embodiment) -> dict[str, Tolerance]:
    """Limits of every kind of stage for graphs with these layer families' precisions."""
    made: dict[str, Tolerance] = {}
    for stage, graphs in _GRAPHS_OF.items():
        if graphs == ("guided",) and "guided" not in families:  # an optional graph
            continue
        used = {precision for graph in graphs for precision in families.get(graph, {"": "fp32"}).values()}
        worst = max(used, key=lambda precision: _LIMITS[precision])
        if stage != "joint_positions":
            made[stage] = Tolerance("relative_l2", _LIMITS[worst])
            continue
        for name, scale in zip(embodiment.dof_names, embodiment.action.scale, strict=True):
            made[f"{stage}.{name}"] = Tolerance("max_abs", _JOINT_LIMITS[worst] * scale)
    exact = all(precision == "fp32" for graph in families.values() for precision in graph.values())
    if exact:  # a rounded model may word a tie differently
        made["subgoal_ids"] = Tolerance("max_abs", 0.0)
    made["action_prompt_ids"] = Tolerance("max_abs", 0.0)
    return made


def graphs_of(stage: str) -> tuple[str, ...]:
    """The graphs whose precision shows in a stage (``keys.3`` → ``prefix``)."""
    return _GRAPHS_OF.get(stage.split(".")[0], ())


def golden_inputs(
    observation: Observation, words: str, manifest: Manifest, seed: int = 0
) -> dict[str, Array]:
    """What the goldens are computed from: an observation, words and fixed noise."""
    rng = np.random.default_rng(seed)
    shape = (manifest.horizon, manifest.action_slots)
    inputs: dict[str, Array] = {f"frames.{name}": frame for name, frame in observation.frames.items()}
    inputs["state"] = observation.state
    inputs["noise"] = rng.standard_normal(shape, dtype=np.float32)
    inputs["instruction"] = np.array(words)
    if "guided" in manifest.graphs:
        inputs["guidance_target"] = rng.uniform(-1, 1, shape).astype(np.float32)
        inputs["guidance_weights"] = rng.uniform(0, 1, shape).astype(np.float32)
    return inputs


def synthetic_observation(manifest: Manifest, seed: int = 0) -> Observation:
    """Noisy frames and joints inside the normalised range."""
    rng = np.random.default_rng(seed)
    frames = {
        name: rng.integers(0, 256, (camera.height, camera.width, 3), dtype=np.uint8)
        for name, camera in manifest.cameras.items()
    }
    state = manifest.embodiment.state.restore(rng.uniform(-0.9, 0.9, manifest.dof))
    return Observation(0, frames, state)


def record(manifest: Manifest, prompts: Prompts, engine: Engine, inputs: Arrays) -> dict[str, Array]:
    """Every stage's output for the golden inputs, each stage fed by the one before it."""
    stages = _Stages(manifest, prompts, engine, inputs)
    outputs: dict[str, Array] = {"action_prompt_ids": stages.prompt_ids()}
    outputs |= stages.chunk() if manifest.fast is None else stages.fast_logits()
    if "guided" in manifest.graphs:
        outputs["guidance"] = stages.guided(outputs["noisy_actions"])[1]
    outputs["image_embeds"] = stages.session.image_embeds()
    outputs["keys_values"] = stages.session.keys_values()
    outputs |= stages.words()
    return outputs


def verify(bundle: Bundle, engine: Engine) -> list[StageCheck]:
    """Compare every stage with the bundle's goldens; each must be there, and of the stage's shape."""
    manifest, goldens = bundle.manifest, bundle.goldens
    require_goldens(manifest, goldens, bundle.folder)
    for kind in _kinds(manifest):
        if kind not in manifest.tolerances:
            raise unchecked(bundle.folder, f"no tolerance of {kind}", "one for every stage")
    stages = _Stages(manifest, Prompts.of(bundle), engine, goldens)
    return list(_checks(stages, goldens, manifest.tolerances))


def _kinds(manifest: Manifest) -> list[str]:
    """The stages that this bundle has, as its tolerances name them."""
    families = {name: graph.families for name, graph in manifest.graphs.items()}
    other = ("chunk", "joint_positions", "velocity") if manifest.fast is not None else ("action_logits",)
    found = tolerances(families, manifest.embodiment)
    return [kind for kind in found if not kind.startswith(other)]


def _checks(stages: _Stages, goldens: Arrays, limits: Mapping[str, Tolerance]) -> Iterator[StageCheck]:
    def check(stage: str, kind: str, found: Array, golden: Array) -> StageCheck:
        return compare(stage, found, golden, limits[kind])

    yield check("action_prompt_ids", "action_prompt_ids", stages.prompt_ids(), goldens["action_prompt_ids"])
    flow = stages.flow
    whole = stages.chunk() if flow else stages.fast_logits()
    yield check("image_embeds", "image_embeds", stages.session.image_embeds(), goldens["image_embeds"])

    stages.session.set_image_embeds(goldens["image_embeds"])
    stages.prefill()
    found, golden = stages.session.keys_values(), goldens["keys_values"]
    for layer in range(golden.shape[1]):
        for part, kind in enumerate(("keys", "values")):
            yield check(f"{kind}.{layer}", kind, found[:, layer, part], golden[:, layer, part])

    if flow:
        stages.session.set_keys_values(golden)
        for step, velocity in enumerate(stages.velocities(goldens["noisy_actions"])):
            yield check(f"velocity.{step}", "velocity", velocity, goldens["velocities"][step])
    if stages.guides:
        yield from _guidance_checks(stages, goldens, check)
    whole_stage = "chunk" if flow else "action_logits"
    yield check(whole_stage, whole_stage, whole[whole_stage], goldens[whole_stage])
    for number, name in enumerate(stages.joints if flow else ()):
        stage, joint = f"joint_positions.{name}", goldens["joint_positions"][:, number]
        yield check(stage, stage, whole["joint_positions"][:, number], joint)

    stages.session.set_image_embeds(goldens["image_embeds"])
    words = stages.words()
    yield check("text_logits", "text_logits", words["text_logits"], goldens["text_logits"])
    if "subgoal_ids" in limits:
        yield check("subgoal_ids", "subgoal_ids", words["subgoal_ids"], goldens["subgoal_ids"])


def _guidance_checks(
    stages: _Stages, goldens: Arrays, check: Callable[[str, str, Array, Array], StageCheck]
) -> Iterator[StageCheck]:
    """The graph ``guided``, on the golden keys/values that the session holds."""
    noisy = goldens["noisy_actions"]
    velocity, guidance = stages.guided(noisy)
    wanted = {"guided_velocity": goldens["velocities"][_middle(noisy)], "guidance": goldens["guidance"]}
    for (stage, golden), found in zip(wanted.items(), (velocity, guidance), strict=True):
        yield check(stage, stage, found, golden)


def _middle(steps: Array) -> int:
    return len(steps) // 2


class _Stages:
    """The stages of one observation on an engine."""

    def __init__(self, manifest: Manifest, prompts: Prompts, engine: Engine, inputs: Arrays) -> None:
        frames = {name: inputs[f"frames.{name}"] for name in manifest.cameras}
        self._manifest, self._prompts, self._noise = manifest, prompts, inputs["noise"]
        self._words = str(inputs["instruction"])
        guidance = ("guidance_target", "guidance_weights") if "guided" in manifest.graphs else ()
        self._guidance = [inputs[name] for name in guidance]
        self._observation = Observation(0, observed_frames(manifest, frames), inputs["state"])
        self.flow, self.guides = manifest.fast is None, "guided" in manifest.graphs
        self.joints = manifest.embodiment.dof_names
        self.session: ModelSession = new_session(manifest, engine)
        self._policy = FlowPolicy(manifest, prompts, self.session) if manifest.fast is None else None

    def prompt_ids(self) -> Array:
        return self._prompts.action(self._words).ids

    def prefill(self) -> None:
        """Cache the action prompt's keys/values, given the image tokens that are there."""
        if self._policy is None:
            prefill_action(self._manifest, self._prompts, self.session, self._observation, self._words)
        else:
            self._policy.prefill_text(self._observation, self._words)

    def fast_logits(self) -> dict[str, Array]:
        """Logits of the first FAST token, from frames."""
        self.session.encode_images(self._observation.frames)
        self.prefill()
        return {"action_logits": self.session.logits()}

    def velocities(self, noisy: Array) -> Iterator[Array]:
        """Velocity of every step at given noisy actions ``[steps, horizon, slots]``."""
        assert self._policy is not None
        for time, x in zip(self._manifest.time_grid, noisy, strict=False):
            yield self._policy.velocity(x, time)

    def guided(self, noisy: Array) -> tuple[Array, Array]:
        """Velocity and guidance of the middle step at its noisy actions, of ``[steps, horizon, slots]``."""
        manifest, step = self._manifest, _middle(noisy)
        mask = np.zeros((manifest.horizon, manifest.action_slots), dtype=np.float32)
        mask[:, list(manifest.embodiment.action_slots)] = 1.0
        placed = self._prompts.action(self._words).following + np.arange(manifest.horizon)
        positions = np.broadcast_to(placed, (3, manifest.horizon))
        time = manifest.time_grid[step]
        return self.session.guided_velocity(noisy[step], mask, time, positions, *self._guidance)

    def chunk(self) -> dict[str, Array]:
        """The chunk from frames, with the noisy actions and velocities on the way."""
        assert self._policy is not None
        noisy: list[Array] = []
        velocities: list[Array] = []

        def watch(x: Array, velocity: Array) -> None:
            noisy.append(x.copy())
            velocities.append(velocity.copy())

        chunk = self._policy.normalised_chunk(self._observation, self._words, self._noise, watch)
        slots = list(self._manifest.embodiment.action_slots)
        joints = physical(self._manifest, chunk[:, slots], self._observation.state)
        return {
            "noisy_actions": np.stack(noisy),
            "velocities": np.stack(velocities),
            "chunk": chunk,
            "joint_positions": joints,
        }

    def words(self) -> dict[str, Array]:
        """Logits of the subgoal's first token, and the first tokens of the subgoal."""
        planner = SubgoalPlanner(self._manifest, self._prompts, self.session)
        logits = planner.first_logits(self._words)
        ids = planner.decode(self._words, GOLDEN_TOKENS)
        return {"text_logits": logits, "subgoal_ids": np.array(ids, dtype=np.int64)}


def compare(stage: str, found: Array, golden: Array, tolerance: Tolerance) -> StageCheck:
    """Errors of one stage; a wrong shape or a value that is not finite counts as infinitely wrong."""
    if found.shape != golden.shape or not np.all(np.isfinite(found)):
        infinite = float("inf")
        return StageCheck(stage, 0.0, infinite, infinite, tolerance.measure, tolerance.limit)
    a, b = found.astype(np.float64).ravel(), golden.astype(np.float64).ravel()
    scale = float(np.linalg.norm(a) * np.linalg.norm(b))
    difference = a - b
    return StageCheck(
        stage=stage,
        cosine=float(a @ b / scale) if scale else float(np.array_equal(a, b)),
        relative_l2=relative_l2(a, b),
        max_abs=float(np.abs(difference).max(initial=0.0)),
        measure=tolerance.measure,
        tolerance=tolerance.limit,
    )
