"""An observation → image tokens, state and cached keys/values in a session."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from wall_edge_engines.base import Engine
from wall_edge_engines.session import ModelSession

from wall_edge.array_types import Frame
from wall_edge.bundle import Manifest
from wall_edge.errors import CameraError, EngineError
from wall_edge.policies.fast_codec import MAX_FAST_TOKENS
from wall_edge.policies.observation import Observation
from wall_edge.policies.prompts import Prompt, Prompts
from wall_edge.policies.transforms import model_state

MAX_SUBGOAL_TOKENS = 32


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


def new_session(manifest: Manifest, engine: Engine) -> ModelSession:
    """A session that holds the longest prompt and what is generated behind it."""
    return ModelSession(engine, capacity=session_capacity(manifest))


def session_capacity(manifest: Manifest) -> int:
    """Tokens that a session must hold: the longest prompt and what is generated behind it."""
    if manifest.max_prompt_tokens < 1:
        raise EngineError(f"max_prompt_tokens {manifest.max_prompt_tokens}", expected="at least 1")
    generated = MAX_SUBGOAL_TOKENS if manifest.fast is None else MAX_FAST_TOKENS
    return manifest.max_prompt_tokens + generated
