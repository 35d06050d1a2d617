"""The model in float32 with its weights on disk: each layer's are read when it runs and dropped after."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from wall_edge_export.checkpoint.checkpoint import Checkpoint
from wall_edge_export.checkpoint.names import EMBEDDINGS, HEAD
from wall_edge_export.memory import give_back
from wall_edge_export.model.layers import RMSNorm
from wall_edge_export.model.vision import PatchEmbed
from wall_edge_export.model.wall import WallModel
from wall_edge_export.onnx.trace import hollow_model

_LEAVES = (nn.Linear, nn.Embedding, RMSNorm, PatchEmbed)
_KEPT = 1 << 28
"""Bytes of weights that are dropped before the system gets their memory back. glibc keeps what is smaller
than 32 MB for the next ones, between activations of all sizes: a vision tower of 32 layers left it 5 GB."""


def weight_reader(checkpoint: Checkpoint, head_rows: Sequence[int] | None = None) -> Callable[[str], Tensor]:
    """Tensors by name, as stored; the vocabulary head only has the rows ``head_rows``, when given."""

    def read(name: str) -> Tensor:
        if name != HEAD:
            return checkpoint.tensor(name)
        tied = checkpoint.shape.tied_embeddings and not checkpoint.has(name)
        head = checkpoint.tensor(EMBEDDINGS if tied else name)
        return head if head_rows is None else head[list(head_rows)]

    return read


class StreamingModel:
    """A :class:`WallModel` that never holds more than one layer's weights, unless told to."""

    def __init__(self, checkpoint: Checkpoint, head_rows: Sequence[int] | None = None) -> None:
        self.tensor = weight_reader(checkpoint, head_rows)
        rows = None if head_rows is None else len(head_rows)
        self.model: WallModel = hollow_model(checkpoint.shape, rows)
        self._holding = False
        self._dropped_bytes = 0
        self._loaded: dict[str, nn.Module] = {}
        for name, module in self.model.named_modules():
            if isinstance(module, _LEAVES):
                module.register_forward_pre_hook(self._loader(name))
                module.register_forward_hook(self._dropper(name))

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep what is read until the block ends: for many samples through one layer."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
            for name in list(self._loaded):
                self._drop(name)
            give_back()

    def _loader(self, name: str) -> Callable[..., None]:
        def load(module: nn.Module, _: Any) -> None:
            if name not in self._loaded:
                names = list(module.state_dict())
                state = {weight: self.tensor(f"{name}.{weight}").float() for weight in names}
                module.load_state_dict(state, assign=True)
                self._loaded[name] = module

        return load

    def _dropper(self, name: str) -> Callable[..., None]:
        def drop(module: nn.Module, _: Any, __: Tensor) -> None:
            if not self._holding:
                self._dropped_bytes += sum(w.numel() * w.element_size() for w in module.parameters())
                self._drop(name)
                if self._dropped_bytes > _KEPT:
                    give_back()
                    self._dropped_bytes = 0

        return drop

    def _drop(self, name: str) -> None:
        module = self._loaded.pop(name)
        hollow = {weight: t.new_zeros(()).expand(t.shape) for weight, t in module.state_dict().items()}
        module.load_state_dict(hollow, assign=True)
