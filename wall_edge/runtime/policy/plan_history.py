"""What the body needs of the motion so far: where a chunk begins, what was planned and commanded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from wall_edge.array_types import Floats
from wall_edge.body.body import Body
from wall_edge.policies.observation import Guidance
from wall_edge.runtime.ipc.mailbox_types import ON_ARRIVAL
from wall_edge.runtime.policy.chunk_plan import ChunkRequest, Plan


class PlanHistory:
    """For chunks of ``horizon`` steps of ``dt_ns``; of one run of the arm."""

    def __init__(self, body: Body, horizon: int, dt_ns: int) -> None:
        self._body, self._horizon, self._dt_ns = body, horizon, dt_ns
        self._still: Floats | None = None
        """Where joints stood at the first chunk: those that no degree of freedom moves stay there. Anew at
        every chunk, an arm that sags under its weight would creep down."""
        self._commanded: Plan | None = None
        """The policy's values that were published last, at their times."""

    def begin_epoch(self) -> None:
        """A new instruction: nothing that was commanded before counts."""
        self._commanded = None

    def before(self, request: ChunkRequest, plan: Plan | None) -> tuple[Floats, Floats | None]:
        """Joints ``[dof]`` one step before the chunk, and what was planned for its steps ``[horizon, dof]``.

        Those measured and None where no plan is being executed.
        """
        if self._body.identity:
            return request.state, None
        start, previous, begin_ns = request.state, None, request.plan_start_ns
        if plan is not None and plan.start_ns != ON_ARRIVAL and begin_ns < plan.end_ns:
            start = plan.at(begin_ns - self._dt_ns)
            previous = plan.continued(self._times(request))
        if self._body.unmoved:
            self._still = request.state.copy() if self._still is None else self._still
            start = start.copy()
            start[self._body.unmoved] = self._still[self._body.unmoved]
        return start, previous

    def guidance(self, request: ChunkRequest) -> Guidance | None:
        """The request's, whose target are joint positions, in policy values."""
        guidance, commanded = request.guidance, self._commanded
        if guidance is None or self._body.identity:
            return guidance
        others = None if commanded is None else commanded.at(self._times(request))
        return replace(guidance, target=self._body.values(guidance.target, others))

    def published(self, request: ChunkRequest, values: Floats) -> None:
        """These policy values begin at the request's time."""
        self._commanded = Plan(request.plan_start_ns, self._dt_ns, values)

    def _times(self, request: ChunkRequest) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return request.plan_start_ns + np.arange(self._horizon) * self._dt_ns
