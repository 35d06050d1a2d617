"""An observation and words → image tokens and cached keys/values in a session, and the tokens that follow."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import numpy as np
from wall_edge_engines import Engine, ModelSession
from wall_edge_engines.base import Lane

from wall_edge.array_types import Floats32, Frame
from wall_edge.bundle import Manifest, session_capacity
from wall_edge.errors import CameraError, PolicyError
from wall_edge.policies.observation import Observation
from wall_edge.policies.prompt_text import Ids
from wall_edge.policies.prompts import Prompt, Prompts, common_front
from wall_edge.policies.state_text import said_state
from wall_edge.policies.transforms import model_state


class Encoder:
    """Fills one session's cache: pictures, then a prompt, then what is generated. One thread at a time.

    Policies and planners hold one: ``manifest`` and ``prompts`` say what the graphs behind ``session`` take.
    """

    def __init__(self, manifest: Manifest, prompts: Prompts, session: ModelSession) -> None:
        self.manifest, self.prompts, self.session = manifest, prompts, session
        self._cached: Ids = np.empty(0, dtype=np.int64)
        """Ids of the prompt whose keys/values the session has, of the pictures that were encoded last."""

    @classmethod
    def on(cls, engine: Engine, manifest: Manifest, prompts: Prompts, lane: Lane = "actions") -> Encoder:
        """With a session of its own on ``engine``."""
        return cls(manifest, prompts, ModelSession(engine, capacity=session_capacity(manifest), lane=lane))

    def encode_images(self, observation: Observation) -> None:
        """Encode the pictures; an observation that must not be acted on is refused before anything runs.

        Raises :class:`CameraError` or :class:`PolicyError`.
        """
        frames = observed_frames(self.manifest, observation.frames)
        model_state(self.manifest, observation.state)
        self._cached = self._cached[:0]
        self.session.encode_images(frames)

    def observe(self, observation: Observation) -> None:
        """Encode the pictures and cache the part of the prompt that does not depend on words."""
        self.encode_images(observation)
        self._prefill(self.prompts.observation(), observed=False)

    def fork(self, into: Encoder) -> None:
        """What is cached of an observation goes to another session, too, for another prompt."""
        self.session.fork(into.session)
        into._cached = self._cached

    def action_prompt(self, observation: Observation, words: str) -> Prompt:
        """The action prompt of an observation's state. Raises :class:`PolicyError`."""
        manifest = self.manifest
        said = said_state(manifest.embodiment.state, manifest.state_text, observation.state)
        return self.prompts.action(words, said)

    def prefill_action(self, observation: Observation, words: str, *, observed: bool = False) -> Prompt:
        """Cache the action prompt's keys/values; the pictures have been encoded.

        ``observed``: what is cached since :meth:`observe` is kept where the prompt begins with the same
        tokens; of a prompt that spells the state, all before the state if the words are the same.
        """
        prompt, token = self.action_prompt(observation, words), self.manifest.state_text is None
        state = model_state(self.manifest, observation.state) if token else ()
        self._prefill(prompt, *state, observed=observed)
        return prompt

    def prefill_subgoal(self, instruction: str, *, observed: bool = False) -> Prompt:
        """As :meth:`prefill_action`, of the prompt that asks for the next sub-task in words."""
        prompt = self.prompts.subgoal(instruction)
        self._prefill(prompt, observed=observed)
        return prompt

    def greedy_tokens(self, prompt: Prompt) -> Iterator[int]:
        """The likeliest token ids behind ``prompt``, whose keys/values are cached; it never ends by itself.

        A token is put behind the cached ones when the next is asked for. Raises :class:`PolicyError` on
        logits that are not finite.
        """
        for position in itertools.count(prompt.following):
            row, finite = self.session.next_token()
            if not finite:
                raise PolicyError("the logits hold values that are not finite", expected="finite logits")
            token = self.prompts.head_token(row)
            yield token
            self.session.append(token, position)

    def _prefill(self, prompt: Prompt, *state: Floats32, observed: bool) -> None:
        """``state``: values and mask of the state token, of prompts that hold one."""
        keep = common_front(self._cached, prompt.ids, self.prompts.tokenizer.ids) if observed else 0
        self._cached = prompt.ids[:keep]  # what is behind them is overwritten, or was not when this fails
        self.session.prefill(prompt.ids[keep:], prompt.positions[:, keep:], *state, keep=keep)
        self._cached = prompt.ids


def observed_frames(manifest: Manifest, frames: Mapping[str, Frame]) -> dict[str, Frame]:
    """The frames that the vision graph takes, by camera; raises :class:`CameraError`."""
    for name, camera in manifest.cameras.items():
        expected = (camera.height, camera.width, 3)
        if name not in frames:
            raise CameraError(f"no frame from {name}", expected=f"the cameras {', '.join(manifest.cameras)}")
        if frames[name].shape != expected or frames[name].dtype != np.uint8:
            raise CameraError(
                f"{name}: a frame of shape {list(frames[name].shape)} and type {frames[name].dtype}",
                expected=f"{list(expected)} uint8",
                fix="set the camera's width and height in ROBOT.yaml to what it delivers",
            )
    return {name: frames[name] for name in manifest.cameras}
