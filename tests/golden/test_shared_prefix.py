"""An observation is encoded once: what both prompts make of its prefix is what each makes alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import wall_edge_engines

from wall_edge.bundle import Bundle
from wall_edge.policies.encoder import Encoder
from wall_edge.policies.flow_policy import FlowPolicy
from wall_edge.policies.observation import Guidance, Observation
from wall_edge.policies.prompts import Prompts
from wall_edge.policies.subgoals import SubgoalPlanner
from wall_edge.sim.tabletop import arm
from wall_edge.sim.tabletop.referee import TabletopWorld

WORDS = ("touch the red block.", "touch the blue block, then the green block.", "rest.")


@pytest.fixture(scope="module")
def bundle(shipped_bundle: Path) -> Bundle:
    return Bundle(shipped_bundle)


@pytest.fixture(scope="module")
def observation() -> Observation:
    return Observation(0, TabletopWorld(3).frames(arm.REST), np.array(arm.REST), index=5)


def test_both_prompts_begin_with_the_observation(bundle: Bundle) -> None:
    prompts = Prompts.of(bundle)
    shared = prompts.observation()
    assert len(shared.ids) == prompts.observation_tokens > 0
    for words in WORDS:
        for prompt in (prompts.action(words), prompts.subgoal(words)):
            count = len(shared.ids)
            np.testing.assert_array_equal(prompt.ids[:count], shared.ids)
            np.testing.assert_array_equal(prompt.positions[:, :count], shared.positions)


def test_a_chunk_from_the_shared_prefix(bundle: Bundle, observation: Observation) -> None:
    engine = wall_edge_engines.load(bundle)
    policy = FlowPolicy(Encoder.on(engine, bundle.manifest, Prompts.of(bundle)), seed=4)
    policy.observe(observation)
    two_parts = policy.act(observation, WORDS[0])
    noise = np.random.default_rng((4, 5)).standard_normal(
        (bundle.manifest.horizon, bundle.manifest.action_slots), dtype=np.float32
    )
    slots = list(bundle.manifest.embodiment.action.slots)
    actions = policy.normalised_chunk(observation, WORDS[0], noise)[:, slots]
    one_part = bundle.manifest.embodiment.action.restore(actions.astype(np.float64)) + observation.state
    np.testing.assert_allclose(two_parts, one_part, atol=1e-5)
    np.testing.assert_array_equal(policy.chunk(observation, WORDS[0]), two_parts)
    assert (policy.chunk(replace(observation, index=6), WORDS[0]) != two_parts).any()  # other noise


def test_words_from_a_copy_of_the_prefix(bundle: Bundle, observation: Observation) -> None:
    engine, manifest, prompts = wall_edge_engines.load(bundle), bundle.manifest, Prompts.of(bundle)
    acting, planning = (Encoder.on(engine, manifest, prompts) for _ in range(2))
    policy, planner = FlowPolicy(acting), SubgoalPlanner(planning)
    task = TabletopWorld(3).episode.task
    alone = planner.subgoal(observation, task.instruction)
    assert alone == task.subgoal(0)
    planning.observe(replace(observation, frames=TabletopWorld(4).frames(arm.REST)))
    policy.observe(observation)
    acting.fork(planning)
    policy.act(observation, WORDS[0])  # goes on in its own session
    assert planner.words(task.instruction) == alone


def test_guidance_reaches_the_chunk(bundle: Bundle, observation: Observation) -> None:
    """Fully weighted steps go to the target, steps without weight stay near where they were."""
    engine = wall_edge_engines.load(bundle)
    policy = FlowPolicy(Encoder.on(engine, bundle.manifest, Prompts.of(bundle)))
    free = policy.chunk(observation, WORDS[0])
    shift = 0.2 * np.array(bundle.manifest.embodiment.action.scale)  # within what the policy knows
    weights = np.where(np.arange(len(free)) < 8, 1.0, 0.0)
    policy.observe(observation)
    pulled = policy.act(observation, WORDS[0], Guidance(free + shift, weights, 5.0, jacobian=False))
    missed = np.abs(pulled - (free + shift)) / shift
    assert np.median(missed[:8]) < 0.35
    assert np.median(missed[12:]) > 0.65
