"""A WALL-OSS policy on an engine: observation → action chunk, observation → subgoal in words."""

from __future__ import annotations

import numpy as np
from wall_edge_engines import Guidance as LoopGuidance

from wall_edge.array_types import Floats, Floats32
from wall_edge.arrays import require_finite
from wall_edge.bundle import require_flow
from wall_edge.errors import PolicyError
from wall_edge.policies.encoder import Encoder
from wall_edge.policies.observation import Guidance, Observation
from wall_edge.policies.rotation_range import ambiguous
from wall_edge.policies.transforms import model_values, physical


class FlowPolicy:
    """Flow-matching action chunks. One thread at a time.

    Raises :class:`ConfigError` for actions that are not integrated.
    """

    def __init__(self, encoder: Encoder, *, integration_steps: int | None = None, seed: int = 0) -> None:
        manifest = encoder.manifest
        self._encoder, self._manifest, self._session = encoder, manifest, encoder.session
        self._grid = require_flow(manifest.actions).grid(integration_steps)
        self._seed = seed
        self._mask = np.zeros((manifest.horizon, manifest.action_slots), dtype=np.float32)
        self._slots = list(manifest.embodiment.action.slots)
        self._mask[:, self._slots] = 1.0

    def chunk(self, observation: Observation, words: str) -> Floats:
        """Policy values ``[horizon, degrees]``, step k due k action periods after the observation.

        ``words`` is the subgoal (or the instruction). Raises :class:`PolicyError` on a value that is not
        finite.
        """
        self.observe(observation)
        return self.act(observation, words)

    def observe(self, observation: Observation) -> None:
        """Encode the images and cache what both prompts share; :meth:`act` goes on from there."""
        self._encoder.observe(observation)

    def act(self, observation: Observation, words: str, guidance: Guidance | None = None) -> Floats:
        """As :meth:`chunk`, of an observation that :meth:`observe` took; its state may have changed.

        ``guidance`` pulls the chunk towards other values (real-time chunking). The noise follows from the
        policy's seed and ``observation.index``, so that a chunk is a function of its observation.
        """
        rng = np.random.default_rng((self._seed, observation.index))
        noise = rng.standard_normal(self._mask.shape, dtype=np.float32)
        self.prefill_text(observation, words, observed=True)
        pull = None if guidance is None else self._pull(observation, guidance)
        actions = self._denoise(noise, pull)
        require_finite(actions, "the action chunk", PolicyError, expected="finite actions")
        return physical(self._manifest, actions[:, self._slots], observation.state)

    def normalised_chunk(self, observation: Observation, words: str, noise: Floats32) -> Floats32:
        """Integrate ``noise [horizon, slots]`` to normalised actions ``[horizon, slots]``."""
        self.prefill(observation, words)
        return self._denoise(noise)

    def prefill(self, observation: Observation, words: str) -> None:
        """Encode the images and cache the prompt's keys/values."""
        self._encoder.encode_images(observation)
        self.prefill_text(observation, words)

    def prefill_text(self, observation: Observation, words: str, *, observed: bool = False) -> None:
        """Cache the prompt's keys/values and place the chunk behind it (:meth:`Encoder.prefill_action`)."""
        prompt = self._encoder.prefill_action(observation, words, observed=observed)
        steps = prompt.following + np.arange(self._manifest.horizon)
        self._action_positions = np.broadcast_to(steps, (3, len(steps)))

    def velocity(self, noisy: Floats32, time: float) -> Floats32:
        """Flow velocity ``[horizon, slots]`` after :meth:`prefill`."""
        return self._session.velocity(noisy, self._mask, time, self._action_positions)

    def _denoise(self, noise: Floats32, guidance: LoopGuidance | None = None) -> Floats32:
        return self._session.denoise(noise, self._mask, self._action_positions, self._grid, guidance)

    def _pull(self, observation: Observation, guidance: Guidance) -> LoopGuidance:
        """Guidance in the model's units and slots.

        Rotations that the policy might write otherwise are not guided: their components are no difference.
        """
        target, weights = np.zeros_like(self._mask), np.zeros_like(self._mask)
        offsets = model_values(self._manifest, guidance.target, observation.state)
        layout = self._manifest.embodiment.action
        target[:, self._slots] = layout.normalize(offsets)
        weights[:, self._slots] = np.where(ambiguous(layout, offsets), 0.0, guidance.weights[:, None])
        return LoopGuidance(target, weights, guidance.max_weight, guidance.jacobian)
