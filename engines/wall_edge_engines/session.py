"""One observation's way through an engine: frames → prefix keys/values → words or velocity.

The tensors between the graphs live on the engine's device: image tokens and one key/value cache
``[capacity, layers, 2, kv heads, head dim]`` that prompt and generated tokens fill from the front.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from wall_edge.errors import EngineError
from wall_edge_engines.base import Array, Binding, DeviceTensor, Engine

Ints = npt.NDArray[np.int64]
Floats32 = npt.NDArray[np.float32]


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
        self._hidden = self._fixed("prefix", "hidden")
        state = engine.graphs["prefix"].inputs["state"]
        self._no_state = np.zeros([int(size) for size in state.shape], dtype=state.dtype)
        self.length = 0

    def encode_images(self, images: Mapping[str, Array]) -> None:
        """The vision graph's inputs by name (one frame a camera) → image tokens, kept on the device."""
        tensors = {name: self._fixed("vision", name) for name in self._engine.graphs["vision"].inputs}
        for name, tensor in tensors.items():
            tensor.write(images[name])
        self._binding("vision", {**tensors, "image_embeds": self._images}).run()

    def image_embeds(self) -> Array:
        """The image tokens ``[n, hidden]`` of the last :meth:`encode_images`."""
        return self._images.read()

    def set_image_embeds(self, tokens: Floats32) -> None:
        """Put image tokens ``[n, hidden]`` in place of the vision graph's, to check a stage by itself."""
        self._images.write(tokens)

    def prefill(
        self, ids: Ints, positions: Ints, state: Floats32, state_mask: Floats32, *, keep: int = 0
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
        tensors["image_embeds"], tensors["hidden"] = self._images, self._hidden
        tensors["past_kv"], tensors["kv"] = self._cache.rows(0, keep), self._cache.rows(keep, stop)
        self._binding("prefix", tensors).run()
        self.length = stop

    def fork(self, into: ModelSession) -> None:
        """Copy what is cached, on the device, so that another prompt can go on from it in ``into``."""
        into._require(self.length)
        into._cache.rows(0, self.length).copy(self._cache.rows(0, self.length))
        into.length = self.length

    def append(self, token: int, position: int) -> None:
        """Put one generated text token behind the cached ones."""
        nothing = self._no_state
        positions = np.full((3, 1), position, dtype=np.int64)
        self.prefill(np.array([token], dtype=np.int64), positions, nothing, nothing, keep=self.length)

    def logits(self) -> Floats32:
        """Logits of the token after the last one that went in, one for each row of the vocabulary head."""
        tensors = {"hidden": self._hidden, "logits": self._fixed("lm_head", "logits")}
        self._binding("lm_head", tensors).run()
        return tensors["logits"].read()

    def velocity(self, noisy: Floats32, dof_mask: Floats32, time: float, positions: Ints) -> Floats32:
        """Flow velocity ``[horizon, dof]`` of ``noisy`` at ``time``, given the cached prefix."""
        return self._step("expert", noisy, dof_mask, time, positions)["velocity"]

    def guided_velocity(
        self,
        noisy: Floats32,
        dof_mask: Floats32,
        time: float,
        positions: Ints,
        target: Floats32,
        weights: Floats32,
    ) -> tuple[Floats32, Floats32]:
        """As :meth:`velocity`, and the guidance towards ``target`` by ``weights``, all ``[horizon, dof]``.

        The guidance is what real-time chunking adds to the velocity (arXiv 2506.07339, equation 2).
        """
        if "guided" not in self._engine.graphs:
            raise EngineError(
                "guidance from a bundle without the graph 'guided'",
                expected="a bundle with it",
                fix="export the bundle again with --guidance",
            )
        outputs = self._step("guided", noisy, dof_mask, time, positions, target=target, weights=weights)
        return outputs["velocity"], outputs["guidance"]

    def _step(
        self, graph: str, noisy: Floats32, dof_mask: Floats32, time: float, positions: Ints, **more: Floats32
    ) -> dict[str, Floats32]:
        """One integration step of ``graph`` behind the cached prefix: its outputs by name."""
        if self.length == 0:
            raise EngineError("a velocity without a prefix", expected="prefill first")
        values: dict[str, Array] = {
            "noisy_action": noisy,
            "dof_mask": dof_mask,
            "time": np.array(time, dtype=np.float32),
            "positions": positions,
            **more,
        }
        tensors = {name: self._input(graph, name, array) for name, array in values.items()}
        outputs = {name: self._fixed(graph, name) for name in self._engine.graphs[graph].outputs}
        self._binding(graph, {**tensors, **outputs, "past_kv": self._cache.rows(0, self.length)}).run()
        return {name: tensor.read() for name, tensor in outputs.items()}

    def set_keys_values(self, values: Floats32) -> None:
        """Put keys/values ``[length, layers, 2, kv heads, head dim]`` in place of the prefix graph's."""
        self._require(len(values))
        self._cache.rows(0, len(values)).write(values)
        self.length = len(values)

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
