"""Drives on twins of every kind: fixtures of the contract suite."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import pytest
from wall_edge_bridge.kinds import KINDS

from tests.drive_cases.rig import Rig, load_case


def _cases() -> list[str]:
    variants = [
        f"{name}-{variant}"
        for name in KINDS
        for variant in getattr(importlib.import_module(f"tests.drive_cases.{name}"), "VARIANTS", ())
    ]
    return [*KINDS, *variants]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "drive_case" in metafunc.fixturenames:
        metafunc.parametrize("drive_case", _cases())


@pytest.fixture
def make_rig(drive_case: str) -> Callable[..., Rig]:
    """Motors at START without torque, and a drive that is not connected yet."""
    kind, case = load_case(drive_case)
    return lambda **options: Rig(kind, case, **options)


@pytest.fixture
def rig(make_rig: Callable[..., Rig]) -> Rig:
    """Connected and checked."""
    rig = make_rig()
    rig.drive.connect()
    rig.drive.check()
    return rig
