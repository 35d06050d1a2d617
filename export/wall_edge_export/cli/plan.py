"""``wall-edge plan``: what a policy will take on a device, before anything is exported or built."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from wall_edge_engines.build.targets.target import named_target, target_of, targets
from wall_edge_engines.cuda.driver import device_at_hand
from wall_edge_engines.plan.rates import RobotRates
from wall_edge_engines.plan.report import Device, Subject, make_plan

from wall_edge.bundle import MAX_STEPS, require_steps
from wall_edge.config import CameraConfig, ControlConfig, PolicyConfig, RobotConfig, load_robot
from wall_edge.errors import ConfigError, EngineError
from wall_edge.files import shown
from wall_edge_export.cli.plan_subject import Policy, Request, open_policy
from wall_edge_export.cli.plan_table import print_plan


def plan(
    policy: Annotated[
        str,
        typer.Argument(help="Bundle folder, checkpoint folder or Hub id, or a shape such as wall-oss-flow."),
    ],
    target: Annotated[
        str | None,
        typer.Option(help="A device's name or YAML file (wall-edge probe); without it, the GPU at hand."),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="A recipe's name or YAML file; without it, a bundle's or the recommended one."),
    ] = None,
    cameras: Annotated[
        str | None, typer.Option(help="How many of the policy's cameras, or names with commas between.")
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            help="Integration steps; ROBOT.yaml's or the policy's without it.", min=1, max=MAX_STEPS
        ),
    ] = None,
    prompt_tokens: Annotated[
        int | None, typer.Option(help="Tokens of the prompt, images and words.", min=1)
    ] = None,
    robot: Annotated[
        Path | None, typer.Option(help="ROBOT.yaml: whose rates must hold, and what a checkpoint lacks.")
    ] = None,
    base: Annotated[str | None, typer.Option(help="Base model of a LeRobot policy: folder or id.")] = None,
    swap_gib: Annotated[
        float, typer.Option(help="Swap that the device has for building engines [GiB].", min=0, max=1024)
    ] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Predict time and memory of a policy on a device, and recommend recipe and steps.

    Exit code 1 when it does not fit; the plan is printed first.
    """
    if precision == "auto":
        raise ConfigError("--precision auto", expected="a recipe, or no --precision for the recommended one")
    device = _device(target, swap_gib)
    config = load_robot(robot) if robot is not None else None
    opened = open_policy(Request(policy, _cameras(cameras), prompt_tokens, base), config)
    recipe = _recipe(precision, opened.subject)
    report = make_plan(opened.subject, device, _rates(opened, config), _steps(steps, opened, config), recipe)
    if as_json:
        print(json.dumps(report.as_dict()))
    else:
        print_plan(report, "ROBOT.yaml" if config is not None else "a robot of default settings")
    report.require_fits()


def _device(target: str | None, swap_gib: float) -> Device:
    swap = int(swap_gib * (1 << 30))
    if target is not None:
        wish = named_target(target)
        return Device(wish, wish.memory_bytes, swap)
    try:
        facts = device_at_hand()
    except EngineError as problem:
        raise EngineError(
            str(problem).partition("; ")[0],
            expected=f"a GPU at hand, or --target {', '.join(targets())} or a file of 'wall-edge probe'",
        ) from None
    return Device(target_of(facts), facts.memory_bytes, swap)


def _recipe(precision: str | None, subject: Subject) -> str | None:
    if precision is not None and subject.recipe not in (None, precision):
        fix = "plan the checkpoint, or leave --precision out"
        raise ConfigError(
            f"--precision {shown(precision)} for a bundle", expected=subject.recipe or "", fix=fix
        )
    return precision


def _steps(steps: int | None, policy: Policy, robot: RobotConfig | None) -> int | None:
    if steps is not None:
        require_steps(policy.kind, steps)
    if policy.steps is None:
        return None
    return steps or (robot.policy.integration_steps if robot is not None else None) or policy.steps


def _cameras(text: str | None) -> int | tuple[str, ...] | None:
    if text is None:
        return None
    if text.isdecimal():
        return int(text)
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise ConfigError(f"--cameras {text!r}", expected="a number, or names with commas between")
    return names


def _rates(policy: Policy, robot: RobotConfig | None) -> RobotRates:
    """What the robot asks for, with ROBOT.yaml's defaults where there is none."""
    settings = robot.policy if robot is not None else PolicyConfig()
    slowest = min((camera.rate_hz for camera in robot.cameras.values()), default=None) if robot else None
    control = robot.control if robot is not None else ControlConfig
    return RobotRates(
        horizon=policy.horizon,
        action_rate_hz=policy.action_rate_hz,
        scheduler=settings.scheduler.kind,
        waits=settings.scheduler.waits,
        execute_steps=getattr(settings.scheduler, "execute_steps", None),
        chunk_period_ms=settings.chunk_period_ms,
        max_chunk_age_ms=settings.max_chunk_age_ms,
        starved_fault_ms=control.starved_fault_ms,
        frame_ms=1000 / (slowest or CameraConfig.rate_hz),
    )
