"""Graphs with their tensors fixed: run once, or captured as a loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wall_edge_engines.base import STEP_NUMBERS
from wall_edge_engines.cuda.device import ALIGNMENT
from wall_edge_engines.cuda.stream import CapturedWork, Stream
from wall_edge_engines.cuda.tensor import CudaTensor, DeviceBuffer
from wall_edge_engines.loop import Step
from wall_edge_engines.tensorrt.context import Context
from wall_edge_engines.tensorrt.lane import TensorRtLane

Copy = tuple[int, int, int]
"""On the device: to an address, from an address, so many bytes."""


class GraphBinding:
    """One graph at fixed addresses.

    A tensor at an address that TensorRT refuses goes through memory that is aligned, copied on the device.
    """

    def __init__(self, lane: TensorRtLane, graph: str, tensors: Mapping[str, CudaTensor]) -> None:
        self._lane, self._tensors = lane, tensors
        self._shapes = {name: tensor.shape for name, tensor in tensors.items()}
        self._use = lane.use(graph, self._shapes)
        self._inputs = lane.plan(graph).spec.inputs
        self._copies_in: list[Copy] = []
        self._copies_out: list[Copy] = []
        self._addresses = {name: self._address(graph, name) for name in tensors}

    def run(self) -> None:
        with self._lane.lock:
            self._take()
            self._enqueue(self._lane.context(self._use), self._lane.stream)

    def _take(self) -> None:
        """Order the lane after whoever used a tensor before."""
        self._lane.stream.device.enter()
        for tensor in self._tensors.values():
            tensor.buffer.use_on(self._lane.stream)

    def _address(self, graph: str, name: str) -> int:
        """Where TensorRT finds a tensor."""
        tensor = self._tensors[name]
        if tensor.size == 0:
            return self._lane.nothing.address
        if tensor.address % ALIGNMENT == 0:
            return tensor.address
        aligned = self._lane.scratch(graph, name, "aligned").address
        if name in self._inputs:
            self._copies_in.append((aligned, tensor.address, tensor.size))
        else:
            self._copies_out.append((tensor.address, aligned, tensor.size))
        return aligned

    def _enqueue(self, context: Context, stream: Stream) -> None:
        _copy(self._copies_in, stream)
        for addresses in self._runs():
            context.enqueue(self._shapes, addresses, stream)
        _copy(self._copies_out, stream)

    def _runs(self) -> Sequence[Mapping[str, int]]:
        """The tensors' addresses of each run of the graph."""
        return [self._addresses]


class LoopBinding(GraphBinding):
    """A whole integration loop: its first run enqueues step by step, all others are one launch.

    In the first run TensorRT prepares itself for the shapes, which a capture does not allow. Of each step the
    outputs are the next one's inputs: addresses alternate between ``next_action`` and a buffer of the lane,
    so that the last step writes ``next_action`` and ``noisy_action`` stays as it was.

    While it is captured it has a context of its own: a graph is undefined once its context has taken other
    shapes (NVIDIA's "Best Practices", CUDA graphs: one context a captured graph, their memory shared).
    """

    _captured: CapturedWork | None = None
    _context: Context | None = None

    def __init__(
        self, lane: TensorRtLane, graph: str, tensors: Mapping[str, CudaTensor], steps: Sequence[Step]
    ) -> None:
        super().__init__(lane, graph, tensors)
        self._schedule = lane.schedule(steps)
        other = lane.scratch(graph, "next_action", "other")
        self._steps = [self._step(number, len(steps), other) for number in range(len(steps))]

    def run(self) -> None:
        lane = self._lane
        with lane.lock:
            self._take()
            lane.keep_captured(self)
            if self._captured is not None:
                self._captured.launch(lane.stream)
            else:
                self._captured = self._capture(lane)

    def forget(self) -> None:
        """Drop the captured work; the next run captures again."""
        self._captured = None  # before the memory that it uses, and before its context takes other shapes
        if self._context is not None:
            self._lane.give_back(self._use, self._context)
            self._context = None

    def __del__(self) -> None:
        self.forget()

    def _capture(self, lane: TensorRtLane) -> CapturedWork:
        """Run the loop step by step, then record it."""
        lane.stream.synchronize()  # a loop that still runs may have had the context
        context = self._context = self._context or lane.take(self._use)
        try:
            self._enqueue(context, lane.recorder)
        finally:
            lane.recorder.synchronize()  # after a failure too: nothing orders what the lane does next
        return CapturedWork(lane.recorder, lambda: self._enqueue(context, lane.recorder))

    def _step(self, number: int, steps: int, other: DeviceBuffer) -> dict[str, int]:
        """The addresses of one step."""
        last = self._addresses["next_action"]
        written = [last if (steps - 1 - step) % 2 == 0 else other.address for step in range(steps)]
        numbers = {
            name: self._schedule.address + (number * len(STEP_NUMBERS) + place) * ALIGNMENT
            for place, name in enumerate(STEP_NUMBERS)
        }
        noisy = self._addresses["noisy_action"] if number == 0 else written[number - 1]
        return {**self._addresses, **numbers, "noisy_action": noisy, "next_action": written[number]}

    def _runs(self) -> Sequence[Mapping[str, int]]:
        return self._steps


def _copy(copies: Sequence[Copy], stream: Stream) -> None:
    for target, source, size in copies:
        stream.device.call("cuMemcpyDtoDAsync", target, source, size, stream.handle)
