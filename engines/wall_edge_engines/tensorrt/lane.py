"""A lane: one stream, the contexts of the graphs that run on it, and the memory that they share."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from wall_edge.errors import EngineError
from wall_edge_engines.base import STEP_NUMBERS
from wall_edge_engines.cuda.device import ALIGNMENT, Device
from wall_edge_engines.cuda.stream import Stream
from wall_edge_engines.cuda.tensor import CudaTensor, DeviceBuffer
from wall_edge_engines.loop import Step
from wall_edge_engines.tensorrt.context import Context
from wall_edge_engines.tensorrt.library import Library
from wall_edge_engines.tensorrt.plan import Plan

MAX_CAPTURED = 8
"""Captured loops of a lane: each has a context of its own, and takes some MB of the device's memory for
its thousands of kernels."""
MAX_SCHEDULES = 8
"""Step sequences whose numbers are on the device: with and without guidance, after a change of grid."""
Use = tuple[str, int]
"""A graph and one of its profiles."""


class Captures(Protocol):
    """What holds a captured loop and can forget it."""

    def forget(self) -> None: ...


class TensorRtLane:
    """Runs graphs one after the other; ``urgent`` work starts before that of other lanes.

    ``lock`` is held while something is enqueued: contexts are not thread-safe, sessions of several threads
    may share a lane.
    """

    def __init__(self, library: Library, device: Device, plans: Mapping[str, Plan], *, urgent: bool) -> None:
        self._library, self._plans = library, plans
        self.lock = threading.Lock()
        self.stream = Stream(device, urgent=urgent)
        self.recorder = Stream(device, urgent=urgent)
        """Loops are captured here, so that nothing else of the lane can get into a capture."""
        self.nothing = DeviceBuffer(self.stream, ALIGNMENT)
        """An address for empty tensors: TensorRT takes no null, and no address that is another tensor's."""
        size = max((plan.engine.device_memory_size_v2 for plan in plans.values()), default=0)
        self._activations = DeviceBuffer(self.stream, size)
        self._contexts: dict[Use, Context] = {}
        self._spare: dict[Use, list[Context]] = {}
        self._scratch: dict[tuple[str, str, str], DeviceBuffer] = {}
        self._schedules: OrderedDict[tuple[Step, ...], CudaTensor] = OrderedDict()
        self._captured: OrderedDict[weakref.ref[Captures], None] = OrderedDict()

    def plan(self, graph: str) -> Plan:
        """Raises :class:`EngineError` for a graph that does not run here."""
        if graph not in self._plans:
            raise EngineError(f"graph {graph} on this lane", expected=" or ".join(self._plans))
        return self._plans[graph]

    def use(self, graph: str, shapes: Mapping[str, tuple[int, ...]]) -> Use:
        """What takes inputs of these shapes. Raises :class:`EngineError`."""
        return graph, self.plan(graph).profile_of(shapes)

    def context(self, use: Use) -> Context:
        """The context of a use that all but captured loops share; ``lock`` is held."""
        if use not in self._contexts:
            self._contexts[use] = self._new_context(use)
        return self._contexts[use]

    def take(self, use: Use) -> Context:
        """A context that nothing else uses, until :meth:`give_back`; ``lock`` is held."""
        spare = self._spare.get(use)
        return spare.pop() if spare else self._new_context(use)

    def give_back(self, use: Use, context: Context) -> None:
        """Keep a context for the next who takes one; from any thread, also without ``lock``."""
        self._spare.setdefault(use, []).append(context)

    def _new_context(self, use: Use) -> Context:
        graph, profile = use
        return Context(self._library, self._plans[graph], profile, self.stream, self._activations)

    def scratch(self, graph: str, name: str, use: str) -> DeviceBuffer:
        """Memory beside a tensor's own, for any of its shapes: one a use, allocated once."""
        key = graph, name, use
        with self.lock:
            if key not in self._scratch:
                self._scratch[key] = DeviceBuffer(self.stream, self._plans[graph].largest(name))
        return self._scratch[key]

    def schedule(self, steps: Sequence[Step]) -> CudaTensor:
        """``[steps, 3, 64]``: of each row the first is a step's number, at an address that TensorRT takes."""
        key = tuple(steps)
        with self.lock:
            numbers = self._schedules.pop(key, None)
            if numbers is None:
                values = np.zeros((len(key), len(STEP_NUMBERS), ALIGNMENT // 4), dtype=np.float32)
                values[:, :, 0] = key
                numbers = CudaTensor.zeros(self.stream, values.shape, "float32")
                numbers.write(values)
            self._schedules[key] = numbers
            if len(self._schedules) > MAX_SCHEDULES:
                self._schedules.popitem(last=False)
        return numbers

    def keep_captured(self, loop: Captures) -> None:
        """Remember that ``loop`` was used; the one that was not for longest forgets its capture."""
        captured = self._captured  # not the lane, which would then wait for the garbage collector
        reference = weakref.ref(loop, lambda gone: captured.pop(gone, None))
        captured[reference] = None
        captured.move_to_end(reference)
        if len(captured) > MAX_CAPTURED:
            oldest = captured.popitem(last=False)[0]()
            if oldest is not None:
                oldest.forget()
