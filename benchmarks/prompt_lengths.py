"""How often a prompt that spells the state needs new bindings: ``python benchmarks/prompt_lengths.py``.

Arms that a scripted demonstrator moves in the tabletop world, several for more degrees of freedom, are
observed at 10 Hz. Their states go as words through a session, on an engine that computes nothing and counts
what it is asked to bind. Each number takes a token a digit and one for the space, as with Qwen's tokenizer.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from wall_edge_engines import Engine, ModelSession
from wall_edge_engines.base import Lane
from wall_edge_engines.host_tensor import HostTensor

from wall_edge.array_types import Floats
from wall_edge.bundle import ElementType, TensorSpec, TimeSchedule
from wall_edge.policies.state_text import state_words
from wall_edge.sim.tabletop import arm, expert
from wall_edge.sim.tabletop.referee import TabletopWorld

OBSERVATION, WORDS, HORIZON, STEPS = 600, 40, 32, TimeSchedule(0.999).grid(10)
"""Tokens of three cameras of 192 and what frames them, tokens of an instruction and what frames it."""
EVERY = 3
"""Steps of the world, at 30 Hz, from one observation to the next."""


class CountingEngine(Engine):
    """Binds and does not run; ``bound`` counts."""

    description = "nothing"

    def __init__(self) -> None:
        self.bound = 0
        rows, number = TensorSpec(("tokens", 1, 2, 1, 1), "float32"), TensorSpec((), "float32")
        past, last = TensorSpec(("past", 1, 2, 1, 1), "float32"), TensorSpec((1, 1), "float32")
        action = TensorSpec((HORIZON, 1), "float32")
        prefix = {
            "input_ids": TensorSpec(("tokens",), "int64"),
            "image_embeds": last,
            "positions": TensorSpec((3, "tokens"), "int64"),
            "mask": TensorSpec(("tokens", "keys"), "bool"),
            "past_kv": past,
        }
        step = dict.fromkeys(("noisy_action", "dof_mask", "target", "weights"), action)
        step |= dict.fromkeys(("time", "step_size", "guidance_weight"), number)
        step |= {"positions": TensorSpec((3, HORIZON), "int64"), "past_kv": past}
        graphs: Any = {
            "vision": SimpleNamespace(inputs={}, outputs={"image_embeds": last}),
            "prefix": SimpleNamespace(inputs=prefix, outputs={"kv": rows, "hidden": last}),
            "expert": SimpleNamespace(inputs=step, outputs={"velocity": action, "next_action": action}),
        }
        self.graphs = graphs

    def tensor(self, shape: tuple[int, ...], dtype: ElementType) -> HostTensor:
        return HostTensor.zeros(shape, dtype)

    def _bind(self, graph: str, tensors: Mapping[str, Any], lane: Lane) -> Any:  # noqa: ARG002
        self.bound += 1
        return SimpleNamespace(run=lambda: None)

    def _bind_loop(self, graph: str, tensors: Mapping[str, Any], steps: Sequence[Any], lane: Lane) -> Any:  # noqa: ARG002
        return self._bind(graph, tensors, lane)


def states(seed: int, chunks: int) -> Floats:
    """Joints ``[chunks, 6]`` at each observation, one task after the other."""
    world, q, episode, seen = TabletopWorld(seed), np.array(arm.REST, dtype=np.float64), 0, []
    while len(seen) < chunks * EVERY:
        scene = world.episode.scene
        target = scene.xy[scene.index(world.episode.task.first)]
        for _ in range(60):
            q = expert.follow(q, expert.command(q, target))
            world.step(q)
            seen.append(q)
        episode += 1
        world.new_episode(episode)
    return np.array(seen[: chunks * EVERY : EVERY])


def run(said: Sequence[str]) -> tuple[int, int]:
    """Different lengths, and chunks for which something was bound after the first minute."""
    engine = CountingEngine()
    session = ModelSession(engine, capacity=2048)
    noise, minute, remade = np.zeros((HORIZON, 1), np.float32), 600, 0
    for number, words in enumerate(said):
        before = engine.bound
        for keep, count in ((0, OBSERVATION), (OBSERVATION, WORDS + len(words))):
            session.prefill(np.zeros(count, np.int64), np.zeros((3, count), np.int64), keep=keep)
        session.denoise(noise, noise, np.zeros((3, HORIZON), np.int64), STEPS)
        remade += number >= minute and engine.bound > before
    return len({len(words) for words in said}), remade


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=6600, help="at 10 Hz: eleven minutes")
    chunks = parser.parse_args().chunks
    arms = [states(seed, chunks) for seed in range(4)]
    print("degrees of freedom | bins | lengths | chunks with new bindings after the first minute")
    for count in (1, 2, 4):
        values = np.concatenate(arms[:count], axis=1)
        low, high = values.min(0), values.max(0)
        normalised = 2 * (values - low) / np.maximum(high - low, 1e-9) - 1
        for bins in (256, 512):
            lengths, remade = run([state_words(row, bins) for row in normalised])
            print(f"{6 * count} | {bins} | {lengths} | {100 * remade / (chunks - 600):.2f} %")


if __name__ == "__main__":
    main()
