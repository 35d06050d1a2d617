"""A graph's execution context for one profile on one lane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from wall_edge.errors import EngineError
from wall_edge_engines.cuda.stream import Stream
from wall_edge_engines.cuda.tensor import DeviceBuffer
from wall_edge_engines.tensorrt.library import Library
from wall_edge_engines.tensorrt.plan import Plan, Shape


class Context:
    """Enqueues one graph. Every call's answer is checked: an engine can refuse, and leave zeros behind.

    Its activations are in ``memory``, which all contexts of a lane share: they run one after the other.
    """

    def __init__(
        self, library: Library, plan: Plan, profile: int, stream: Stream, memory: DeviceBuffer
    ) -> None:
        self.plan, self._log = plan, library.log
        self._shapes: dict[str, Shape] = {}
        strategy = library.module.ExecutionContextAllocationStrategy.USER_MANAGED
        self._context = plan.engine.create_execution_context(strategy)
        if self._context is None:
            self._refuse("create_execution_context", "close other programs: memory may be short")
        self._require(
            self._context.set_optimization_profile_async(profile, stream.number), f"profile {profile}"
        )
        stream.synchronize()
        self._context.set_device_memory(memory.address, memory.size)

    def enqueue(self, shapes: Mapping[str, Shape], addresses: Mapping[str, int], stream: Stream) -> None:
        """Run it on ``stream`` with inputs of these shapes, all tensors at these addresses."""
        for name in self.plan.dynamic:
            if self._shapes.get(name) != shapes[name]:
                self._require(
                    self._context.set_input_shape(name, shapes[name]), f"{name} {list(shapes[name])}"
                )
                self._shapes[name] = shapes[name]
        for name, address in addresses.items():
            self._require(self._context.set_tensor_address(name, address), f"the address of {name}")
        self._require(self._context.execute_async_v3(stream.number), "execute_async_v3")

    def _require(self, accepted: bool, what: str) -> None:
        if not accepted:
            self._refuse(what, "run wall-edge build again on this machine")

    def _refuse(self, what: str, fix: str) -> NoReturn:
        reason = self._log.error or "no reason given"
        raise EngineError(f"TensorRT refuses graph {self.plan.graph}, {what}: {reason}", fix=fix)
