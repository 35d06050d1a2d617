"""A WALL-OSS policy on an engine: observation → action chunk, observation → subgoal in words."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from wall_edge_engines.base import Engine
from wall_edge_engines.session import ModelSession

from .bundle import TOKENIZER, Bundle, Manifest
from .errors import BundleError, CameraError, ConfigError, EngineError, PolicyError
from .fast import MAX_FAST_TOKENS
from .files import read_array
from .flow import Floats, guided, integrate, uniform_grid
from .geometry import ImageGeometry
from .prompt import (
    Ids,
    PromptTokenizer,
    Wording,
    action_text,
    next_position,
    observation_text,
    positions,
    subgoal_text,
)

Frame = npt.NDArray[np.uint8]
Watch = Callable[[Floats, Floats], None]

MAX_SUBGOAL_TOKENS = 32
_PROMPTS = 64
"""How many texts' prompts are kept: a model that words something new all day must not fill the memory."""


@dataclass(frozen=True)
class Observation:
    """What the robot saw: frames ``[h, w, 3]`` uint8 by camera and joints ``[dof]`` in rad.

    ``time_ns`` is when the joints were measured, ``frames_ns`` when the oldest frame was taken
    (CLOCK_MONOTONIC), ``plan_ns`` the plan clock at ``time_ns``; ``index`` counts observations.
    """

    time_ns: int
    frames: Mapping[str, Frame]
    state: npt.NDArray[np.float64]
    frames_ns: int = 0
    plan_ns: int = 0
    index: int = 0


@dataclass(frozen=True)
class Guidance:
    """Where a chunk should go: ``target`` [horizon, dof] in rad, ``weights`` [horizon] from 0 to 1.

    ``max_weight`` bounds the guidance at every flow step; ``jacobian``: through the expert's Jacobian.
    """

    target: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float64]
    max_weight: float
    jacobian: bool


@dataclass(frozen=True)
class Prompt:
    """Token ids ``[T]``, their positions ``[3, T]`` and the position of what follows."""

    ids: Ids
    positions: Ids
    following: int


class Prompts:
    """Prompts of some cameras' images; a text that was used lately is not tokenised again.

    ``head_tokens``: the token id of each row of a trimmed vocabulary head, None for a whole one; ``wording``:
    whose words the policy was trained on.
    """

    def __init__(
        self,
        cameras: Mapping[str, ImageGeometry],
        tokenizer: PromptTokenizer,
        head_tokens: Ids | None = None,
        wording: Wording = "lerobot",
    ) -> None:
        self._cameras, self.tokenizer, self._head_tokens = cameras, tokenizer, head_tokens
        self._wording: Wording = wording
        self._observation = observation_text({name: g.tokens for name, g in self._cameras.items()}, wording)
        self._made: OrderedDict[str, Prompt] = OrderedDict()
        self._first = self._new("")

    @property
    def observation_tokens(self) -> int:
        """Tokens at the front that both prompts share: the cameras' images and what frames them."""
        return len(self.observation().ids)

    @classmethod
    def of(cls, bundle: Bundle) -> Prompts:
        """Those of a bundle."""
        manifest, tokenizer = bundle.manifest, PromptTokenizer(bundle.path(TOKENIZER))
        bundle.require_unchanged(TOKENIZER)
        head_tokens = _head_tokens(bundle, tokenizer.largest_id)
        return cls(manifest.cameras, tokenizer, head_tokens, manifest.prompt_wording)

    def head_token(self, row: int) -> int:
        """The token id of a row of the vocabulary head."""
        return row if self._head_tokens is None else int(self._head_tokens[row])

    def observation(self) -> Prompt:
        """What both prompts begin with: the cameras' images and what frames them."""
        return self._first

    def action(self, words: str) -> Prompt:
        """The prompt that ends where the action tokens begin."""
        return self._prompt(action_text(words, self._wording))

    def subgoal(self, instruction: str) -> Prompt:
        """The prompt that asks for the next sub-task in words."""
        return self._prompt(subgoal_text(instruction, self._wording))

    def _prompt(self, request: str) -> Prompt:
        if request not in self._made:
            self._made[request] = self._new(request)
            if len(self._made) > _PROMPTS:
                self._made.popitem(last=False)
        self._made.move_to_end(request)
        return self._made[request]

    def _new(self, request: str) -> Prompt:
        ids = self.tokenizer.encode(self._observation + request)
        cells = [geometry.cells for geometry in self._cameras.values()]
        placed = positions(ids, cells, self.tokenizer.ids.image)
        return Prompt(ids, placed, next_position(placed))


