"""The stages of one observation on an engine: what the goldens record, and what they are compared with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from wall_edge_engines import Engine, Guidance
from wall_edge_engines.loop import loop_steps

from wall_edge.array_types import Array
from wall_edge.bundle import Manifest
from wall_edge.policies.encoder import Encoder, observed_frames
from wall_edge.policies.flow_policy import FlowPolicy
from wall_edge.policies.observation import Observation
from wall_edge.policies.prompts import Prompts
from wall_edge.policies.subgoals import SubgoalPlanner
from wall_edge.policies.transforms import physical

GOLDEN_TOKENS = 8
"""Generated tokens in the goldens: each one reads the whole prefix pathway once."""


def record(
    manifest: Manifest, prompts: Prompts, engine: Engine, inputs: Mapping[str, Array]
) -> dict[str, Array]:
    """Every stage's output for the golden inputs, each stage fed by the one before it."""
    stages = Stages(manifest, prompts, engine, inputs)
    outputs: dict[str, Array] = {"action_prompt_ids": stages.prompt_ids()}
    outputs |= stages.chunk() | stages.trajectory() if manifest.fast is None else stages.fast_logits()
    if "guided" in manifest.graphs:
        outputs["guidance"] = stages.guided(outputs["noisy_actions"])[1]
    outputs["image_embeds"] = stages.session.image_embeds()
    outputs["keys_values"] = stages.session.keys_values()
    outputs |= stages.words()
    return outputs


class Stages:
    """The stages of one observation on an engine; ``inputs`` as of :func:`goldens.golden_inputs`."""

    def __init__(
        self, manifest: Manifest, prompts: Prompts, engine: Engine, inputs: Mapping[str, Array]
    ) -> None:
        frames = {name: inputs[f"frames.{name}"] for name in manifest.cameras}
        self._manifest, self._noise = manifest, inputs["noise"]
        self._words = str(inputs["instruction"])
        guidance = ("guidance_target", "guidance_weights") if "guided" in manifest.graphs else ()
        self._guidance = [inputs[name] for name in guidance]
        self._observation = Observation(0, observed_frames(manifest, frames), inputs["state"])
        self.flow, self.guides = manifest.fast is None, "guided" in manifest.graphs
        self.action = manifest.embodiment.action
        self._encoder = Encoder.on(engine, manifest, prompts)
        self.session = self._encoder.session
        self._policy = FlowPolicy(self._encoder) if manifest.fast is None else None

    def prompt_ids(self) -> Array:
        """Of the action prompt."""
        return self._encoder.action_prompt(self._observation, self._words).ids

    def prefill(self) -> None:
        """Cache the action prompt's keys/values, given the image tokens that are there."""
        if self._policy is None:
            self._encoder.prefill_action(self._observation, self._words)
        else:
            self._policy.prefill_text(self._observation, self._words)

    def fast_logits(self) -> dict[str, Array]:
        """Logits of the first FAST token, from frames."""
        self.session.encode_images(self._observation.frames)
        self.prefill()
        return {"action_logits": self.session.logits()}

    def velocities(self, noisy: Array) -> Iterator[Array]:
        """Velocity of every step at its noisy actions, of ``[steps, horizon, slots]``."""
        assert self._policy is not None
        for time, x in zip(self._manifest.time_grid, noisy, strict=False):
            yield self._policy.velocity(x, time)

    def guided(self, noisy: Array) -> tuple[Array, Array]:
        """Velocity and guidance of the middle step at its noisy actions, of ``[steps, horizon, slots]``."""
        manifest, step = self._manifest, middle_step(noisy)
        mask = np.zeros((manifest.horizon, manifest.action_slots), dtype=np.float32)
        mask[:, list(manifest.embodiment.action.slots)] = 1.0
        following = self._encoder.action_prompt(self._observation, self._words).following
        positions = np.broadcast_to(following + np.arange(manifest.horizon), (3, manifest.horizon))
        target, weights = self._guidance
        guidance = Guidance(target, weights, max_weight=0.0, jacobian=True)
        return self.session.guided_velocity(noisy[step], mask, manifest.time_grid[step], positions, guidance)

    def chunk(self) -> dict[str, Array]:
        """The chunk from frames, its integration one operation of the engine."""
        assert self._policy is not None
        chunk = self._policy.normalised_chunk(self._observation, self._words, self._noise)
        slots = list(self.action.slots)
        actions = physical(self._manifest, chunk[:, slots], self._observation.state)
        return {"chunk": chunk, "actions": actions}

    def trajectory(self) -> dict[str, Array]:
        """Noisy actions and velocity of every step, taken one by one; the prompt is cached."""
        assert self._policy is not None
        noisy, velocities = [self._noise], []
        for step in loop_steps(self._manifest.time_grid):
            velocities.append(self._policy.velocity(noisy[-1], step.time))
            noisy.append(noisy[-1] + np.float32(step.size) * velocities[-1])
        return {"noisy_actions": np.stack(noisy[:-1]), "velocities": np.stack(velocities)}

    def words(self) -> dict[str, Array]:
        """Logits of the subgoal's first token, and the first tokens of the subgoal."""
        planner = SubgoalPlanner(self._encoder)
        logits = planner.first_logits(self._words)
        ids = planner.decode(self._words, GOLDEN_TOKENS)
        return {"text_logits": logits, "subgoal_ids": np.array(ids, dtype=np.int64)}


def middle_step(steps: Array) -> int:
    """The integration step that the graph ``guided`` is checked at."""
    return len(steps) // 2
