"""``policy.scheduler`` in ROBOT.yaml: how chunks that take time to compute are joined into one motion.

One class a kind, which owns its settings, what it needs of a bundle, and whether a real arm may have it; what
it does is in ``wall_edge.runtime.policy.chunk_schedulers``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from wall_edge.bundle import Manifest, require_flow
from wall_edge.checks import between, positive
from wall_edge.config_loader import from_mapping
from wall_edge.errors import ConfigError


@dataclass(frozen=True)
class _Scheduler:
    """What all kinds have in common."""

    simulation_only: ClassVar[bool] = False
    waits: ClassVar[bool] = False
    """Whether the arm stands while a chunk is computed, so that none can be over before it arrives."""

    def require(self, manifest: Manifest) -> None:
        """Raise :class:`ConfigError` when a bundle lacks what this scheduler needs."""


@dataclass(frozen=True)
class SyncScheduler(_Scheduler):
    """Observe at a standstill, execute a part of the chunk, stop, observe again."""

    waits: ClassVar[bool] = True
    kind: Literal["sync"] = "sync"
    execute_steps: int | None = None
    """Steps of a chunk that are executed before the next observation; null for half of it."""

    def __post_init__(self) -> None:
        between("execute_steps", self.execute_steps, 2, 1024, "steps")


@dataclass(frozen=True)
class AsyncScheduler(_Scheduler):
    """Observe every period, enter the new chunk at the step that was executed meanwhile."""

    kind: Literal["async"] = "async"


@dataclass(frozen=True)
class EnsembleScheduler(_Scheduler):
    """As async; every step is the weighted mean of all predictions made for it."""

    kind: Literal["ensemble"] = "ensemble"
    decay: float = 0.01
    """How much faster each newer prediction fades in the average, m of exp(-m·i)."""

    def __post_init__(self) -> None:
        between("decay", self.decay, 0, 100)


@dataclass(frozen=True)
class RollforwardScheduler(_Scheduler):
    """As async, but the policy answers for the state at the time when its chunk will take over."""

    kind: Literal["rollforward"] = "rollforward"


@dataclass(frozen=True)
class RtcScheduler(_Scheduler):
    """As async, and the flow is guided to agree with what is about to be executed."""

    kind: Literal["rtc"] = "rtc"
    form: Literal["elementwise", "jacobian"] = "elementwise"
    """Guidance as is, or through the expert's Jacobian (a bundle exported with ``--guidance``)."""
    max_guidance: float = 5.0
    """Bound of the guidance weight, the paper's beta."""

    def __post_init__(self) -> None:
        positive("max_guidance", self.max_guidance, "", 1000)

    def require(self, manifest: Manifest) -> None:
        expected = "a flow policy, or another scheduler"
        require_flow(manifest.actions, expected, before="policy.scheduler rtc with ")
        if self.form == "jacobian" and "guided" not in manifest.graphs:
            raise ConfigError(
                "policy.scheduler rtc in the form jacobian with a bundle that has no guided graph",
                expected="form: elementwise, or a bundle with that graph",
                fix="export it again with --guidance",
            )


@dataclass(frozen=True)
class NaiveScheduler(_Scheduler):
    """A chunk begins at its first step whenever it arrives: the baseline that the others must beat."""

    simulation_only: ClassVar[bool] = True
    kind: Literal["naive"] = "naive"


SchedulerConfig = (
    SyncScheduler | AsyncScheduler | EnsembleScheduler | RollforwardScheduler | RtcScheduler | NaiveScheduler
)
SCHEDULERS: dict[str, type[SchedulerConfig]] = {cls.kind: cls for cls in get_args(SchedulerConfig)}
"""By kind, in the order of the documentation."""

_FLAT = {
    "execute_steps": ("sync", "execute_steps"),
    "ensemble_decay": ("ensemble", "decay"),
    "rtc_form": ("rtc", "form"),
    "rtc_max_guidance": ("rtc", "max_guidance"),
}


def nest_scheduler(document: Mapping[str, Any], where: str) -> dict[str, Any]:
    """ROBOT.yaml's data with the form of version 0.1, settings beside a name, brought into today's.

    ``policy: {scheduler: rtc, rtc_form: jacobian}`` → ``policy: {scheduler: {kind: rtc, form: jacobian}}``. A
    setting of a scheduler that is not the robot's is checked and has no effect. Raises :class:`ConfigError`
    for both forms at once; ``where`` (the file) begins the message.
    """
    policy = document.get("policy")
    flat = [key for key in _FLAT if isinstance(policy, Mapping) and key in policy]
    if not isinstance(policy, Mapping) or not flat:
        return dict(document)
    scheduler = policy.get("scheduler", AsyncScheduler.kind)
    if isinstance(scheduler, Mapping):
        kind, name = _FLAT[flat[0]]
        raise ConfigError(
            f"{where}: policy.{flat[0]} beside policy.scheduler, which has settings of its own",
            expected=f"policy.scheduler: {{kind: {kind}, {name}: …}}",
            fix=f"remove {flat[0]}",
        )
    settings = {}
    for key in flat:
        kind, name = _FLAT[key]
        from_mapping(SCHEDULERS[kind], {name: policy[key]}, f"{where}: policy.{key}")
        if kind == scheduler:
            settings[name] = policy[key]
    rest = {key: value for key, value in policy.items() if key not in _FLAT}
    nested = {"kind": scheduler, **settings} if settings else scheduler
    return {**document, "policy": {**rest, "scheduler": nested}}
