"""The engine contract: what every inference backend offers, whatever it runs on.

``load(bundle, settings) → Engine``; ``engine.tensor(...)`` allocates on the device; ``engine.bind(graph, …)``
fixes the tensors that a graph reads and writes; ``binding.run()`` computes; ``engine.bind_loop(…)`` makes one
operation of a whole integration loop. Keys/values stay where the engine put them: a graph's output tensor is
another graph's input tensor, without a copy through the host. Binding the same tensors again and again
allocates nothing after the first run.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from wall_edge.array_types import Array
from wall_edge.bundle import ElementType, GraphSpec
from wall_edge.checks import between, require_device
from wall_edge.errors import EngineError
from wall_edge_engines.element_types import to_storage
from wall_edge_engines.loop import Step

Lane = Literal["actions", "words"]
"""Who waits for a result: an engine with streams runs actions before the words of subgoals."""
STEP_NUMBERS = ("time", "step_size", "guidance_weight")
"""Inputs of a step's graph that change from step to step, in the order of :class:`Step`."""


@dataclass(frozen=True)
class EngineSettings:
    """Which engine runs where; ``policy.engine``, ``policy.device`` and ``policy.threads`` of ROBOT.yaml."""

    name: str = "onnxruntime"
    device: str = "cpu"
    """``cpu``, ``cuda`` or ``cuda:N``."""
    threads: int = 1
    """Workers, on a CPU."""

    def __post_init__(self) -> None:
        require_device("device", self.device)
        between("threads", self.threads, 1, 256)


class DeviceTensor(Protocol):
    """A contiguous array on the engine's device."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> ElementType: ...

    def rows(self, start: int, stop: int) -> DeviceTensor:
        """A view of the leading axis; no copy."""
        ...

    def view(self, shape: tuple[int, ...]) -> DeviceTensor:
        """Its first elements under another shape; no copy."""
        ...

    def write(self, values: npt.ArrayLike) -> None:
        """Copy host values of this shape in."""
        ...

    def copy(self, source: DeviceTensor) -> None:
        """Copy a tensor of the same engine, shape and type in, on the device."""
        ...

    def read(self) -> Array:
        """A host copy; half-precision values come as float32."""
        ...


Kind = TypeVar("Kind", bound=DeviceTensor)


def stored_values(values: npt.ArrayLike, tensor: DeviceTensor) -> Array:
    """Host values as ``tensor`` stores them; raises :class:`EngineError` for another shape or kind."""
    array = np.asarray(values)
    if array.shape != tensor.shape:
        raise EngineError(f"values of shape {list(array.shape)}", expected=f"{list(tensor.shape)}")
    try:
        return to_storage(array, tensor.dtype)
    except TypeError as error:
        raise EngineError(str(error), expected=tensor.dtype) from None


def like(target: Kind, source: DeviceTensor) -> Kind:
    """``source``, which may be copied to ``target``; raises :class:`EngineError` where it may not."""
    if not isinstance(source, type(target)) or (source.shape, source.dtype) != (target.shape, target.dtype):
        raise EngineError(
            f"a copy of a {type(source).__name__} {list(source.shape)} {source.dtype}",
            expected=f"a tensor of this engine, {list(target.shape)} {target.dtype}",
        )
    return source


def of_engine(graph: str, tensors: Mapping[str, DeviceTensor], kind: type[Kind]) -> dict[str, Kind]:
    """The tensors as the one class that an engine has; raises :class:`EngineError` for another's."""
    local = {name: tensor for name, tensor in tensors.items() if isinstance(tensor, kind)}
    if odd := sorted(set(tensors) - set(local)):
        raise EngineError(f"graph {graph}: tensor {', '.join(odd)}", expected="a tensor of this engine")
    return local


class Binding(Protocol):
    """A graph, or a loop of one, with its inputs and outputs fixed."""

    def run(self) -> None: ...


