"""The stages of one observation on an engine: what the goldens record, and what they are compared with."""

from __future__ import annotations

import numpy as np
from wall_edge_engines import Engine

from wall_edge.array_types import Array
from wall_edge.bundle import Manifest
from wall_edge.policies.encoder import Encoder, observed_frames
from wall_edge.policies.observation import Observation
from wall_edge.policies.prompts import Prompts
from wall_edge.policies.subgoals import SubgoalPlanner
from wall_edge.verification.action_stages import ACTION_STAGES
from wall_edge.verification.moment import Arrays, Moment

GOLDEN_TOKENS = 8
"""Generated tokens in the goldens: each one reads the whole prefix pathway once."""


def record(manifest: Manifest, prompts: Prompts, engine: Engine, inputs: Arrays) -> dict[str, Array]:
    """Every stage's output for the golden inputs, each stage fed by the one before it."""
    stages = Stages(manifest, prompts, engine, inputs)
    outputs: dict[str, Array] = {"action_prompt_ids": stages.prompt_ids()}
    outputs |= stages.actions.record()
    outputs["image_embeds"] = stages.session.image_embeds()
    outputs["keys_values"] = stages.session.keys_values()
    outputs |= stages.subgoal()
    return outputs


class Stages:
    """The stages of one observation on an engine; ``inputs`` as of :func:`goldens.golden_inputs`."""

    def __init__(self, manifest: Manifest, prompts: Prompts, engine: Engine, inputs: Arrays) -> None:
        frames = {name: inputs[f"frames.{name}"] for name in manifest.cameras}
        observation = Observation(0, observed_frames(manifest, frames), inputs["state"])
        self._words = str(inputs["instruction"])
        self._encoder = Encoder.on(engine, manifest, prompts)
        self.session = self._encoder.session
        self._moment = Moment(self._encoder, observation, self._words, inputs)
        self.actions = ACTION_STAGES[manifest.actions.kind](self._moment)

    def prompt_ids(self) -> Array:
        """Of the action prompt."""
        return self._encoder.action_prompt(self._moment.observation, self._words).ids

    def subgoal(self) -> dict[str, Array]:
        """Logits of the subgoal's first token, and the first tokens of the subgoal."""
        planner = SubgoalPlanner(self._encoder)
        logits = planner.first_logits(self._words)
        ids = planner.decode(self._words, GOLDEN_TOKENS)
        return {"text_logits": logits, "subgoal_ids": np.array(ids, dtype=np.int64)}
