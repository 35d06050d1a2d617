"""A WALL-OSS policy on an engine: observation → action chunk, observation → subgoal in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from wall_edge_engines.session import ModelSession

from .bundle import TOKENIZER, Bundle, Manifest
from .errors import CameraError, EngineError, PolicyError
from .flow import Floats, integrate
from .prompt import (
    Ids,
    PromptTokenizer,
    action_text,
    next_position,
    observation_text,
    positions,
    subgoal_text,
)
from .vision import Frame, Patches, patches

MAX_SUBGOAL_TOKENS = 32


@dataclass(frozen=True)
class Observation:
    """What the robot saw: frames ``[h, w, 3]`` uint8 by camera and joints ``[dof]`` in rad.

    ``time_ns`` is when the joints were measured, ``frames_ns`` when the oldest frame was taken
    (CLOCK_MONOTONIC).
    """

    time_ns: int
    frames: Mapping[str, Frame]
    state: npt.NDArray[np.float64]
    frames_ns: int = 0


@dataclass(frozen=True)
class Prompt:
    """Token ids ``[T]``, their positions ``[3, T]`` and the position of what follows."""

    ids: Ids
    positions: Ids
    following: int


class Prompts:
    """Prompts of one bundle's cameras; a text is tokenised once."""

    def __init__(self, bundle: Bundle) -> None:
        self._cameras = bundle.manifest.cameras
        self.tokenizer = PromptTokenizer(bundle.path(TOKENIZER))
        self._observation = observation_text({name: g.tokens for name, g in self._cameras.items()})
        self._made: dict[str, Prompt] = {}

    def action(self, words: str) -> Prompt:
        """The prompt that ends where the action tokens begin."""
        return self._prompt(action_text(words))

    def subgoal(self, instruction: str) -> Prompt:
        """The prompt that asks for the next sub-task in words."""
        return self._prompt(subgoal_text(instruction))

    def _prompt(self, request: str) -> Prompt:
        if request not in self._made:
            ids = self.tokenizer.encode(self._observation + request)
            cells = [geometry.cells for geometry in self._cameras.values()]
            placed = positions(ids, cells, self.tokenizer.ids.image)
            self._made[request] = Prompt(ids, placed, next_position(placed))
        return self._made[request]


def observed_patches(manifest: Manifest, frames: Mapping[str, Frame]) -> Patches:
    """All cameras' patches ``[n, patch_dim]`` in the manifest's order; raises :class:`CameraError`."""
    missing = [name for name in manifest.cameras if name not in frames]
    if missing:
        raise CameraError(
            f"no frame from {', '.join(missing)}", expected=f"the cameras {', '.join(manifest.cameras)}"
        )
    return np.concatenate([patches(frames[name], g) for name, g in manifest.cameras.items()])


