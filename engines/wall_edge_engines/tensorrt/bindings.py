"""Graphs with their tensors fixed: run once, or captured as a loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wall_edge_engines.base import STEP_NUMBERS
from wall_edge_engines.cuda.device import ALIGNMENT
from wall_edge_engines.cuda.stream import CapturedWork, Stream
from wall_edge_engines.cuda.tensor import CudaTensor, DeviceBuffer
from wall_edge_engines.loop import Step
from wall_edge_engines.tensorrt.lane import TensorRtLane


class GraphBinding:
    """One graph at fixed addresses. A tensor at an address that TensorRT refuses goes through memory that is
    aligned, copied on the device."""

    def __init__(self, lane: TensorRtLane, graph: str, tensors: Mapping[str, CudaTensor]) -> None:
        self._lane, self._tensors = lane, tensors
        self._shapes = {name: tensor.shape for name, tensor in tensors.items()}
        self._context = lane.context(graph, self._shapes)
        self._copies = {
            name: lane.scratch(graph, name, "aligned")
            for name, tensor in tensors.items()
            if tensor.size and tensor.address % ALIGNMENT
        }
        self._addresses = {name: self._address(name) for name in tensors}

    def run(self) -> None:
        with self._lane.lock:
            self._take()
            self._copy_in(self._lane.stream)
            self._context.enqueue(self._shapes, self._addresses, self._lane.stream)
            self._copy_out(self._lane.stream)

    def _take(self) -> None:
        """Order the lane after whoever used a tensor before."""
        self._lane.stream.device.enter()
        for tensor in self._tensors.values():
            tensor.buffer.use_on(self._lane.stream)

    def _address(self, name: str) -> int:
        if name in self._copies:
            return self._copies[name].address
        tensor = self._tensors[name]
        return tensor.address if tensor.size else self._lane.nothing.address

    def _copy_in(self, stream: Stream) -> None:
        for name in self._context.plan.spec.inputs:
            if name in self._copies:
                _copy(
                    stream, self._copies[name].address, self._tensors[name].address, self._tensors[name].size
                )

    def _copy_out(self, stream: Stream) -> None:
        for name in self._context.plan.spec.outputs:
            if name in self._copies:
                _copy(
                    stream, self._tensors[name].address, self._copies[name].address, self._tensors[name].size
                )


class LoopBinding(GraphBinding):
    """A whole integration loop. The first run is not captured, as TensorRT prepares itself for the shapes
    then, which a capture does not allow; all others are one launch.

    Of each step the outputs are the next one's inputs: addresses alternate between ``next_action`` and a
    buffer of the lane, so that the last step writes ``next_action`` and ``noisy_action`` stays as it was.
    """

    def __init__(
        self, lane: TensorRtLane, graph: str, tensors: Mapping[str, CudaTensor], steps: Sequence[Step]
    ) -> None:
        super().__init__(lane, graph, tensors)
        self._schedule = lane.schedule(steps)
        other = lane.scratch(graph, "next_action", "other")
        self._steps = [self._step(number, len(steps), other) for number in range(len(steps))]
        self._captured: CapturedWork | None = None

    def run(self) -> None:
        lane = self._lane
        with lane.lock:
            self._take()
            self._schedule.buffer.use_on(lane.stream)
            if self._captured is not None:
                self._captured.launch(lane.stream)
            else:
                lane.recorder.wait_for(lane.stream)
                self._enqueue(lane.recorder)
                lane.recorder.synchronize()
                self._captured = CapturedWork(lane.recorder, lambda: self._enqueue(lane.recorder))
            lane.keep_captured(self)

    def forget(self) -> None:
        """Drop the captured work; the next run captures again."""
        self._captured = None

    def __del__(self) -> None:
        self._captured = None  # before the memory that it uses

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

    def _enqueue(self, stream: Stream) -> None:
        self._copy_in(stream)
        for addresses in self._steps:
            self._context.enqueue(self._shapes, addresses, stream)
        self._copy_out(stream)


def _copy(stream: Stream, target: int, source: int, size: int) -> None:
    stream.device.call("cuMemcpyDtoDAsync", target, source, size, stream.handle)
