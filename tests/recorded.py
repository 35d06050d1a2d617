"""Recorded boards (tests/boards): machines made from their trees, and copies to change."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from wall_edge.board import Tree, read_facts
from wall_edge.config import load_robot
from wall_edge.doctor import Finding, Machine, Python, diagnose

BOARDS = Path(__file__).parent / "boards"
NAMES = tuple(sorted(path.name for path in BOARDS.iterdir() if path.is_dir()))
EXAMPLE = Path(__file__).parents[1] / "examples" / "so101" / "robot.yaml"
BY_ID = "/dev/serial/by-id/usb-1a86_USB_Single_Serial_5A68012345-if00"
BY_PATH = "/dev/v4l/by-path/platform-3610000.usb-usb-0:{}:1.0-video-index0"
PYTHON = Python((3, 10), "/opt/robot", ("/opt/robot/lib/python3.10/site-packages",))


def copied(board: str, folder: Path) -> Path:
    """A copy of a board's tree, links as links."""
    shutil.copytree(BOARDS / board, folder / board, symlinks=True)
    return folder / board


def change(root: Path, name: str, content: str | None) -> None:
    """A file of the tree: written, or removed; links are followed inside the tree."""
    path = Tree(root).path(name)
    if content is None:
        path.unlink()
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def link(root: Path, name: str, target: str) -> None:
    path = root / name.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def robot_file(folder: Path, *, port: str = BY_ID, **changes: object) -> Path:
    """A ROBOT.yaml as it should be: names that stay; ``changes`` by section are merged, cameras replaced.

    ``port``: of its drive, another.
    """
    data = yaml.safe_load(EXAMPLE.read_text())
    data["bundle"] = str(folder / "bundle")
    data["drives"]["arm"]["port"] = port
    for camera, port in zip(data["cameras"].values(), ("4.1", "4.2"), strict=True):
        camera["device"] = BY_PATH.format(port)
    for key, value in changes.items():
        merge = isinstance(value, dict) and key in data and key != "cameras"
        data[key] = {**data[key], **value} if merge else value
    (folder / "bundle").mkdir(exist_ok=True)
    path = folder / "ROBOT.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return path


def machine(root: Path, robot: Path | None = None, python: Python | None = None) -> Machine:
    """The machine of a tree, for its user ``robot``."""
    tree = Tree(root)
    config = None if robot is None else load_robot(robot)
    return Machine(tree, read_facts(tree), config, "robot", python=python, free_bytes=100_000_000_000)


def beside_kernel(subject: Machine) -> list[Finding]:
    """What doctor finds, but for the kernel that is no real-time kernel on most boards."""
    return [finding for finding in diagnose(subject).findings if finding.check != "realtime-kernel"]
