"""The vision tower: patches of still images in merge order to one embedding per 2×2 patches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.golden.second_implementation.layers import attention, gelu, rotated, silu, unit_rms
from tests.golden.second_implementation.weights import Floats

_EPSILON = 1e-6


class Vision:
    """The tower of one checkpoint."""

    def __init__(self, tensors: Mapping[str, Floats], config: Mapping[str, Any]) -> None:
        self._tensors = tensors
        self._config = config["vision_config"]

    def embeds(self, pixels: Floats, grids: NDArray[np.int64]) -> Floats:
        """``pixels`` [patches, 1176], ``grids`` rows (1, height, width) in patches: [patches/4, hidden]."""
        image, row, column = _places(grids)
        angles = self._angles(row, column)
        cells = self._config["window_size"] // self._config["patch_size"] // 2 * 2
        same_image = image[:, None] == image[None]
        window = np.stack([row // cells, column // cells], axis=1)
        same_window = same_image & (window[:, None] == window[None]).all(axis=-1)
        x = pixels @ self._at("patch_embed.proj.weight").reshape(-1, pixels.shape[1]).T
        for block in range(self._config["depth"]):
            whole = block in self._config["fullatt_block_indexes"]
            x = self._block(x, f"blocks.{block}", angles, same_image if whole else same_window)
        x = unit_rms(x, _EPSILON) * self._at("merger.ln_q.weight")
        return self._linear("merger.mlp.2", gelu(self._linear("merger.mlp.0", x.reshape(len(x) // 4, -1))))

    def _block(self, x: Floats, name: str, angles: Floats, allowed: NDArray[np.bool_]) -> Floats:
        n = unit_rms(x, _EPSILON) * self._at(f"{name}.norm1.weight")
        qkv = self._linear(f"{name}.attn.qkv", n).reshape(len(x), 3, self._config["num_heads"], -1)
        mixed = attention(rotated(qkv[:, 0], angles), rotated(qkv[:, 1], angles), qkv[:, 2], allowed)
        x = x + self._linear(f"{name}.attn.proj", mixed)
        n = unit_rms(x, _EPSILON) * self._at(f"{name}.norm2.weight")
        if f"visual.{name}.mlp.gate_up_proj.weight" in self._tensors:
            gate, up = np.split(self._linear(f"{name}.mlp.gate_up_proj", n), 2, axis=1)
        else:
            gate = self._linear(f"{name}.mlp.gate_proj", n)
            up = self._linear(f"{name}.mlp.up_proj", n)
        return x + self._linear(f"{name}.mlp.down_proj", silu(gate) * up)

    def _angles(self, row: NDArray[np.int64], column: NDArray[np.int64]) -> Floats:
        half = self._config["hidden_size"] // self._config["num_heads"] // 2
        frequencies = 10000.0 ** -(np.arange(0, half, 2) / half)
        return np.concatenate([row[:, None] * frequencies, column[:, None] * frequencies], axis=1)

    def _at(self, name: str) -> Floats:
        return self._tensors[f"visual.{name}"]

    def _linear(self, name: str, x: Floats) -> Floats:
        return x @ self._at(f"{name}.weight").T + self._at(f"{name}.bias")


def _places(grids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Image, row and column of every patch, the four of a merged cell side by side."""
    places = [
        (image, 2 * i + di, 2 * j + dj)
        for image, (_, height, width) in enumerate(grids)
        for i in range(height // 2)
        for j in range(width // 2)
        for di in (0, 1)
        for dj in (0, 1)
    ]
    image, row, column = np.array(places, dtype=np.int64).T
    return image, row, column
