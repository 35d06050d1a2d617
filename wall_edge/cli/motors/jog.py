"""``wall-edge motors jog``: one joint moved a little."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from wall_edge.cli.console import SafeConsole
from wall_edge.config import RobotConfig, load_robot
from wall_edge.errors import WallEdgeError
from wall_edge.motors.access import open_motors
from wall_edge.motors.jog import Jog, run_jog
from wall_edge.runtime.latch import require_unlatched
from wall_edge.runtime.servo import realtime
from wall_edge.runtime.servo.joints import Joints
from wall_edge.runtime.servo.timing import Ticker
from wall_edge.signals import INTERRUPTED, stop_flag, unhold


def jog(
    robot: Annotated[Path, typer.Argument(help="ROBOT.yaml")],
    joint: Annotated[str, typer.Argument(help="The joint's name.")],
    by: Annotated[float, typer.Option(help="How far, from where it stands [rad].")],
    velocity: Annotated[float, typer.Option(help="At most so fast [rad/s].")] = 0.2,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Power the arm where it stands, move one joint by some angle, then let the arm go limp again.

    Shows the limits that it will keep, and asks, before anything is powered. All limits of ROBOT.yaml hold.
    Ctrl-C brakes. Hold the arm: it goes limp at the end.
    """
    config = load_robot(robot)
    require_unlatched(config)
    # As the daemon's servo process; and simulated motors are not to wait for a processor either.
    realtime.apply(config.control.fifo_priority, None, lock_memory=False)
    with open_motors(config) as motors, stop_flag() as stop_requested:
        unhold()
        joints = Joints(config, lambda: motors.drives, time.monotonic_ns)
        joints.open()
        plan = Jog.planned(config, joint, joints.position, by, velocity)
        _show(config, plan)
        if not yes:
            typer.confirm("The arm is powered, then goes limp. Hold it. Move?", abort=True)
        joints.look(time.monotonic_ns())  # somebody may have taken long to say yes
        plan.require_still(joints.names, joints.position)
        try:
            for name, armed_s in joints.arm_watchdogs().items():
                none = ", ".join(("none", *filter(None, [joints.watchdog_notes.get(name)])))
                print(f"watchdog of {name}: " + (none if armed_s is None else f"{armed_s * 1e3:.0f} ms"))
            joints.enable()
            there = run_jog(config, joints, plan, stop_requested, Ticker(round(1e9 / config.control.rate_hz)))
        finally:
            _release(joints)
    print(f"{joint} from {plan.start[plan.index]:+.3f} to {there[plan.index]:+.3f} rad; the arm is limp")
    if stop_requested():
        print("interrupted: it braked before its goal", file=sys.stderr)
        raise typer.Exit(INTERRUPTED)


def _show(config: RobotConfig, plan: Jog) -> None:
    joint = config.joints[plan.index]
    SafeConsole().print(
        f"{joint.name} (drive {joint.drive}, id {joint.id}) stands at {plan.start[plan.index]:+.3f} rad "
        f"and goes to {plan.goal:+.3f} rad at {plan.velocity:g} rad/s at most; its limits: {joint.lower:g} "
        f"to {joint.upper:g} rad, {joint.max_velocity:g} rad/s, {joint.max_acceleration:g} rad/s², "
        f"{joint.max_jerk:g} rad/s³. "
        f"The other {config.dof - 1} joints hold where they are."
    )


def _release(joints: Joints) -> None:
    try:
        joints.disable()
    except WallEdgeError as error:
        raise type(error)(f"torque may still be on: {error}", fix="cut the arm's power") from None
