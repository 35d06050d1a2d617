"""``wall-edge init``: a ROBOT.yaml from what another program knows of a robot."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from wall_edge.checks import one_of, positive, require_title
from wall_edge.cli.output import write_new
from wall_edge.config_loader import Invalid
from wall_edge.errors import ConfigError, plural
from wall_edge.files import shown
from wall_edge.kinematics.urdf import read_urdf
from wall_edge.motors.lerobot.calibration import read_calibration, without_wheels
from wall_edge.motors.lerobot.document import Draft, gaps, spelt
from wall_edge.motors.lerobot.geometry import Geometry, compared
from wall_edge.motors.lerobot.joints import COUNTED, KINDS, JointPlan, plan_joint
from wall_edge.motors.lerobot.units import Units

_SIDES = ("left", "right")
_ONLY = "arm"
_UNITS = get_args(Units)


def init(
    from_lerobot: Annotated[
        list[Path],
        typer.Option(
            "--from-lerobot",
            help="LeRobot's calibration file; given twice: the left arm's, then the right's.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="The ROBOT.yaml to write.")],
    kind: Annotated[str, typer.Option(help=f"Its motors: {', '.join(KINDS)}.")] = "feetech",
    units: Annotated[
        str | None, typer.Option(help="What the policy's joints are in: degrees, or m100 for -100 to 100.")
    ] = None,
    port: Annotated[list[str] | None, typer.Option(help="Of each arm: its port or CAN channel.")] = None,
    urdf: Annotated[
        Path | None, typer.Option(help="The robot's URDF: names are compared, speeds taken.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The robot's; else the calibration file's.")] = None,
    max_velocity: Annotated[float | None, typer.Option(help="Of all joints at most [rad/s].")] = None,
    max_acceleration: Annotated[float | None, typer.Option(help="Of all joints [rad/s²].")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Write a ROBOT.yaml from LeRobot's calibration: joints, ranges and units; the rest are gaps.

    A gap is null, and loading the file ends at it by its name. Reads files alone: no motor is asked.
    """
    one_of("--kind", kind, KINDS)
    positive("--max-velocity", max_velocity, "rad/s", 1e3)
    positive("--max-acceleration", max_acceleration, "rad/s²", 1e5)
    buses, ports = _buses(from_lerobot, port or [])
    title = name if name is not None else re.sub("_left$", "", from_lerobot[0].stem)
    require_title("--name", title)
    policy_units, notes = _units(kind, units), []
    plans: dict[str, list[JointPlan]] = {}
    for bus, path in buses.items():
        plans[bus], remarks = _arm(kind, "" if bus == _ONLY else f"{bus}_", path, policy_units)
        notes += remarks
    geometry = _geometry(urdf, plans, out)
    draft = Draft(
        title,
        kind,
        [path.name for path in from_lerobot],
        ports,
        plans,
        geometry,
        {"max_velocity": max_velocity, "max_acceleration": max_acceleration},
    )
    write_new(out, spelt(draft), force=force)
    _tell(out, draft, [*notes, *(geometry.notes if geometry else [])])


def _buses(files: list[Path], ports: list[str]) -> tuple[dict[str, Path], dict[str, str | None]]:
    if len(files) > len(_SIDES):
        raise Invalid("--from-lerobot", len(files), expected="one file, or the left arm's and the right's")
    if len(ports) > len(files):
        raise Invalid("--port", ports, expected="as many as there are calibration files, at most")
    if len(files) == 2 and (files[0].stem.endswith("_right") or files[1].stem.endswith("_left")):
        names = ", ".join(shown(file) for file in files)
        raise ConfigError(
            f"--from-lerobot {names}", expected="the left arm's first", fix="change their order"
        )
    if len(set(map(os.path.realpath, files))) < len(files):
        raise Invalid("--from-lerobot", str(files[1]), expected="another file than the left arm's")
    buses = [_ONLY] if len(files) == 1 else list(_SIDES)
    places: list[str | None] = [*ports, *[None] * (len(files) - len(ports))]
    return dict(zip(buses, files, strict=True)), dict(zip(buses, places, strict=True))


def _units(kind: str, units: str | None) -> Units | None:
    """Of motors on CAN LeRobot has degrees alone; of others nothing in the file says which."""
    if kind not in COUNTED:
        if units not in (None, "degrees"):
            raise Invalid("--units", units, expected=f"degrees: LeRobot has nothing else for {kind}")
        return None
    if units is None:
        expected = "degrees (use_degrees: an SO-101 by default) or m100 (older data sets, Koch, OMX)"
        raise ConfigError("no --units", expected=expected, fix="say what the policy was trained with")
    for choice in _UNITS:
        if units == choice:
            return choice  # type: ignore[no-any-return]
    raise Invalid("--units", units, expected=" or ".join(_UNITS))


def _arm(kind: str, prefix: str, path: Path, units: Units | None) -> tuple[list[JointPlan], list[str]]:
    """Its joints, named as LeRobot names the features of an arm of two, and what is to be told of them."""
    motors, wheels = without_wheels(read_calibration(path))
    plans = [plan_joint(kind, f"{prefix}{name}", motor, units, shown(path)) for name, motor in motors.items()]
    names: dict[str, list[str]] = {}
    for plan in plans:
        names.setdefault(plan.note, []).append(plan.keys["name"])
    notes = [f"{', '.join(joints)}: {note}" for note, joints in names.items() if note]
    if wheels:
        notes.append(f"{', '.join(wheels)} left out: driven by speed, which is for a sink")
    if not plans:
        raise ConfigError(f"{shown(path)}: no motor that goes to positions", expected="an arm's calibration")
    return plans, notes


def _geometry(urdf: Path | None, plans: dict[str, list[JointPlan]], out: Path) -> Geometry | None:
    if urdf is None:
        return None
    names = [plan.keys["name"] for each in plans.values() for plan in each]
    return compared(names, read_urdf(urdf), os.path.relpath(urdf, out.parent))


def _tell(out: Path, draft: Draft, notes: list[str]) -> None:
    data: dict[str, Any] = draft.document()
    every = r"(?<=joints)\[\d+\]", "[*]"
    missing = [re.sub(r"(?<=kinematics\.joints\.)[^.]+", "*", re.sub(*every, gap)) for gap in gaps(data)]
    for note in notes:
        print(f"note: {note}")
    print(
        f"{out}: {plural(len(data['joints']), 'joint')}; to be filled in: {', '.join(dict.fromkeys(missing))}"
    )