def _head_tokens(bundle: Bundle, largest: int) -> Ids | None:
    """Token ids of a trimmed vocabulary head ``[rows]``, at most ``largest``; None for a whole one."""
    name = bundle.manifest.head_tokens
    if name is None:
        return None
    rows = bundle.manifest.graphs["lm_head"].outputs["logits"].shape
    ids = read_array(bundle.path(name), BundleError)
    bundle.require_unchanged(name)
    if ids.shape != rows or ids.dtype != np.int64:
        raise BundleError(f"{name}: {ids.dtype} of shape {list(ids.shape)}", expected=f"int64 {list(rows)}")
    if ids.min() < 0 or ids.max() > largest or len(np.unique(ids)) < len(ids):
        raise BundleError(f"{name}: ids {ids.min()} to {ids.max()}", expected=f"different ids to {largest}")
    known: Ids = ids
    return known


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
        self._grid = uniform_grid(integration_steps) if integration_steps else manifest.time_grid
        self._seed = seed
        self._mask = np.zeros((manifest.horizon, manifest.action_slots), dtype=np.float32)
        self._slots = list(manifest.embodiment.action_slots)
        self._mask[:, self._slots] = 1.0

    def chunk(self, observation: Observation, words: str) -> npt.NDArray[np.float64]:
        """Joint positions ``[horizon, dof]`` in rad, step k due k action periods after the observation.

        ``words`` is the subgoal (or the instruction). Raises :class:`PolicyError` on a value that is not
        finite.
        """
        self.observe(observation)
        return self.act(observation, words)

    def observe(self, observation: Observation) -> None:
        """Encode the images and cache what both prompts share; :meth:`act` goes on from there."""
        observe(self._manifest, self._prompts, self._session, observation)

    def act(
        self, observation: Observation, words: str, guidance: Guidance | None = None
    ) -> npt.NDArray[np.float64]:
        """As :meth:`chunk`, of an observation that :meth:`observe` has seen; its state may have changed.

        ``guidance`` pulls the chunk towards other positions (real-time chunking). The noise follows from the
        policy's seed and ``observation.index``, so that a chunk is a function of its observation.
        """
        rng = np.random.default_rng((self._seed, observation.index))
        noise = rng.standard_normal(self._mask.shape, dtype=np.float32)
        self.prefill_text(observation, words, keep=self._prompts.observation_tokens)
        if guidance is None:
            actions = integrate(self.velocity, noise, self._grid)
        else:
            actions = integrate(self._guided(observation, guidance), noise, self._grid)
        if not np.all(np.isfinite(actions)):
            raise PolicyError("the action chunk holds values that are not finite", expected="finite actions")
        return physical(self._manifest, actions[:, self._slots], observation.state)

    def normalised_chunk(
        self, observation: Observation, words: str, noise: Floats, watch: Watch | None = None
    ) -> Floats:
        """Integrate ``noise [horizon, slots]`` to normalised actions ``[horizon, slots]``.

        ``watch`` is shown every step's noisy actions and velocity.
        """
        self.prefill(observation, words)

        def velocity(x: Floats, time: float) -> Floats:
            v = self.velocity(x, time)
            if watch is not None:
                watch(x, v)
            return v

        return integrate(velocity, noise, self._grid)

    def prefill(self, observation: Observation, words: str) -> None:
        """Encode the images and cache the prompt's keys/values."""
        encode_observation(self._manifest, self._session, observation)
        self.prefill_text(observation, words)

    def prefill_text(self, observation: Observation, words: str, *, keep: int = 0) -> None:
        """Cache the prompt's keys/values and place the chunk behind it; the images have been encoded.

        The first ``keep`` tokens are cached already.
        """
        given = (self._manifest, self._prompts, self._session, observation, words)
        prompt = prefill_action(*given, keep=keep)
        steps = prompt.following + np.arange(self._manifest.horizon)
        self._action_positions = np.broadcast_to(steps, (3, len(steps)))

    def velocity(self, noisy: Floats, time: float) -> Floats:
        """Flow velocity ``[horizon, slots]`` after :meth:`prefill`."""
        return self._session.velocity(noisy, self._mask, time, self._action_positions)

    def _guided(self, observation: Observation, guidance: Guidance) -> Callable[[Floats, float], Floats]:
        """The velocity field with what pulls it to the guidance added."""
        target, weights = np.zeros_like(self._mask), np.zeros_like(self._mask)
        target[:, self._slots] = normalised(self._manifest, guidance.target, observation.state)
        weights[:, self._slots] = guidance.weights[:, None]

        def jacobian(x: Floats, time: float) -> tuple[Floats, Floats]:
            return self._session.guided_velocity(x, self._mask, time, self._action_positions, target, weights)

        def elementwise(x: Floats, time: float) -> tuple[Floats, Floats]:
            v = self.velocity(x, time)
            return v, weights * (target - (x + (1 - time) * v))

        return guided(jacobian if guidance.jacobian else elementwise, guidance.max_weight)


