"""The training sequences of one sample: both prompts behind one observation, then noisy chunks.

::

    observation ─┬─ subgoal prompt + answer                       (text loss)
                 └─ action prompt + state ── chunk × noises       (flow loss)

The two prompts share one prefix pass under a block mask; the chunks attend to the keys/values of the
observation and the action prompt, exactly as the exported expert graph does. Every token has the position
that it will have when its branch runs alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from examples.training.policy_files import PolicyKind
from wall_edge.policies.prompt_text import (
    STATE,
    TURN_END,
    Ids,
    PromptTokenizer,
    action_text,
    next_position,
    observation_text,
    positions,
    subgoal_text,
)

NOISES = 2


class Layout:
    """Where everything stands in the prefix. All sentences must have the same token counts.

    ``task``: an instruction and one of its subgoals.
    """

    def __init__(self, tokenizer: PromptTokenizer, kind: PolicyKind, task: tuple[str, str]) -> None:
        self.tokenizer, self.cameras, self.horizon = tokenizer, kind.cameras, kind.horizon
        self._wording = kind.wording
        self.root = tokenizer.encode(observation_text(kind.image_tokens, self._wording))
        self.end = tokenizer.encode(TURN_END)
        state = kind.said(np.zeros((1, kind.slots)))[0]
        self._lengths = tuple(len(part) for part in self._parts(*task, state))
        root, question, answer, self.length = (int(n) for n in np.cumsum(self._lengths))
        images = np.flatnonzero(self.root == tokenizer.ids.image)
        self.first_image = int(images[0])
        self.image_places = torch.from_numpy(images - self.first_image)
        self.answer = slice(question, answer)
        self.predicts_answer = slice(question - 1, answer - 1)
        self.action_branch = torch.tensor([*range(root), *range(answer, self.length)])
        self.positions, self.chunk_positions = self._positions()
        sees = np.tril(np.ones((self.length, self.length), dtype=bool))
        sees[answer:, root:answer] = False
        self.bias = torch.from_numpy(np.where(sees, 0.0, -1e9).astype(np.float32))

    def _parts(self, instruction: str, subgoal: str, state: str) -> tuple[Ids, Ids, Ids, Ids]:
        encode, wording = self.tokenizer.encode, self._wording
        answer = np.concatenate((encode(subgoal), self.end))
        question = subgoal_text(instruction, wording)
        return self.root, encode(question), answer, encode(action_text(subgoal, wording, state))

    def ids(
        self, instructions: Sequence[str], subgoals: Sequence[str], states: Sequence[str] | None = None
    ) -> Tensor:
        """Token ids ``[B, length]`` of a batch; ``states`` in words, None where a token carries them."""
        rows = []
        states = states or [STATE] * len(subgoals)
        for instruction, subgoal, state in zip(instructions, subgoals, states, strict=True):
            parts = self._parts(instruction, subgoal, state)
            if tuple(len(part) for part in parts) != self._lengths:
                raise ValueError(f"{instruction!r} / {subgoal!r} has other token counts than the layout")
            rows.append(np.concatenate(parts))
        return torch.from_numpy(np.stack(rows))

    def _positions(self) -> tuple[Tensor, Tensor]:
        cells = [geometry.cells for geometry in self.cameras.values()]
        root = positions(self.root, cells, self.tokenizer.ids.image)
        start = next_position(root)
        _, question, answer, action = self._lengths
        line = np.concatenate((start + np.arange(question + answer), start + np.arange(action)))
        prefix = np.concatenate((root, np.broadcast_to(line, (3, len(line)))), axis=1)
        chunk = np.broadcast_to(start + action + np.arange(self.horizon), (3, self.horizon))
        return torch.from_numpy(prefix), torch.from_numpy(chunk.copy())


def layout_of(kind: PolicyKind, tokenizer: Tokenizer, task: tuple[str, str]) -> Layout:
    """The layout of a policy whose tokenizer is not in a folder yet."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.json"
        tokenizer.save(str(path))
        prompts = PromptTokenizer(path)
    return Layout(prompts, kind, task)