class FlowPolicy:
    """Flow-matching action chunks. One thread at a time."""

    def __init__(
        self,
        manifest: Manifest,
        prompts: Prompts,
        session: ModelSession,
        *,
        integration_steps: int | None = None,
        seed: int = 0,
    ) -> None:
        self._manifest, self._prompts, self._session = manifest, prompts, session
        self._steps = integration_steps or manifest.integration_steps
        self._rng = np.random.default_rng(seed)
        self._mask = np.ones((manifest.horizon, manifest.dof), dtype=np.float32)

    def chunk(self, observation: Observation, words: str) -> npt.NDArray[np.float64]:
        """Joint positions ``[horizon, dof]`` in rad, step k due k action periods after the observation.

        ``words`` is the subgoal (or the instruction). Raises :class:`PolicyError` on a value that is not
        finite.
        """
        noise = self._rng.standard_normal(self._mask.shape, dtype=np.float32)
        actions = self.normalised_chunk(observation, words, noise)
        if not np.all(np.isfinite(actions)):
            raise PolicyError("the action chunk holds values that are not finite", expected="finite actions")
        return self.physical(actions, observation.state)

    def normalised_chunk(self, observation: Observation, words: str, noise: Floats) -> Floats:
        """Integrate ``noise [horizon, dof]`` to normalised actions of the same shape."""
        self.prefill(observation, words)
        return integrate(self.velocity, noise, self._steps)

    def prefill(self, observation: Observation, words: str) -> None:
        """Encode the images and cache the prompt's keys/values."""
        prompt, state = self._prompts.action(words), normalised_state(self._manifest, observation.state)
        self._session.encode_images(observed_patches(self._manifest, observation.frames))
        self._session.prefill(prompt.ids, prompt.positions, state, np.ones_like(state))
        steps = prompt.following + np.arange(self._manifest.horizon)
        self._action_positions = np.broadcast_to(steps, (3, len(steps)))

    def velocity(self, noisy: Floats, time: float) -> Floats:
        """Flow velocity ``[horizon, dof]`` after :meth:`prefill`."""
        return self._session.velocity(noisy, self._mask, time, self._action_positions)

    def physical(
        self, actions: npt.NDArray[np.floating], state: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """Normalised actions ``[horizon, dof]`` → joint positions in rad."""
        embodiment = self._manifest.embodiment
        restored = embodiment.action.restore(actions.astype(np.float64))
        return restored + state if embodiment.action_reference == "state" else restored


class SubgoalPlanner:
    """The next sub-task in words, decoded greedily by the same model. One thread at a time."""

    def __init__(self, manifest: Manifest, prompts: Prompts, session: ModelSession) -> None:
        self._manifest, self._prompts, self._session = manifest, prompts, session

    def subgoal(self, observation: Observation, instruction: str) -> str:
        """Words of the next sub-task; raises :class:`PolicyError` when the sentence does not end."""
        self._session.encode_images(observed_patches(self._manifest, observation.frames))
        ids = self.decode(instruction)
        tokenizer = self._prompts.tokenizer
        if ids[-1] != tokenizer.ids.turn_end:
            raise PolicyError(
                f"the subgoal {tokenizer.decode(ids)!r} did not end",
                expected=f"<|im_end|> within {MAX_SUBGOAL_TOKENS} tokens",
            )
        return tokenizer.decode(ids)

    def decode(self, instruction: str) -> list[int]:
        """Greedy token ids after the prompt, up to and with ``<|im_end|>``."""
        prompt = self._prompts.subgoal(instruction)
        logits = self.first_logits(prompt)
        ids: list[int] = []
        while len(ids) < MAX_SUBGOAL_TOKENS:
            ids.append(int(logits.argmax()))
            if ids[-1] == self._prompts.tokenizer.ids.turn_end:
                break
            logits = self._session.decode(ids[-1], prompt.following + len(ids) - 1)
        return ids

    def first_logits(self, prompt: Prompt) -> Floats:
        """Logits ``[vocab]`` of the first generated token; the prompt's last token is the one decoded."""
        nothing = np.zeros(self._manifest.dof, dtype=np.float32)
        self._session.prefill(prompt.ids[:-1], prompt.positions[:, :-1], nothing, nothing)
        return self._session.decode(int(prompt.ids[-1]), int(prompt.positions[0, -1]))


def normalised_state(manifest: Manifest, state: npt.NDArray[np.float64]) -> Floats:
    """Joints ``[dof]`` in rad → what the state token takes; raises :class:`PolicyError`."""
    if state.shape != (manifest.dof,) or not np.all(np.isfinite(state)):
        raise PolicyError(f"joint state {state.tolist()}", expected=f"{manifest.dof} finite values in rad")
    return manifest.embodiment.state.normalize(state).astype(np.float32)


def session_capacity(manifest: Manifest) -> int:
    """Tokens that a session must hold: the longest prompt and a generated subgoal."""
    if manifest.max_prompt_tokens < 1:
        raise EngineError(f"max_prompt_tokens {manifest.max_prompt_tokens}", expected="at least 1")
    return manifest.max_prompt_tokens + MAX_SUBGOAL_TOKENS