class SubgoalPlanner:
    """The next sub-task in words, decoded greedily by the same model. One thread at a time."""

    def __init__(self, manifest: Manifest, prompts: Prompts, session: ModelSession) -> None:
        self._manifest, self._prompts, self._session = manifest, prompts, session
        self._nothing = np.zeros(manifest.state_slots, dtype=np.float32)

    def subgoal(self, observation: Observation, instruction: str) -> str:
        """Words of the next sub-task; raises :class:`PolicyError` when the sentence does not end."""
        observe(self._manifest, self._prompts, self._session, observation)
        return self.words(instruction)

    def words(self, instruction: str) -> str:
        """As :meth:`subgoal`, of an observation that the session has seen (:func:`observe`)."""
        ids = self.decode(instruction, keep=self._prompts.observation_tokens)
        tokenizer = self._prompts.tokenizer
        if ids[-1] != tokenizer.ids.turn_end:
            raise PolicyError(
                f"the subgoal {tokenizer.decode(ids)!r} did not end",
                expected=f"<|im_end|> within {MAX_SUBGOAL_TOKENS} tokens",
            )
        words = tokenizer.decode(ids)
        try:
            action_text(words)
        except ConfigError as error:  # to be told and asked for again, not the end of the task
            raise PolicyError(f"the subgoal {words!r} cannot be acted on: {error}") from None
        return words

    def decode(self, instruction: str, limit: int = MAX_SUBGOAL_TOKENS, *, keep: int = 0) -> list[int]:
        """Greedy token ids after the prompt, up to and with ``<|im_end|>``, at most ``limit``.

        The first ``keep`` tokens of the prompt are cached already.
        """
        prompt = self._prompts.subgoal(instruction)
        self._prefill(prompt, keep)
        ids: list[int] = []
        for token in greedy_tokens(self._prompts, self._session, prompt):
            ids.append(token)
            if token == self._prompts.tokenizer.ids.turn_end or len(ids) == limit:
                break
        return ids

    def first_logits(self, instruction: str) -> Floats:
        """Logits of the first generated token, one for each row of the vocabulary head."""
        self._prefill(self._prompts.subgoal(instruction), 0)
        return self._session.logits()

    def _prefill(self, prompt: Prompt, keep: int) -> None:
        ids, placed = prompt.ids[keep:], prompt.positions[:, keep:]
        self._session.prefill(ids, placed, self._nothing, self._nothing, keep=keep)


