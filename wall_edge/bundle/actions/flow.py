"""Flow actions: noise is integrated to a chunk, a graph's run a step (WALL-OSS-FLOW, WALL-OSS-0.5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from wall_edge.bundle.actions.kind import COMMON_GRAPHS, ActionKind, GoldenShape
from wall_edge.bundle.graphs.specs import Graphs, GraphTensors, TensorSpec, axis_size
from wall_edge.bundle.time_grid import MAX_STEPS, TimeSchedule, check_grid
from wall_edge.checks import counted
from wall_edge.errors import ConfigError

_GUIDED = "guided"


@dataclass(frozen=True)
class FlowActions(ActionKind):
    """What their integration is made of. Raises :class:`Invalid` or :class:`ConfigError`."""

    time_grid: tuple[float, ...]
    """Times of the steps, from 0 (noise) to 1 (the action) or shortly before it."""
    time_schedule: TimeSchedule = TimeSchedule()  # noqa: RUF009 - frozen
    """What another number of integration steps makes a grid of."""
    kind: Literal["flow"] = "flow"

    title: ClassVar[str] = "flow"
    graphs: ClassVar[tuple[str, ...]] = (*COMMON_GRAPHS, "expert")
    optional_graphs: ClassVar[tuple[str, ...]] = (_GUIDED,)
    integrates: ClassVar[bool] = True
    stages: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "velocity": ("expert",),
        "guided_velocity": (_GUIDED,),
        "guidance": (_GUIDED,),
        "chunk": ("vision", "prefix", "expert"),
        "actions": ("vision", "prefix", "expert"),
    }

    def __post_init__(self) -> None:
        counted("time_grid", self.time_grid, 2, MAX_STEPS + 1)
        check_grid(self.time_grid)

    @property
    def integration_steps(self) -> int:
        return len(self.time_grid) - 1

    @property
    def integration(self) -> str:
        steps, schedule = self.integration_steps, self.time_schedule
        shifted = schedule.shift != 1 and self.time_grid == schedule.grid(steps)
        times = f"times 0 to {self.time_grid[-1]:g}" + (f", shifted by {schedule.shift:g}" if shifted else "")
        return f"{steps} Euler steps, {times}"

    def grid(self, steps: int | None) -> tuple[float, ...]:
        """Times of ``steps`` steps; the policy's own without a number."""
        return self.time_schedule.grid(steps) if steps else self.time_grid

    def slots(self, graphs: Graphs, dof: int) -> int:  # noqa: ARG002
        return int(graphs["expert"].inputs["noisy_action"].shape[1])

    def slot_bound(self, graphs: Graphs) -> int:
        return self.slots(graphs, 0)

    def tensors(self, graphs: Graphs, horizon: int, past: TensorSpec) -> GraphTensors:
        action = TensorSpec((horizon, axis_size(graphs, "expert", "noisy_action", 1, 2)), "float32")
        number = TensorSpec((), "float32")
        step = {
            "noisy_action": action,
            "dof_mask": action,
            "time": number,
            "step_size": number,
            "guidance_weight": number,
            "target": action,
            "weights": action,
            "positions": TensorSpec((3, horizon), "int64"),
            "past_kv": past,
        }
        tensors: GraphTensors = {
            "expert": (step, {"velocity": action, "next_action": action}),
            _GUIDED: (step, {"velocity": action, "guidance": action, "next_action": action}),
        }
        return {name: pair for name, pair in tensors.items() if name in graphs}

    def golden_shapes(self, graphs: Graphs, horizon: int, dof: int) -> dict[str, GoldenShape]:
        action = (horizon, self.slots(graphs, dof))
        shapes: dict[str, GoldenShape] = {
            "noise": ("f", action),
            "chunk": ("f", action),
            "actions": ("f", (horizon, dof)),
        }
        shapes |= dict.fromkeys(("noisy_actions", "velocities"), ("f", (self.integration_steps, *action)))
        if _GUIDED in graphs:
            shapes |= dict.fromkeys(("guidance_target", "guidance_weights", "guidance"), ("f", action))
        return shapes


def require_steps(kind: ActionKind | type[ActionKind], steps: int) -> None:
    """Raise :class:`ConfigError` for ``--steps`` where a chunk is not integrated."""
    if not kind.integrates:
        raise ConfigError(
            f"--steps {steps} for a {kind.title} policy",
            expected="a flow policy, which integrates",
            fix=f"leave it out: a {kind.title} chunk is words",
        )


def require_flow(actions: ActionKind, expected: str = "a flow policy", before: str = "") -> FlowActions:
    """Actions that must be integrated; else raises :class:`ConfigError`: what they are, behind ``before``."""
    if not isinstance(actions, FlowActions):
        raise ConfigError(f"{before}{actions.title} actions", expected=expected)
    return actions
