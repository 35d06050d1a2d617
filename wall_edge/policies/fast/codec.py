"""FAST: an action chunk as a few dozen tokens (arXiv 2501.09747), the codec of ``wall-oss-fast``.

Normalised actions → DCT-II over time → times scale, rounded → one character a coefficient, lowest frequency
first → byte-level BPE; decoding goes back. Format: huggingface.co/physical-intelligence/fast, files
``processor_config.json`` and ``tokenizer.json``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from wall_edge.array_types import Floats, Floats32
from wall_edge.bundle import FastSettings
from wall_edge.bundle.actions.fast_settings import LAST_CODE
from wall_edge.bundle.tokenizer import load_tokenizer
from wall_edge.errors import BundleError, PolicyError, WallEdgeError

LARGEST_ACTION = 10.0
"""Normalised actions lie within ±1, or a few standard deviations; a chunk beyond this is no motion."""


class FastCodec:
    """FAST tokens ↔ normalised actions ``[horizon, dof]``.

    ``dof`` counts the live degrees of freedom: WALL-OSS tokenises the unmasked slots alone, in slot order
    (``replace_action_token`` of github.com/X-Square-Robot/wall-x). Ids are those of the FAST tokenizer: a
    model's token minus the id of ``<|action_token_0|>``.

    Raises ``error`` when ``tokenizer_path`` is missing or not the tokenizer of ``settings``.
    """

    def __init__(
        self,
        tokenizer_path: Path,
        settings: FastSettings,
        horizon: int,
        dof: int,
        error: type[WallEdgeError] = BundleError,
    ) -> None:
        self.path, self.settings, self._shape = tokenizer_path, settings, (horizon, dof)
        self._dct = dct_matrix(horizon)
        # The rows have length 1, so no coefficient of actions within ±a exceeds a * sqrt(horizon).
        largest = math.ceil(min(LARGEST_ACTION * math.sqrt(horizon) * settings.scale, LAST_CODE))
        self._lowest = max(settings.min_token, -largest)
        self._highest = min(largest, LAST_CODE + settings.min_token)
        self._tokenizer = _open(tokenizer_path, settings, error)
        self._vocabulary = frozenset(self._tokenizer.get_vocab(with_added_tokens=True).values())
        rest = chr(-settings.min_token) * (horizon * dof)
        if self._spelling(self._tokens(rest)) != rest:
            raise error(
                f"{tokenizer_path}: a chunk of zeros does not survive its tokens",
                expected="the byte-level BPE of a FAST processor",
            )

    def decode(self, ids: Sequence[int]) -> Floats32:
        """Normalised actions ``[horizon, dof]`` of FAST ids.

        Raises :class:`PolicyError` where the references return zeros, which are a motion: an unknown id, too
        few or too many characters, a coefficient that no sane chunk has.
        """
        text, (horizon, dof) = self._spelling(ids), self._shape
        if len(text) != horizon * dof:
            raise PolicyError(
                f"{len(ids)} FAST tokens spell {len(text)} characters",
                expected=f"{horizon * dof} ({horizon} steps of {dof} degrees of freedom)",
            )
        codes = np.array([ord(character) for character in text], dtype=np.int64).reshape(self._shape)
        coefficients = codes + self.settings.min_token
        self._require_sane(coefficients)
        actions: Floats32 = (self._dct.T @ (coefficients / self.settings.scale)).astype(np.float32)
        return actions

    def encode(self, actions: npt.NDArray[np.floating]) -> list[int]:
        """FAST ids of normalised actions ``[horizon, dof]``; a coefficient is rounded by at most 0.5 / scale.

        Raises :class:`PolicyError` for another shape, values that are not finite and coefficients that the
        tokenizer was not made for (the reference clamps those below ``min_token``).
        """
        if actions.shape != self._shape or not np.all(np.isfinite(actions)):
            raise PolicyError(
                f"actions of shape {list(actions.shape)}",
                expected=f"finite values of shape {list(self._shape)}",
            )
        coefficients = np.rint(self._dct @ actions.astype(np.float64) * self.settings.scale)
        self._require_sane(coefficients)
        codes = (coefficients - self.settings.min_token).astype(np.int64)
        text = "".join(map(chr, codes.ravel().tolist()))
        ids = self._tokens(text)
        if self._spelling(ids) != text:  # a byte without a token is dropped in silence
            raise PolicyError(
                "the FAST tokenizer cannot spell this chunk", expected="coefficients it was made for"
            )
        return ids

    def _spelling(self, ids: Sequence[int]) -> str:
        unknown = next((i for i in ids if i not in self._vocabulary), None)
        if unknown is not None:
            raise PolicyError(
                f"FAST id {unknown} is not in the vocabulary",
                expected=f"ids below {self.settings.vocab_size}",
            )
        text: str = self._tokenizer.decode([int(i) for i in ids], skip_special_tokens=False)
        return text

    def _tokens(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def _require_sane(self, coefficients: npt.NDArray[Any]) -> None:
        """Bytes that are no whole character decode to U+FFFD, which is above every bound."""
        outside = np.argwhere((coefficients < self._lowest) | (coefficients > self._highest))
        if len(outside):
            frequency, dof = outside[0].tolist()
            raise PolicyError(
                f"FAST coefficient {coefficients[frequency, dof]:.0f} at frequency {frequency}, "
                f"degree of freedom {dof}",
                expected=f"{self._lowest} to {self._highest}",
            )


def dct_matrix(length: int) -> Floats:
    """Orthonormal DCT-II ``[length, length]``: matrix @ signal = coefficients; its transpose is the inverse.

    Row k is ``sqrt((1 if k == 0 else 2) / n) * cos(pi * (2t + 1) * k / 2n)`` (Ahmed, Natarajan and Rao 1974).
    """
    k, t = np.arange(length)[:, None], np.arange(length)[None, :]
    matrix: Floats = np.sqrt(2 / length) * np.cos(np.pi * (2 * t + 1) * k / (2 * length))
    matrix[0] /= math.sqrt(2)
    return matrix


def _open(path: Path, settings: FastSettings, error: type[WallEdgeError]) -> Tokenizer:
    tokenizer = load_tokenizer(path, error)
    size = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1
    if size > settings.vocab_size:
        raise error(
            f"{path}: {size} tokens",
            expected=f"at most vocab_size {settings.vocab_size}",
            fix="take tokenizer.json and processor_config.json from the same FAST folder",
        )
    return tokenizer