def greedy_tokens(prompts: Prompts, session: ModelSession, prompt: Prompt) -> Iterator[int]:
    """The likeliest token ids behind ``prompt``, whose keys/values are cached; it never ends by itself.

    A token is put behind the cached ones when the next is asked for. Raises :class:`PolicyError` on logits
    that are not finite.
    """
    for position in itertools.count(prompt.following):
        logits = session.logits()
        row = int(logits.argmax())
        if not np.isfinite(logits[row]):
            raise PolicyError("the logits hold values that are not finite", expected="finite logits")
        token = prompts.head_token(row)
        yield token
        session.append(token, position)


def physical(
    manifest: Manifest, actions: npt.NDArray[np.floating], state: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Normalised actions ``[horizon, dof]`` → joint positions in rad."""
    restored = manifest.embodiment.action.restore(actions.astype(np.float64))
    return restored + state if manifest.embodiment.action_reference == "state" else restored


def normalised(
    manifest: Manifest, positions: npt.NDArray[np.float64], state: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Joint positions ``[horizon, dof]`` in rad → normalised actions; :func:`physical` the other way."""
    relative = positions - state if manifest.embodiment.action_reference == "state" else positions
    return manifest.embodiment.action.normalize(relative)


def observe(manifest: Manifest, prompts: Prompts, session: ModelSession, observation: Observation) -> None:
    """Encode an observation's images and cache the part of the prompt that does not depend on words."""
    encode_observation(manifest, session, observation)
    shared, nothing = prompts.observation(), np.zeros(manifest.state_slots, dtype=np.float32)
    session.prefill(shared.ids, shared.positions, nothing, nothing)


def encode_observation(manifest: Manifest, session: ModelSession, observation: Observation) -> None:
    """Encode the images of an observation; one that must not be acted on is refused before anything runs."""
    frames = observed_frames(manifest, observation.frames)
    model_state(manifest, observation.state)
    session.encode_images(frames)


def prefill_action(
    manifest: Manifest,
    prompts: Prompts,
    session: ModelSession,
    observation: Observation,
    words: str,
    *,
    keep: int = 0,
) -> Prompt:
    """Cache the action prompt's keys/values behind the first ``keep``; the images have been encoded."""
    prompt = prompts.action(words)
    state, mask = model_state(manifest, observation.state)
    session.prefill(prompt.ids[keep:], prompt.positions[:, keep:], state, mask, keep=keep)
    return prompt


def model_state(manifest: Manifest, state: npt.NDArray[np.float64]) -> tuple[Floats, Floats]:
    """Joints ``[dof]`` in rad → what the state token takes and its mask, ``[slots]`` both.

    Raises :class:`PolicyError`.
    """
    if state.shape != (manifest.dof,) or not np.all(np.isfinite(state)):
        raise PolicyError(f"joint state {state.tolist()}", expected=f"{manifest.dof} finite values in rad")
    values, mask = np.zeros((2, manifest.state_slots), dtype=np.float32)
    slots = list(manifest.embodiment.state_slots)
    values[slots] = manifest.embodiment.state.normalize(state)
    mask[slots] = 1.0
    return values, mask


def new_session(manifest: Manifest, engine: Engine) -> ModelSession:
    """A session that holds the longest prompt and what is generated behind it."""
    return ModelSession(engine, capacity=session_capacity(manifest))


def session_capacity(manifest: Manifest) -> int:
    """Tokens that a session must hold: the longest prompt and what is generated behind it."""
    if manifest.max_prompt_tokens < 1:
        raise EngineError(f"max_prompt_tokens {manifest.max_prompt_tokens}", expected="at least 1")
    generated = MAX_SUBGOAL_TOKENS if manifest.fast is None else MAX_FAST_TOKENS
    return manifest.max_prompt_tokens + generated
