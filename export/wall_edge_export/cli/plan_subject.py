"""What ``wall-edge plan`` plans: a bundle, a checkpoint or a named shape, told apart by what is there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from wall_edge_engines.build.targets.sizes import PolicySizes
from wall_edge_engines.plan.report import Subject
from wall_edge_engines.plan.workload import Workload

from wall_edge.bundle import MANIFEST, ActionKind, Bundle
from wall_edge.config import RobotConfig
from wall_edge.errors import ConfigError
from wall_edge.files import shown
from wall_edge_export.checkpoint.hub import local_path, may_be_fetched

_CONFIG = "config.json"


@dataclass(frozen=True)
class Request:
    """What the command line asks for; None where it leaves it to the policy."""

    argument: str
    cameras: int | tuple[str, ...] | None = None
    prompt_tokens: int | None = None
    base: str | None = None


@dataclass(frozen=True)
class Policy:
    """A subject, and the numbers of its chunks."""

    subject: Subject
    kind: type[ActionKind]
    steps: int | None
    """Integration steps; None where actions are words."""
    horizon: int
    action_rate_hz: float


def open_policy(request: Request, robot: RobotConfig | None) -> Policy:
    """Raises :class:`ConfigError` for what is none of the three, and what opening it raises."""
    folder = local_path(request.argument)
    if (folder / MANIFEST).is_file():
        return _bundle(folder, request)
    return _source(request, robot)


def _bundle(folder: Path, request: Request) -> Policy:
    """Needs no torch."""
    from wall_edge_engines.plan.onnx_work import bundle_workload

    bundle = Bundle(folder)
    manifest = bundle.manifest
    asked, names = request.cameras, tuple(manifest.cameras)
    if asked not in (None, len(names)) and (isinstance(asked, int) or set(asked or ()) != set(names)):
        fix = "plan the checkpoint, or export it with other cameras"
        raise ConfigError("other cameras for a bundle", expected=f"its {shown(', '.join(names))}", fix=fix)
    subject = Subject(
        name=shown(folder),
        recipe=manifest.recipe,
        families=lambda _: {name: graph.families for name, graph in manifest.graphs.items()},
        workload=lambda _: bundle_workload(bundle, request.prompt_tokens),
        sizes=lambda _: PolicySizes.of_bundle(bundle),
    )
    return Policy(
        subject,
        type(manifest.actions),
        manifest.actions.integration_steps,
        manifest.horizon,
        manifest.action_rate_hz,
    )


def _source(request: Request, robot: RobotConfig | None) -> Policy:
    """A checkpoint or a shape. Its graphs' modules are run without weights, so it needs the exporter."""
    _require_source(request.argument)
    try:
        from wall_edge_export.plan.model_work import model_workload
        from wall_edge_export.plan.source import plan_source
        from wall_edge_export.quantize.precision import load_recipe
    except ImportError as error:
        raise ConfigError(
            f"plan needs {error.name} for what is no bundle",
            expected="the exporter's packages",
            fix="pip install 'wall-edge[export]'",
        ) from error
    source = plan_source(request.argument, request.cameras, robot, request.base)
    graphs = source.graph_inputs.graphs
    tokens = request.prompt_tokens or source.prompt_tokens

    @cache
    def workload(recipe: str) -> Workload:
        return model_workload(source.shape, source.graph_inputs, load_recipe(recipe), tokens)

    subject = Subject(
        name=shown(request.argument),
        recipe=None,
        families=lambda recipe: {graph: load_recipe(recipe).families(graph) for graph in graphs},
        workload=workload,
        sizes=lambda recipe: PolicySizes.of_workload(workload(recipe), max(tokens, source.max_prompt_tokens)),
    )
    kind = source.graph_inputs.actions
    steps = source.integration_steps if kind.integrates else None
    return Policy(subject, kind, steps, source.horizon, source.action_rate_hz)


def _require_source(argument: str) -> None:
    """Refuses what is no checkpoint and no shape, with all that there could be."""
    from wall_edge_export.reference.random_shapes import SHAPES

    folder = local_path(argument)
    if argument in SHAPES or (folder / _CONFIG).is_file() or may_be_fetched(argument):
        return
    checkpoint = f"a checkpoint (a folder with {_CONFIG}, or owner/name)"
    raise ConfigError(
        f"{shown(argument, 100)}: {'a folder without either' if folder.is_dir() else 'no such folder'}",
        expected=f"a bundle (a folder with {MANIFEST}), {checkpoint}, or a shape: {', '.join(SHAPES)}",
    )
