"""What calibration keeps of a linear layer's inputs: extremes, a fair sample of rows, the second moment."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wall_edge.array_types import Floats32
from wall_edge.errors import CheckpointError

_MOMENT_ROWS = 1024
"""Rows that are gathered before they enter the second moment: K × K is touched once for all of them."""
_SEED = 20221118


class LinearStatistics:
    """Streamed statistics of the inputs x ``[tokens, K]`` of one linear layer; ``name`` is for messages.

    ``channel_absmax [K]`` over all tokens; ``rows [≤ sample, K]``, a uniform sample of the tokens without
    replacement, the same however the tokens are split over updates; ``hessian [K, K]``, the mean of xᵀx, only
    where asked for. Memory: sample × K floats; with the second moment K × K more, and 1024 × K in passing.
    """

    def __init__(self, name: str, channels: int, *, sample: int = 256, hessian: bool = False) -> None:
        self.name = name
        self.count = 0
        self.channel_absmax: Floats32 = np.zeros(channels, np.float32)
        self.rows: Floats32 = np.empty((0, channels), np.float32)
        self._sample = sample
        self._tickets: npt.NDArray[np.float64] = np.empty(0)
        self._moment: Floats32 | None = np.zeros((channels, channels), np.float32) if hessian else None
        self._waiting: list[Floats32] = []
        self._entered = 0

    @property
    def absmax(self) -> float:
        """The largest magnitude of all inputs."""
        return float(self.channel_absmax.max(initial=0.0))

    @property
    def hessian(self) -> Floats32:
        """Mean of xᵀx over the tokens, [K, K]."""
        if self._moment is None:
            raise ValueError(f"statistics of {self.name} were begun without hessian=True")
        self._enter_moment(self._moment)
        return self._moment

    def update(self, x: npt.NDArray[np.floating]) -> None:
        """Take in ``x [..., K]``. Raises :class:`CheckpointError` when a value is not finite."""
        channels = len(self.channel_absmax)
        if x.ndim == 0 or x.shape[-1] != channels:
            raise CheckpointError(
                f"calibration of {self.name}: activations {x.shape}", expected=f"{channels} channels"
            )
        rows: Floats32 = x.reshape(-1, channels).astype(np.float32, copy=False)
        if not len(rows):
            return
        absmax = np.maximum(rows.max(0), -rows.min(0))
        if not np.isfinite(absmax).all():
            raise CheckpointError(
                f"calibration of {self.name}: activations are not finite",
                expected="finite numbers from finite weights",
                fix="check the calibration data and the checkpoint's weights",
            )
        self.channel_absmax = np.maximum(self.channel_absmax, absmax)
        self._draw(rows)
        self.count += len(rows)
        if self._moment is not None:
            self._waiting.append(rows.copy())
            if self.count - self._entered >= _MOMENT_ROWS:
                self._enter_moment(self._moment)

    def _draw(self, rows: Floats32) -> None:
        """Keep the tokens with the smallest tickets; a token's ticket follows from its number alone."""
        tickets = np.random.Generator(np.random.PCG64(_SEED).advance(self.count)).random(len(rows))
        near = np.sort(np.argsort(tickets)[: self._sample])
        tickets = np.concatenate([self._tickets, tickets[near]])
        kept = np.sort(np.argsort(tickets)[: self._sample])
        if len(kept) == len(self.rows) and kept[-1] < len(self.rows):
            return
        old, new = kept[kept < len(self.rows)], kept[kept >= len(self.rows)] - len(self.rows)
        self.rows = np.concatenate([self.rows[old], rows[near[new]]])
        self._tickets = tickets[kept]

    def _enter_moment(self, moment: Floats32) -> None:
        if not self._waiting:
            return
        rows = np.concatenate(self._waiting)
        self._waiting = []
        total = self._entered + len(rows)
        moment *= np.float32(self._entered / total)
        rows *= np.float32(total**-0.5)
        moment += rows.T @ rows
        self._entered = total
