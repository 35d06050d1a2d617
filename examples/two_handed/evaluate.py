"""How often the two-handed checkpoint succeeds in pose space: ``python examples/two_handed/evaluate.py``.

No export, no joints, no motors: the model in torch, and hands that follow pose commands at 30 Hz with the
servos' lag and limited speeds. It says what a training run is worth before the rest of the robot is looked
at; ``wall-edge eval`` runs the robot's own code. Layouts come from the evaluation stream, which training
never draws from. A lane plays one episode after the other; all lanes think in one batch.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from wall_edge_export.model.config import model_shape
from wall_edge_export.model.wall import WallModel

from examples.training.forward import PackedForward
from examples.training.packing import Layout
from examples.two_handed.demonstrations import absolute
from examples.two_handed.policy_kind import KIND, LIVE, padded, tasks
from wall_edge.array_types import Floats, Frame
from wall_edge.kinematics.rotations import exp, log
from wall_edge.policies.prompt_text import PromptTokenizer
from wall_edge.policies.vision import cut
from wall_edge.provenance import provenance
from wall_edge.sim.blocks import STEP_HZ
from wall_edge.sim.two_handed import expert
from wall_edge.sim.two_handed.hands import OPEN, Hands
from wall_edge.sim.two_handed.referee import TwoHandedTable

TIP_SPEED, TURN_SPEED = 0.4, 3.0  # m/s, rad/s: what the hands can do


class TorchPolicy:
    """A checkpoint folder, for a batch of observations."""

    def __init__(self, folder: Path, steps: int, seed: int) -> None:
        config = json.loads((folder / "config.json").read_text())
        tensors = load_file(folder / "model.safetensors")
        prefix = "action_preprocessor.normalizer_"
        self._range = {
            key: tensors.pop(f"{prefix}{key}.{KIND.robot}")
            for key in ("propri.min", "propri.delta", "action.min", "action.delta")
        }
        self._model = WallModel(model_shape(config)).eval()
        self._model.load_state_dict(tensors)
        self._layout = Layout(PromptTokenizer(folder / "tokenizer.json"), KIND, tasks()[0])
        mask = torch.from_numpy(padded(np.ones(LIVE), 0.0)).float()
        self._forward = PackedForward(self._model, self._layout, mask)
        self._steps, self._noise = steps, torch.Generator().manual_seed(seed)

    @torch.no_grad()
    def think(
        self, frames: list[dict[str, Frame]], slots: Floats, instructions: list[str]
    ) -> tuple[list[str], Floats]:
        """Subgoals in words and actions [B, 32, 14] relative to the state ``slots`` [B, 14]."""
        cut_frames = [
            cut(np.stack([each[camera] for each in frames]), geometry)
            for camera, geometry in KIND.cameras.items()
        ]
        images = self._forward.images(torch.from_numpy(np.concatenate(cut_frames, axis=1)))
        state = torch.from_numpy(padded(slots, 0.0)).float()
        state = (2 * (state - self._range["propri.min"]) / self._range["propri.delta"] - 1).clamp(-1, 1)
        words = self._words(images, state, instructions)
        cache = self._forward.prefix(self._layout.ids(instructions, words), images, state)[1]
        x = torch.randn((len(slots), 1, KIND.horizon, KIND.slots), generator=self._noise)
        for step in range(self._steps):
            at = torch.full((len(slots), 1), step / self._steps)
            x = x + self._forward.velocity(cache, x, at) / self._steps
        actions = (x[:, 0] + 1) / 2 * self._range["action.delta"] + self._range["action.min"]
        return words, actions[..., :LIVE].double().numpy()

    def _words(self, images: Tensor, state: Tensor, instructions: list[str]) -> list[str]:
        """Greedy subgoals. A sentence that is no subgoal becomes the nearest: the instruction's first."""
        subgoals = {subgoal for _, subgoal in tasks()}
        ids = self._layout.ids(instructions, [tasks()[0][1]] * len(instructions))
        answer = range(self._layout.answer.start, self._layout.answer.stop)
        for place in answer:
            hidden = self._forward.prefix(ids, images, state)[0]
            ids[:, place] = self._model.lm_head(hidden[:, place - 1]).argmax(-1)
        words = [self._layout.tokenizer.decode(row[self._layout.answer].tolist()) for row in ids]
        first = [f"{instruction.split(',')[0]}." for instruction in instructions]
        return [word if word in subgoals else other for word, other in zip(words, first, strict=True)]


