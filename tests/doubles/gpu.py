"""A GPU that is no GPU: what ``cuda.bindings.driver`` and ``tensorrt`` of the doubles work on."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence

from tests.doubles.gpu_memory import Memory, Range
from tests.doubles.gpu_streams import DEFAULT_STREAMS, Capture, Event, Executable, Operation, Stream
from tests.doubles.misuse import Misuse, Unread


class Gpu:
    """One device. ``computes``: whether graphs are computed, or only checked.

    ``misuses`` has all that was raised: what a destructor raises is lost otherwise.
    """

    current: Gpu

    def __init__(
        self, *, sm: int = 87, name: str = "Orin (double)", driver: int = 12060, count: int = 1
    ) -> None:
        self.sm, self.name, self.driver, self.count = sm, name, driver, count
        self.computes = True
        self.memory_bytes = 8 << 30
        self.lock = threading.RLock()
        self.unread = Unread()
        self.memory = Memory()
        self.calls: Counter[str] = Counter()
        self.misuses: list[Misuse] = []
        self.streams: dict[int, Stream] = {}
        self.events: dict[int, Event] = {}
        self.graphs: dict[int, Executable] = {}
        self.executables: dict[int, Executable] = {}
        self.contexts = 0
        self.entered: set[int] = set()
        self._handle = 0x1000

    def handle(self) -> int:
        """A number that no other object has."""
        self._handle += 0x10
        return self._handle

    def stream(self, handle: int) -> Stream:
        if handle in DEFAULT_STREAMS:
            raise Misuse("work on the default stream")
        if handle not in self.streams:
            raise Misuse(f"stream {handle:#x} is destroyed, or none")
        return self.streams[handle]

    def event(self, handle: int) -> Event:
        if handle not in self.events:
            raise Misuse(f"event {handle:#x} is destroyed, or none")
        return self.events[handle]

    def executable(self, handle: int) -> Executable:
        if handle not in self.executables:
            raise Misuse(f"graph {handle:#x} is destroyed, or none")
        return self.executables[handle]

    def synchronize(self, event: Event) -> None:
        """The host waits for an event, so for all that was ordered before it."""
        if event.stream is not None:
            event.stream.run_until(event.number)
            for stream, number in {**event.before, event.stream: event.number}.items():
                stream.synced = max(stream.synced, number)

    def begin_capture(self, stream: Stream) -> None:
        if stream.capture is not None:
            raise Misuse("a capture on a stream that captures")
        stream.capture = Capture(threading.get_ident())

    def require_context(self, call: str) -> None:
        """A context is current on this thread: without, CUDA fails and TensorRT takes the first GPU."""
        if threading.get_ident() not in self.entered:
            raise Misuse(f"{call} on a thread without a current context")

    def require_no_capture(self, call: str) -> None:
        """Of this thread: in thread-local mode others may allocate, free and wait meanwhile."""
        captures = (stream.capture for stream in self.streams.values())
        if any(capture and capture.thread == threading.get_ident() for capture in captures):
            raise Misuse(f"{call} during a capture")

    def instantiate(self, operations: Sequence[Operation]) -> int:
        executable, handle = Executable(list(operations)), self.handle()
        for range_ in (*executable.reads, *executable.writes):
            range_.allocation.executables.add(executable)
        self.executables[handle] = executable
        return handle

    def destroy(self, handle: int) -> None:
        executable = self.executable(handle)
        for range_ in (*executable.reads, *executable.writes):
            range_.allocation.executables.discard(executable)
        del self.executables[handle]

    def run_all(self) -> None:
        """What freeing memory waits for."""
        for stream in self.streams.values():
            stream.run_until(stream.enqueued)
            stream.synced = stream.enqueued

    def counts(self) -> dict[str, int]:
        """How many of everything live."""
        return {
            "allocations": len(self.memory.live(on_device=True)),
            "bytes": sum(len(allocation.data) for allocation in self.memory.live(on_device=True)),
            "host allocations": len(self.memory.live(on_device=False)),
            "streams": len(self.streams),
            "events": len(self.events),
            "graphs": len(self.graphs) + len(self.executables),
            "contexts": self.contexts,
        }


def device_range(gpu: Gpu, address: int, size: int, what: str) -> Range:
    return gpu.memory.range(address, size, on_device=True, what=what)


Gpu.current = Gpu()  # of a process that was started with the doubles on its path
