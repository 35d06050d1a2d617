"""Other programs on the simulated bus, unmodified: ``make test-peers``. Elsewhere nothing is collected."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Iterator

import pytest

collect_ignore_glob = [] if importlib.util.find_spec("lerobot") else ["test_*.py"]


class _StandIn(types.ModuleType):
    """A package that LeRobot's utilities import for functions which no test here calls."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = importlib.machinery.ModuleSpec(name, None)

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def _stand_in(package: str, *submodules: str) -> None:
    if importlib.util.find_spec(package) is None:
        for name in (package, *submodules):
            sys.modules[name] = _StandIn(name)


if not collect_ignore_glob:
    _stand_in("torch")
    _stand_in("accelerate")
    _stand_in("datasets", "datasets.utils", "datasets.utils.logging")
    _stand_in("draccus", "draccus.choice_types")


@pytest.fixture(autouse=True)
def the_twin_gets_its_turn() -> Iterator[None]:
    """Feetech's SDK polls without a pause, and the twin is a thread beside it."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    yield
    sys.setswitchinterval(before)
