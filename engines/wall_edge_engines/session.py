"""One observation's way through an engine: images → prefix keys/values → text or velocity.

The tensors between the graphs live on the engine's device: image tokens and one key/value cache
``[capacity, layers, 2, kv heads, head dim]`` that prompt and generated tokens fill from the front.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from wall_edge.errors import EngineError

from .base import Array, Binding, DeviceTensor, Engine

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


class ModelSession:
    """Buffers and bindings for one stream of observations; not thread-safe, the engine below it is.

    ``capacity`` is the largest number of prompt plus generated tokens.
    """

    def __init__(self, engine: Engine, *, capacity: int) -> None:
        self._engine, self._capacity = engine, capacity
        self._bindings: dict[tuple[Any, ...], Binding] = {}
        self._host: dict[tuple[str, str, tuple[int, ...]], DeviceTensor] = {}
        kv = engine.graphs["prefix"].inputs["past_kv"]
        tail = tuple(int(size) for size in kv.shape[1:])
        self._cache = engine.tensor((capacity, *tail), kv.dtype)
        self._images = self._fixed("vision", "image_embeds")
        self.length = 0

    def encode_images(self, patches: Floats) -> None:
        """All cameras' patches ``[n, patch_dim]`` → image tokens, kept on the device."""
        tensors = {"patches": self._fixed("vision", "patches"), "image_embeds": self._images}
        tensors["patches"].write(patches)
        self._binding("vision", tensors).run()

    def image_embeds(self) -> Array:
        """The image tokens ``[n, hidden]`` of the last :meth:`encode_images`."""
        return self._images.read()

    def prefill(
        self, ids: Ints, positions: Ints, state: Floats, state_mask: Floats, *, keep: int = 0
    ) -> None:
        """Put prompt tokens ``ids [T]`` at ``positions [3, T]`` behind the first ``keep`` cached tokens."""
        if not 0 <= keep <= self.length:
            raise EngineError(f"{keep} tokens to keep", expected=f"at most the {self.length} that are cached")
        stop = keep + len(ids)
        self._require(stop)
        values: dict[str, Array] = {
            "input_ids": ids,
            "positions": positions,
            "state": state,
            "state_mask": state_mask,
        }
        tensors = {name: self._input("prefix", name, array) for name, array in values.items()}
        tensors["image_embeds"] = self._images
        tensors["past_kv"], tensors["kv"] = self._cache.rows(0, keep), self._cache.rows(keep, stop)
        self._binding("prefix", tensors).run()
        self.length = stop

    def decode(self, token: int, position: int) -> Floats:
        """Append one text token; returns the logits ``[vocab]`` of the token after it."""
        self._require(self.length + 1)
        ids = np.array([token], dtype=np.int64)
        values = {"input_ids": ids, "positions": np.full((3, 1), position, dtype=np.int64)}
        tensors = {name: self._input("text", name, array) for name, array in values.items()}
        tensors["logits"] = self._fixed("text", "logits")
        tensors["past_kv"] = self._cache.rows(0, self.length)
        tensors["kv"] = self._cache.rows(self.length, self.length + 1)
        self._binding("text", tensors).run()
        self.length += 1
        return tensors["logits"].read()

    def velocity(self, noisy: Floats, dof_mask: Floats, time: float, positions: Ints) -> Floats:
        """Flow velocity ``[horizon, dof]`` of ``noisy`` at ``time``, given the cached prefix."""
        if self.length == 0:
            raise EngineError("a velocity without a prefix", expected="prefill first")
        values: dict[str, Array] = {
            "noisy_action": noisy,
            "dof_mask": dof_mask,
            "time": np.array(time, dtype=np.float32),
            "positions": positions,
        }
        tensors = {name: self._input("expert", name, array) for name, array in values.items()}
        tensors["velocity"] = self._fixed("expert", "velocity")
        tensors["past_kv"] = self._cache.rows(0, self.length)
        self._binding("expert", tensors).run()
        return tensors["velocity"].read()

    def keys_values(self) -> Array:
        """The cached keys/values ``[length, layers, 2, kv heads, head dim]``."""
        return self._cache.rows(0, self.length).read()

    def _require(self, tokens: int) -> None:
        if tokens > self._capacity:
            raise EngineError(
                f"{tokens} tokens", expected=f"at most {self._capacity}", fix="shorten the instruction"
            )

    def _fixed(self, graph: str, name: str) -> DeviceTensor:
        """The session's buffer for a tensor whose shape the graph fixes."""
        spec = self._engine.graphs[graph]
        tensor = {**spec.inputs, **spec.outputs}[name]
        return self._buffer(graph, name, tuple(int(size) for size in tensor.shape), tensor.dtype)

    def _input(self, graph: str, name: str, values: npt.ArrayLike) -> DeviceTensor:
        array = np.asarray(values)
        buffer = self._buffer(graph, name, array.shape, self._engine.graphs[graph].inputs[name].dtype)
        buffer.write(array)
        return buffer

    def _buffer(self, graph: str, name: str, shape: tuple[int, ...], dtype: str) -> DeviceTensor:
        key = (graph, name, shape)
        if key not in self._host:
            self._host[key] = self._engine.tensor(shape, dtype)
        return self._host[key]

    def _binding(self, graph: str, tensors: dict[str, DeviceTensor]) -> Binding:
        """Bindings are made once a set of shapes: tensors are the session's own buffers and cache.

        Two calls with the same shapes use the same memory, as a view of the cache is fixed by how many tokens
        are kept and added.
        """
        key = (graph, *(tensor.shape for tensor in tensors.values()))
        if key not in self._bindings:
            self._bindings[key] = self._engine.bind(graph, tensors)
        return self._bindings[key]
