"""What is verified of flow actions: every step's velocity, guidance, the chunk, each degree of freedom."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from wall_edge_engines import Guidance
from wall_edge_engines.loop import loop_steps

from wall_edge.array_types import Array
from wall_edge.bundle import Manifest, require_flow
from wall_edge.kinematics.rotations import nearest_values
from wall_edge.policies.flow_policy import FlowPolicy
from wall_edge.policies.transforms import physical
from wall_edge.verification.comparison import StageCheck
from wall_edge.verification.moment import Arrays, Check, Moment

_GUIDED = "guided"


class FlowStages:
    """The actions of one moment: recorded as goldens, or checked against them."""

    def __init__(self, moment: Moment) -> None:
        self._moment, self._policy = moment, FlowPolicy(moment.encoder)
        self._grid = require_flow(moment.manifest.actions).time_grid
        self._guides = _GUIDED in moment.manifest.graphs
        self._live = list(moment.manifest.embodiment.action.slots)

    @classmethod
    def inputs(cls, manifest: Manifest, rng: np.random.Generator) -> dict[str, Array]:
        """Noise, and what guidance pulls towards, by the names that the goldens have."""
        shape = (manifest.horizon, manifest.action_slots)
        inputs: dict[str, Array] = {"noise": rng.standard_normal(shape, dtype=np.float32)}
        if _GUIDED in manifest.graphs:
            inputs["guidance_target"] = rng.uniform(-1, 1, shape).astype(np.float32)
            inputs["guidance_weights"] = rng.uniform(0, 1, shape).astype(np.float32)
        return inputs

    def prefill(self) -> None:
        """Cache the action prompt's keys/values, given the image tokens that are there."""
        self._policy.prefill_text(self._moment.observation, self._moment.words)

    def whole(self) -> dict[str, Array]:
        """The chunk from frames, its integration one operation of the engine."""
        moment = self._moment
        noise = moment.inputs["noise"]
        chunk = self._policy.normalised_chunk(moment.observation, moment.words, noise)
        actions = physical(moment.manifest, chunk[:, self._live], moment.observation.state)
        return {"chunk": chunk, "actions": actions}

    def record(self) -> dict[str, Array]:
        """All that the goldens hold of the actions."""
        outputs = self.whole() | self._trajectory()
        if self._guides:
            outputs["guidance"] = self._guided(outputs["noisy_actions"])[1]
        return outputs

    def step_checks(self, goldens: Arrays, check: Check) -> Iterator[StageCheck]:
        """The velocity of every step, on golden keys/values and golden noisy actions; then guidance."""
        self._moment.encoder.session.set_keys_values(goldens["keys_values"])
        noisy, velocities = goldens["noisy_actions"], goldens["velocities"]
        for step, (time, x) in enumerate(zip(self._grid, noisy, strict=False)):
            velocity = self._policy.velocity(x, time)
            yield self._compared(check, f"velocity.{step}", velocity, velocities[step])
        if self._guides:
            velocity, guidance = self._guided(noisy)
            golden = velocities[middle_step(noisy)]
            yield self._compared(check, "guided_velocity", velocity, golden)
            yield self._compared(check, "guidance", guidance, goldens["guidance"])

    def whole_checks(self, whole: Arrays, goldens: Arrays, check: Check) -> Iterator[StageCheck]:
        """The chunk, and its degrees of freedom; a rotation's are written as the golden's are."""
        yield self._compared(check, "chunk", whole["chunk"], goldens["chunk"])
        layout = self._moment.manifest.embodiment.action
        actions, golden = whole["actions"].copy(), goldens["actions"]
        for pose, form in layout.rotations.items():
            columns = layout.columns("rotation", pose)
            actions[:, columns] = nearest_values(form, actions[:, columns], golden[:, columns])
        for number, name in enumerate(layout.names):
            yield check(f"actions.{name}", f"actions.{name}", actions[:, number], golden[:, number])

    def _compared(self, check: Check, stage: str, actual: Array, golden: Array) -> StageCheck:
        """Of ``[horizon, slots]``, those of the robot's degrees of freedom; all must be finite.

        In the later family the others go in a straight line, exact whatever is wrong: among 26 slots they
        would halve the error of six. In the first nothing trained what the model says of them.
        """
        if np.all(np.isfinite(actual)):
            actual, golden = actual[:, self._live], golden[:, self._live]
        return check(stage, stage.partition(".")[0], actual, golden)

    def _trajectory(self) -> dict[str, Array]:
        """Noisy actions and velocity of every step, taken one by one; the prompt is cached."""
        noisy, velocities = [self._moment.inputs["noise"]], []
        for step in loop_steps(self._grid):
            velocities.append(self._policy.velocity(noisy[-1], step.time))
            noisy.append(noisy[-1] + np.float32(step.size) * velocities[-1])
        return {"noisy_actions": np.stack(noisy[:-1]), "velocities": np.stack(velocities)}

    def _guided(self, noisy: Array) -> tuple[Array, Array]:
        """Velocity and guidance of the middle step at its noisy actions, of ``[steps, horizon, slots]``."""
        moment, step = self._moment, middle_step(noisy)
        manifest, session = moment.manifest, moment.encoder.session
        mask = np.zeros((manifest.horizon, manifest.action_slots), dtype=np.float32)
        mask[:, self._live] = 1.0
        following = moment.encoder.action_prompt(moment.observation, moment.words).following
        positions = np.broadcast_to(following + np.arange(manifest.horizon), (3, manifest.horizon))
        target, weights = moment.inputs["guidance_target"], moment.inputs["guidance_weights"]
        guidance = Guidance(target, weights, max_weight=0.0, jacobian=True)
        return session.guided_velocity(noisy[step], mask, self._grid[step], positions, guidance)


def middle_step(steps: Array) -> int:
    """The integration step that the graph ``guided`` is checked at."""
    return len(steps) // 2
