"""One observation's way through an engine: frames → prefix keys/values → words or actions.

The tensors between the graphs live on the engine's device: image tokens and one key/value cache
``[capacity, layers, 2, kv heads, head dim]`` that prompt and generated tokens fill from the front.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from wall_edge.array_types import Array, Floats32
from wall_edge.errors import EngineError
from wall_edge_engines.base import STEP_NUMBERS, Binding, DeviceTensor, Engine, Lane
from wall_edge_engines.loop import Guidance, Step, loop_steps

Ints = npt.NDArray[np.int64]
MAX_BINDINGS = 32
"""Bindings that a session keeps, least recently used first to go: every length of a prompt makes new ones."""


class ModelSession:
    """Buffers and bindings for one stream of observations; not thread-safe, the engine below it is.

    ``capacity`` is the largest number of prompt plus generated tokens; ``lane`` says who waits for it.
    """

    def __init__(self, engine: Engine, *, capacity: int, lane: Lane = "actions") -> None:
        self._engine, self._capacity, self._lane = engine, capacity, lane
        self._bindings: OrderedDict[tuple[Any, ...], Binding] = OrderedDict()
        self._buffers: dict[tuple[str, str], DeviceTensor] = {}
        kv = engine.graphs["prefix"].inputs["past_kv"]
        tail = tuple(int(size) for size in kv.shape[1:])
        self._cache = engine.tensor((capacity, *tail), kv.dtype)
        self._images = self._fixed("vision", "image_embeds")
        self._hidden = self._fixed("prefix", "hidden")
        self._stated: tuple[Floats32 | None, Floats32 | None] = (None, None)
        self.length = 0

    def encode_images(self, images: Mapping[str, Array]) -> None:
        """The vision graph's inputs by name (one frame a camera) → image tokens, kept on the device."""
        tensors = {name: self._fixed("vision", name) for name in self._engine.graphs["vision"].inputs}
        for name, tensor in tensors.items():
            tensor.write(images[name])
        self._run("vision", {**tensors, "image_embeds": self._images})

    def image_embeds(self) -> Array:
        """The image tokens ``[n, hidden]`` of the last :meth:`encode_images`."""
        return self._images.read()

    def set_image_embeds(self, tokens: Floats32) -> None:
        """Put image tokens ``[n, hidden]`` in place of the vision graph's, to check a stage by itself."""
        self._images.write(tokens)

    def prefill(
        self,
        ids: Ints,
        positions: Ints,
        state: Floats32 | None = None,
        state_mask: Floats32 | None = None,
        *,
        keep: int = 0,
    ) -> None:
        """Put prompt tokens ``ids [T]`` at ``positions [3, T]`` behind the first ``keep`` cached tokens.

        ``state, state_mask [slots]`` are what the state token takes, for prompts that hold one.
        """
        if not 0 <= keep <= self.length:
            raise EngineError(f"{keep} tokens to keep", expected=f"at most the {self.length} that are cached")
        stop = keep + len(ids)
        self._require(stop)
        self._stated = (state, state_mask)
        values: dict[str, Array] = {
            "input_ids": ids,
            "positions": positions,
            **self._state(state, state_mask),
            "mask": np.tri(len(ids), stop, keep, dtype=np.bool_),  # the past, itself, and what is before it
        }
        tensors = {name: self._input("prefix", name, array) for name, array in values.items()}
        tensors["image_embeds"], tensors["hidden"] = self._images, self._hidden
        tensors["past_kv"], tensors["kv"] = self._cache.rows(0, keep), self._cache.rows(keep, stop)
        self._run("prefix", tensors)
        self.length = stop

    def _state(self, state: Floats32 | None, mask: Floats32 | None) -> dict[str, Array]:
        """The graph's inputs of the state token: zeros for tokens that are none."""
        values = {"state": state, "state_mask": mask}
        inputs = self._engine.graphs["prefix"].inputs
        if state is not None and "state" not in inputs:
            raise EngineError("a state for a graph without a state token", expected="a prompt that spells it")
        return {
            name: np.zeros([int(size) for size in inputs[name].shape], np.float32) if array is None else array
            for name, array in values.items()
            if name in inputs
        }

    def fork(self, into: ModelSession) -> None:
        """Copy image tokens and what is cached, on the device, for another prompt to go on from it."""
        into._require(self.length)
        into._cache.rows(0, self.length).copy(self._cache.rows(0, self.length))
        into._images.copy(self._images)
        into.length = self.length

    def append(self, token: int, position: int) -> None:
        """Put one generated text token behind the cached ones; a state token takes the prompt's state."""
        positions = np.full((3, 1), position, dtype=np.int64)
        self.prefill(np.array([token], dtype=np.int64), positions, *self._stated, keep=self.length)

    def next_token(self) -> tuple[int, bool]:
        """The likeliest row of the vocabulary head after the last token that went in, chosen by the engine.

        The second value says whether all logits are finite.
        """
        outputs = self._head()
        return int(outputs["token"].read()[0]), bool(np.isfinite(outputs["logit_sum"].read()))

    def logits(self) -> Floats32:
        """Logits of the token after the last one that went in, one for each row of the vocabulary head."""
        return self._head()["logits"].read()

    def _head(self) -> dict[str, DeviceTensor]:
        outputs = {name: self._fixed("lm_head", name) for name in self._engine.graphs["lm_head"].outputs}
        self._run("lm_head", {"hidden": self._hidden, **outputs})
        return outputs

    def denoise(
        self,
        noise: Floats32,
        dof_mask: Floats32,
        positions: Ints,
        grid: Sequence[float],
        guidance: Guidance | None = None,
    ) -> Floats32:
        """Integrate ``noise [horizon, slots]`` along ``grid`` to actions, given the cached prefix.

        ``dof_mask [horizon, slots]``, ``positions [3, horizon]``: one operation of the engine.
        """
        jacobian = guidance is not None and guidance.jacobian
        steps = loop_steps(grid, guidance.max_weight if guidance is not None else 0.0)
        tensors = self._step("guided" if jacobian else "expert", noise, dof_mask, positions, guidance)
        self._run("guided" if jacobian else "expert", tensors, steps)
        return tensors["next_action"].read()

    def velocity(self, noisy: Floats32, dof_mask: Floats32, time: float, positions: Ints) -> Floats32:
        """Flow velocity ``[horizon, slots]`` of ``noisy`` at ``time``, given the cached prefix."""
        tensors = self._step("expert", noisy, dof_mask, positions, None)
        return self._at("expert", tensors, time)["velocity"].read()

    def guided_velocity(
        self, noisy: Floats32, dof_mask: Floats32, time: float, positions: Ints, guidance: Guidance
    ) -> tuple[Floats32, Floats32]:
        """As :meth:`velocity`, and the guidance of the graph ``guided``, both ``[horizon, slots]``."""
        tensors = self._at("guided", self._step("guided", noisy, dof_mask, positions, guidance), time)
        return tensors["velocity"].read(), tensors["guidance"].read()

    def _at(self, graph: str, tensors: dict[str, DeviceTensor], time: float) -> dict[str, DeviceTensor]:
        """Run one step's graph without taking the step."""
        for name, value in zip(STEP_NUMBERS, Step(time, 0.0, 0.0), strict=True):
            tensors[name].write(value)
        self._run(graph, tensors)
        return tensors

    def _step(
        self, graph: str, noisy: Floats32, dof_mask: Floats32, positions: Ints, guidance: Guidance | None
    ) -> dict[str, DeviceTensor]:
        """The tensors of one integration step behind the cached prefix; its numbers are not written yet."""
        if self.length == 0:
            raise EngineError("a velocity without a prefix", expected="prefill first")
        if graph not in self._engine.graphs:
            raise EngineError(
                f"guidance from a bundle without the graph {graph!r}",
                expected="a bundle with it",
                fix="export the bundle again with --guidance",
            )
        values: dict[str, Array] = {
            "noisy_action": noisy,
            "dof_mask": dof_mask,
            "positions": positions,
            "target": np.zeros_like(noisy) if guidance is None else guidance.target,
            "weights": np.zeros_like(noisy) if guidance is None else guidance.weights,
        }
        spec = self._engine.graphs[graph]
        tensors = {name: self._input(graph, name, array) for name, array in values.items()}
        tensors |= {name: self._fixed(graph, name) for name in (*STEP_NUMBERS, *spec.outputs)}
        return {**tensors, "past_kv": self._cache.rows(0, self.length)}

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
        return self._buffer(graph, name, tuple(int(size) for size in tensor.shape))

    def _input(self, graph: str, name: str, values: Array) -> DeviceTensor:
        buffer = self._buffer(graph, name, values.shape)
        buffer.write(values)
        return buffer

    def _buffer(self, graph: str, name: str, shape: tuple[int, ...]) -> DeviceTensor:
        """A view of the one buffer that a tensor has, which holds as many tokens as the cache."""
        if (graph, name) not in self._buffers:
            spec = self._engine.graphs[graph]
            tensor = {**spec.inputs, **spec.outputs}[name]
            sizes = [self._capacity if isinstance(axis, str) else axis for axis in tensor.shape]
            self._buffers[graph, name] = self._engine.tensor((math.prod(sizes),), tensor.dtype)
        return self._buffers[graph, name].view(shape)

    def _run(self, graph: str, tensors: dict[str, DeviceTensor], steps: tuple[Step, ...] = ()) -> None:
        """Bindings are made once a set of shapes and steps: tensors are the session's own buffers and cache.

        Two calls with the same shapes use the same memory, as a view of the cache is fixed by how many tokens
        are kept and added.
        """
        key = (graph, steps, *(tensors[name].shape for name in sorted(tensors)))
        binding = self._bindings.pop(key, None)
        if binding is None:
            if steps:
                binding = self._engine.bind_loop(graph, tensors, steps, self._lane)
            else:
                binding = self._engine.bind(graph, tensors, self._lane)
        self._bindings[key] = binding
        if len(self._bindings) > MAX_BINDINGS:
            self._bindings.popitem(last=False)
        binding.run()
