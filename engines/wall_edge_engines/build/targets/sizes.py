"""The sizes of a policy that its memory depends on, whether it was exported yet or only counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from wall_edge.bundle import Bundle, kind_of_graphs, session_capacity
from wall_edge_engines.element_types import STORAGE
from wall_edge_engines.plan.workload import Workload

_HEAD_WIDTH = 128
"""Of an attention head, as in Qwen2.5-VL's decoder."""


@dataclass(frozen=True)
class PolicySizes:
    """Sizes in bytes, by graph where there are several; ``capacity`` and ``max_prompt_tokens`` in tokens."""

    weights: Mapping[str, int]
    max_prompt_tokens: int
    capacity: int
    """Of a session: the longest prompt and what is generated behind it."""
    token_bytes: int
    """Keys/values of one token."""
    hidden: int
    """Width of the decoder."""
    item_bytes: int
    """Of one value between products."""

    @classmethod
    def of_bundle(cls, bundle: Bundle) -> PolicySizes:
        """From the manifest, and the sizes of the files."""
        manifest = bundle.manifest
        prefix = manifest.graphs["prefix"].inputs
        item = STORAGE[prefix["past_kv"].dtype].itemsize
        token = item
        for size in prefix["past_kv"].shape[1:]:
            token *= int(size)
        return cls(
            weights={graph: graph_bytes(bundle, graph) for graph in manifest.graphs},
            max_prompt_tokens=manifest.max_prompt_tokens,
            capacity=session_capacity(manifest),
            token_bytes=token,
            hidden=int(prefix["image_embeds"].shape[1]),
            item_bytes=item,
        )

    @classmethod
    def of_workload(cls, workload: Workload, max_prompt_tokens: int) -> PolicySizes:
        """Of graphs that may not exist yet."""
        words = kind_of_graphs(workload.stored_bytes).generated_tokens
        return cls(
            weights=workload.stored_bytes,
            max_prompt_tokens=max_prompt_tokens,
            capacity=max_prompt_tokens + words,
            token_bytes=workload.cache_token_bytes,
            hidden=workload.hidden,
            item_bytes=workload.activation_bytes,
        )

    @property
    def activation_bytes(self) -> int:
        """A guess: the prefix's widest layer (gate, up and their product: 3 x 5.4 hidden sizes) for the
        longest prompt, half as much for four patches a token of the vision tower, and scores where attention
        is not fused, as in float32.
        """
        tokens, row = self.max_prompt_tokens, self.hidden * self.item_bytes
        heads = max(1, self.hidden // _HEAD_WIDTH)
        scores = 2 * heads * tokens * tokens * self.item_bytes if self.item_bytes == 4 else 0
        return 16 * tokens * row + 4 * tokens * 8 * row + scores


def graph_bytes(bundle: Bundle, graph: str) -> int:
    """A graph's weights in its files."""
    spec = bundle.manifest.graphs[graph]
    return sum(bundle.path(name).stat().st_size for name in (spec.file, spec.data))
