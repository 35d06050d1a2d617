"""Bytes and operations of a bundle's graphs, whatever they were counted from.

A *use* is a graph with its sizes fixed, as it runs for one action chunk or one word. What lies between the
products of a graph is taken to stay on the chip, and element-wise work to cost nothing: counts are a floor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Arithmetic = Literal["fp32", "fp16", "bf16", "int8"]
"""What a matrix product is computed in; quantised weights alone change what is read, not this."""


@dataclass(frozen=True)
class Use:
    """One run of a graph.

    ``weight_bytes`` are those that the run reads, as they are stored, with their scales: of an embedding
    table the rows that are picked. ``traffic_bytes``: its inputs and outputs once, keys/values included.
    ``operations``: two a multiply-add of every matrix product, attention's included, by what computes it.
    """

    weight_bytes: int
    traffic_bytes: int
    operations: Mapping[Arithmetic, int]

    @property
    def bytes(self) -> int:
        """What has to cross the memory bus at least."""
        return self.weight_bytes + self.traffic_bytes


@dataclass(frozen=True)
class Workload:
    """All graphs of a policy. Sizes in bytes."""

    recipe: str
    prompt_tokens: int
    """Tokens of the prompt, the images' and the instruction's."""
    cameras: int
    uses: Mapping[str, Use]
    """``vision`` (all frames), ``prefix`` (the prompt), ``expert`` (one integration step behind the prompt),
    ``word`` (the prefix for one more token), ``lm_head`` (its logits); what the policy has of them."""
    stored_bytes: Mapping[str, int]
    """Of every graph's weights, whether a run reads them or not."""
    cache_token_bytes: int
    """Keys/values of one token."""
    hidden: int
    """Width of the decoder's hidden state."""
    activation_bytes: int
    """Of one value between products: 4 in float32, else 2."""
