"""``wall-edge clear``: a person has looked at an arm that faulted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wall_edge.config import load_robot
from wall_edge.errors import printable
from wall_edge.runtime.latch import clear_latch


def clear(robot: Annotated[Path, typer.Argument(help="ROBOT.yaml")]) -> None:
    """Clear the fault of a robot, so that 'wall-edge run' may power it again."""
    config = load_robot(robot)
    fault = clear_latch(config)
    done = f"cleared {fault}" if fault is not None else "no fault to clear"
    print(printable(f"{config.name}: {done}"))
