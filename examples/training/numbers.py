"""Embeddings of the state's numbers: a smooth curve over the bins, so that near numbers read alike.

Each bin is its own token, and learning 256 of them apart takes far more samples than there are. So the rows
of the embedding table are kept on a curve of a few waves, which every sample of any bin shapes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from examples.training.tokenizer import number_word
from wall_edge.policies.prompt_text import PromptTokenizer

_WAVES = 24
_SCALE = 0.15
"""Standard deviation at the start: that of other words is small beside what the layers add, and the value
would drown."""


class NumberEmbeddings:
    """The rows of ``bins`` numbers in the table of embeddings."""

    def __init__(self, tokenizer: PromptTokenizer, bins: int) -> None:
        tokens = [tokenizer.encode(number_word(number)) for number in range(bins)]
        if any(len(ids) != 1 for ids in tokens):
            raise ValueError("a number of several tokens, expected one each")
        self._rows = torch.from_numpy(np.concatenate(tokens))
        # The cosine transform's basis (type 2), orthonormal over the bins.
        places = (torch.arange(bins).double() + 0.5) / bins
        waves = torch.cos(torch.pi * torch.arange(_WAVES).double() * places[:, None])
        self._waves = (waves / waves.norm(dim=0)).float()

    def initialise(self, table: nn.Embedding) -> None:
        """Random curves, slow waves first."""
        amplitudes = 1 / (1 + torch.arange(_WAVES) / 2)
        curves = self._waves @ (amplitudes[:, None] * torch.randn(_WAVES, table.embedding_dim))
        with torch.no_grad():
            table.weight[self._rows] = curves * (_SCALE / curves.std())

    def smooth(self, table: nn.Embedding) -> None:
        """Take the rows to the nearest curve, after a step of the optimiser."""
        with torch.no_grad():
            rows = table.weight[self._rows]
            table.weight[self._rows] = self._waves @ (self._waves.T @ rows)
