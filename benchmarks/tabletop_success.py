"""How often the tabletop policy succeeds, in virtual time: ``python benchmarks/tabletop_success.py BUNDLE``.

The bundle's graphs run as in the daemon; the arm, the table and the clock are stepped at 30 Hz, so the result
depends on nothing but the bundle, the seeds and the delay. Layouts come from the evaluation stream, which
training never draws from.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import wall_edge_engines
from rich.progress import track
from wall_edge_engines import EngineSettings

from wall_edge.bundle import Bundle
from wall_edge.cli.output import stderr
from wall_edge.errors import PolicyError
from wall_edge.policies.encoder import Encoder
from wall_edge.policies.flow_policy import FlowPolicy
from wall_edge.policies.observation import Observation
from wall_edge.policies.prompts import Prompts
from wall_edge.policies.subgoals import SubgoalPlanner
from wall_edge.provenance import provenance
from wall_edge.sim.blocks import STEP_HZ
from wall_edge.sim.tabletop import arm, expert
from wall_edge.sim.tabletop.referee import TabletopWorld


@dataclass(frozen=True)
class Outcome:
    """One episode: how it ended, when, and how many of its subgoals were right."""

    status: str
    seconds: float
    subgoals: int
    right: int


class Player:
    """Re-plans every ``every`` steps; a chunk takes effect ``delay`` steps after its observation."""

    def __init__(self, bundle: Bundle, *, seed: int, every: int, delay: int, steps: int | None) -> None:
        manifest = bundle.manifest
        engine = wall_edge_engines.load(bundle, EngineSettings(threads=2))
        prompts = Prompts.of(bundle)
        self._policy = FlowPolicy(Encoder.on(engine, manifest, prompts), integration_steps=steps, seed=seed)
        self._planner = SubgoalPlanner(Encoder.on(engine, manifest, prompts))
        self._world, self._every, self._delay = TabletopWorld(seed), every, delay
        self._q = np.array(arm.REST)
        self._observations = 0

    def _next_index(self) -> int:
        self._observations += 1
        return self._observations

    def play(self, number: int) -> Outcome:
        episode = self._world.new_episode(number)
        chunks: list[tuple[int, np.ndarray]] = []
        commanded, right, asked = self._q.copy(), 0, 0
        while episode.status == "running":
            step = episode.steps
            if step % self._every == 0:
                observation = Observation(
                    0, self._world.frames(self._q), self._q.copy(), index=self._next_index()
                )
                words = self._subgoal(observation, episode.task.instruction)
                asked, right = asked + 1, right + (words == episode.subgoal)
                if words is not None:
                    chunks.append((step, self._policy.chunk(observation, words)))
            due = [(start, chunk) for start, chunk in chunks if start + self._delay <= step]
            if due:
                start, chunk = due[-1]
                commanded = chunk[min(step - start, len(chunk) - 1)]
            self._q = expert.follow(self._q, np.clip(commanded, arm.LOWER, arm.UPPER))
            self._world.step(self._q)
        return Outcome(episode.status, episode.seconds, asked, right)

    def _subgoal(self, observation: Observation, instruction: str) -> str | None:
        try:
            return self._planner.subgoal(observation, instruction)
        except PolicyError:
            return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=int, default=3, help="steps of 1/30 s between two chunks")
    parser.add_argument("--delay", type=int, default=1, help="steps until a chunk takes effect")
    parser.add_argument("--integration-steps", type=int, default=None)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    begun = time.monotonic()
    player = Player(
        Bundle(given.bundle),
        seed=given.seed,
        every=given.every,
        delay=given.delay,
        steps=given.integration_steps,
    )
    outcomes = [player.play(n) for n in track(range(given.episodes), "episodes", console=stderr)]
    won = [outcome for outcome in outcomes if outcome.status == "success"]
    asked = sum(outcome.subgoals for outcome in outcomes)
    result = {
        "episodes": len(outcomes),
        "successes": len(won),
        "success_rate": len(won) / len(outcomes),
        "median_s": statistics.median(outcome.seconds for outcome in won) if won else None,
        "failures": [f"{n}: {o.status}" for n, o in enumerate(outcomes) if o.status != "success"],
        "subgoals": asked,
        "subgoals_right_rate": sum(outcome.right for outcome in outcomes) / asked,
        "wall_s": round(time.monotonic() - begun, 1),
        "delay_ms": 1000 * given.delay / STEP_HZ,
        **provenance("onnxruntime"),
    }
    if given.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:20} {value}")


if __name__ == "__main__":
    main()