@dataclass
class Lane:
    """One table, its hands, and the plan that is being followed: chunk, the state it began from, its step."""

    table: TwoHandedTable
    hands: Hands
    plan: tuple[Floats, Hands, int] | None = None

    def follow(self) -> None:
        """One step of 1/30 s."""
        if self.plan is not None:
            chunk, began, step = self.plan
            wanted = absolute(chunk[min(self.table.episode.steps - step, len(chunk) - 1)], began)
            self.hands = _limited(self.hands, expert.follow(self.hands, wanted))
        self.table.step(self.hands.slots())


def _limited(here: Hands, there: Hands) -> Hands:
    step = there.position - here.position
    length = np.linalg.norm(step, axis=-1, keepdims=True)
    step = step * np.minimum(1.0, TIP_SPEED / STEP_HZ / np.maximum(length, 1e-9))
    turn = log(there.rotation @ np.swapaxes(here.rotation, -1, -2))
    angle = np.linalg.norm(turn, axis=-1, keepdims=True)
    turn = turn * np.minimum(1.0, TURN_SPEED / STEP_HZ / np.maximum(angle, 1e-9))
    gripper = np.clip(there.gripper, 0.0, 1.0)
    return Hands(here.position + step, exp(turn) @ here.rotation, gripper)


@dataclass
class Tally:
    """What came of the episodes."""

    results: list[tuple[str, float, float]]
    words: int = 0
    right: int = 0


def play(policy: TorchPolicy, options: argparse.Namespace) -> Tally:
    """All episodes, ``options.lanes`` at a time."""
    home = Hands(expert.HOME, expert.upright(expert.HOME), np.full(2, OPEN))
    lanes = [Lane(TwoHandedTable(options.seed), home) for _ in range(min(options.lanes, options.episodes))]
    waiting = iter(range(options.episodes))
    tally = Tally([])
    for lane in lanes:
        lane.table.new_episode(next(waiting))
    coming: list[tuple[int, Lane, tuple[Floats, Hands, int]]] = []
    clock = 0
    while lanes:
        if clock % options.every == 0:
            coming += [(clock + options.delay, *made) for made in _plans(policy, lanes, tally)]
        for _, lane, plan in [each for each in coming if each[0] == clock]:
            lane.plan = plan
        coming = [each for each in coming if each[0] > clock]
        for lane in list(lanes):
            lane.follow()
            episode = lane.table.episode
            if episode.status == "running":
                continue
            tally.results.append((episode.status, episode.seconds, float(episode.least_tip_distance_m)))
            number, lane.plan = next(waiting, None), None
            coming = [each for each in coming if each[1] is not lane]
            if number is None:
                lanes.remove(lane)
            else:
                lane.table.new_episode(number)
        clock += 1
    return tally


def _plans(
    policy: TorchPolicy, lanes: list[Lane], tally: Tally
) -> list[tuple[Lane, tuple[Floats, Hands, int]]]:
    slots = np.stack([lane.hands.slots() for lane in lanes])
    frames = [lane.table.frames(row) for lane, row in zip(lanes, slots, strict=True)]
    words, chunks = policy.think(frames, slots, [lane.table.episode.task.instruction for lane in lanes])
    tally.words += len(words)
    tally.right += sum(word == lane.table.episode.subgoal for word, lane in zip(words, lanes, strict=True))
    return [
        (lane, (chunk, lane.hands, lane.table.episode.steps))
        for lane, chunk in zip(lanes, chunks, strict=True)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=Path(__file__).parent / "checkpoint")
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lanes", type=int, default=25)
    parser.add_argument("--every", type=int, default=3, help="steps of 1/30 s between two chunks")
    parser.add_argument("--delay", type=int, default=1, help="steps until a chunk takes effect")
    parser.add_argument("--integration-steps", type=int, default=10)
    options = parser.parse_args()
    begun = time.monotonic()
    tally = play(TorchPolicy(options.checkpoint, options.integration_steps, options.seed), options)
    statuses = Counter(status for status, _, _ in tally.results)
    report = {
        "episodes": len(tally.results),
        **statuses,
        "median_s": float(
            np.median([seconds for status, seconds, _ in tally.results if status == "success"])
        ),
        "least_tip_distance_m": min(apart for _, _, apart in tally.results),
        "words_right": tally.right / tally.words,
        "delay_ms": 1000 * options.delay / STEP_HZ,
        "wall_s": round(time.monotonic() - begun, 1),
        **provenance("torch"),
    }
    for name, value in report.items():
        print(f"{name:22} {value}")


if __name__ == "__main__":
    main()