class Engine(ABC):
    """The graphs of one bundle, ready to run."""

    graphs: Mapping[str, GraphSpec]
    """With the types that this engine takes: one that widens half-precision tensors says float32."""
    description: str
    """What runs the graphs here, and what was chosen for this machine, in one line."""

    @abstractmethod
    def tensor(self, shape: tuple[int, ...], dtype: ElementType) -> DeviceTensor:
        """A zeroed tensor on the device."""

    @abstractmethod
    def _bind(self, graph: str, tensors: Mapping[str, DeviceTensor], lane: Lane) -> Binding:
        """Bind tensors that :meth:`bind` has checked."""

    def bind(self, graph: str, tensors: Mapping[str, DeviceTensor], lane: Lane = "actions") -> Binding:
        """Fix the inputs and outputs of ``graph`` by name.

        Raises :class:`EngineError` for an unknown graph, a missing or unknown tensor, a wrong type, and a
        shape that contradicts the graph or another tensor's size of the same dynamic axis.
        """
        self._check(graph, tensors)
        return self._bind(graph, tensors, lane)

    def bind_loop(
        self,
        graph: str,
        tensors: Mapping[str, DeviceTensor],
        steps: Sequence[Step],
        lane: Lane = "actions",
    ) -> Binding:
        """The graph of an integration step, to be run once a step as one operation.

        ``tensors`` as for :meth:`bind`. When it runs, the noise is in ``noisy_action``; afterwards the action
        is in ``next_action``, and ``noisy_action`` and :data:`STEP_NUMBERS` hold anything.
        """
        if not steps:
            raise EngineError("an integration loop of 0 steps", expected="at least 1")
        self._check(graph, tensors)
        return self._bind_loop(graph, tensors, steps, lane)

    def _bind_loop(
        self, graph: str, tensors: Mapping[str, DeviceTensor], steps: Sequence[Step], lane: Lane
    ) -> Binding:
        """Bind what :meth:`bind_loop` has checked; a loop on the host, for engines that have no better."""
        return _HostLoop(self._bind(graph, tensors, lane), tensors, steps)

    def close(self) -> None:  # noqa: B027 - most hold nothing that Python does not give back
        """Give back what the engine holds; nothing of it may be used afterwards."""

    def _check(self, graph: str, tensors: Mapping[str, DeviceTensor]) -> None:
        spec = self.graphs.get(graph)
        if spec is None:
            raise EngineError(f"graph {graph!r}", expected=f"one of {', '.join(self.graphs)}")
        tensor_specs = {**spec.inputs, **spec.outputs}
        if set(tensors) != set(tensor_specs):
            odd = sorted(set(tensors) ^ set(tensor_specs))
            raise EngineError(
                f"graph {graph}: tensors {', '.join(odd)}", expected=f"{', '.join(tensor_specs)}"
            )
        sizes: dict[str, int] = {}
        for name, tensor_spec in tensor_specs.items():
            tensor = tensors[name]
            if tensor.dtype != tensor_spec.dtype or not _fits(tensor.shape, tensor_spec.shape, sizes):
                raise EngineError(
                    f"graph {graph}: tensor {name} is {list(tensor.shape)} {tensor.dtype}",
                    expected=f"{list(tensor_spec.shape)} {tensor_spec.dtype}"
                    + (f" with {sizes}" if sizes else ""),
                )


def _fits(shape: tuple[int, ...], axes: tuple[int | str, ...], sizes: dict[str, int]) -> bool:
    if len(shape) != len(axes):
        return False
    return all(
        size == sizes.setdefault(axis, size) if isinstance(axis, str) else size == axis
        for size, axis in zip(shape, axes, strict=True)
    )


class _HostLoop:
    """A step's graph run again and again, its result copied to where the next one reads."""

    def __init__(self, step: Binding, tensors: Mapping[str, DeviceTensor], steps: Sequence[Step]) -> None:
        self._step, self._steps = step, steps
        self._numbers = [tensors[name] for name in STEP_NUMBERS]
        self._noisy, self._next = tensors["noisy_action"], tensors["next_action"]

    def run(self) -> None:
        for number, step in enumerate(self._steps):
            if number:
                self._noisy.copy(self._next)
            for tensor, value in zip(self._numbers, step, strict=True):
                tensor.write(value)
            self._step.run()
