"""The action head: state and noisy actions in, velocities out, and the grid of times between them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tests.golden.second_implementation.layers import silu
from tests.golden.second_implementation.weights import Floats


def time_grid(steps: int, config: Mapping[str, Any], later: bool) -> Floats:
    """Times [steps + 1]; the first family's are evenly spaced from 0 to 1."""
    times = np.linspace(0.0, 1.0, steps + 1)
    if not later:
        return times
    schedule = config["noise_scheduler"]
    shift = schedule.get("time_shift", 1.0)
    return schedule.get("s", 0.999) * shift * times / (1.0 + (shift - 1.0) * times)


class Head:
    """``action_preprocessor`` of one checkpoint; its width is action_proj_back's."""

    def __init__(self, tensors: Mapping[str, Floats], config: Mapping[str, Any]) -> None:
        self._tensors = {
            name.removeprefix("action_preprocessor."): value
            for name, value in tensors.items()
            if name.startswith("action_preprocessor.")
        }
        self._hidden: int = config["hidden_size"]
        self._masked: bool = config.get("proj_with_mask", True)
        self._adaptive: bool = config.get("use_adarms", False)
        self._predicts_action: bool = config.get("use_x_pred", False)
        self._width: int = self._tensors["action_proj_back.weight"].shape[1]

    def state(self, state: Floats, mask: Floats) -> Floats:
        """The embedding [tokens, hidden] that replaces the state token's."""
        e = self._with_mask(state, mask) @ self._tensors["propri_proj.weight"].T
        return np.pad(e, ((0, 0), (0, self._hidden - e.shape[1])))

    def embedding(self, x: Floats, mask: Floats, time: float) -> Floats:
        """Embeddings [horizon, hidden] of noisy actions at ``time``."""
        e = self._with_mask(x, mask) @ self._tensors["w1.weight"].T
        if not self._adaptive:
            wave = np.broadcast_to(self._wave(time), e.shape)
            e = (
                silu(np.concatenate([e, wave], axis=1) @ self._tensors["w2.weight"].T)
                @ self._tensors["w3.weight"].T
            )
        return np.pad(e, ((0, 0), (0, self._hidden - self._width)))

    def condition(self, time: float) -> Floats | None:
        """What adaptive norms depend on."""
        if not self._adaptive:
            return None
        return silu(self._linear("time_mlp_out", silu(self._linear("time_mlp_in", self._wave(time)))))

    def velocity(self, hidden: Floats, x: Floats, time: float) -> Floats:
        """From the final norm's output at the action tokens."""
        y = hidden[:, : self._width] @ self._tensors["action_proj_back.weight"].T
        return (y - x) / max(1.0 - time, 0.05) if self._predicts_action else y

    def _with_mask(self, values: Floats, mask: Floats) -> Floats:
        return np.concatenate([values, mask], axis=1) if self._masked else values

    def _linear(self, name: str, x: Floats) -> Floats:
        return x @ self._tensors[f"{name}.weight"].T + self._tensors[f"{name}.bias"]

    def _wave(self, time: float) -> Floats:
        half = self._width // 2
        angles = time * np.exp(-math.log(10000.0) / (half - 1) * np.arange(half))
        return np.concatenate([np.sin(angles), np.cos(angles)])
