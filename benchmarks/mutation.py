"""Whether the tests notice faults in the motion core: ``python benchmarks/mutation.py`` (``make mutate``).

mutmut (https://mutmut.readthedocs.io) changes one operator, number, comparison, argument or word at a time in
the modules that stand between a policy and the motors and runs their unit tests against each change, in a
copy of the tree. Prints how many the tests noticed, and every one that they did not; exit code 1 below 90 %.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from wall_edge.provenance import provenance

ROOT = Path(__file__).parents[1]
MODULES = tuple(
    f"wall_edge/{name}.py" for name in ("braking", "runtime/limits", "runtime/splice", "runtime/schedule")
)
TESTS = tuple(
    f"tests/unit/test_{name}.py"
    for name in ("braking", "limits", "limits_campaign", "safety_mutants", "splice", "schedule")
)
LEAST = 0.9
NOTICED = ("killed", "timeout", "segfault")

# A mutant needs one failing example, not the smallest one, and the same examples as every other mutant.
_CONFTEST = """
from hypothesis import HealthCheck, Phase, settings
settings.register_profile(
    "mutation",
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),  # mutmut runs the tests again in the same process
)
settings.load_profile("mutation")

def pytest_collection_modifyitems(items):
    for item in items:  # a test's own max_examples outranks the profile's
        test = getattr(item.obj, "__func__", item.obj)
        own = getattr(test, "_hypothesis_internal_use_settings", None)
        if own is not None:
            test._hypothesis_internal_use_settings = settings(own, max_examples=min(20, own.max_examples))
"""


def _project(modules: Sequence[str]) -> str:
    return f"""
[tool.mutmut]
source_paths = ["wall_edge"]
only_mutate = {json.dumps(list(modules))}
also_copy = ["benchmarks"]
pytest_add_cli_args = ["-p", "no:cacheprovider"]
pytest_add_cli_args_test_selection = {json.dumps(TESTS)}
timeout_multiplier = 2.0
timeout_constant = 5.0
use_git_change_detection = false
use_setproctitle = false
"""


def prepare(folder: Path, modules: Sequence[str]) -> None:
    """A tree of the package and the tests concerned, with mutmut's settings."""
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("wall_edge", "benchmarks"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    (folder / "tests" / "unit").mkdir(parents=True)
    for test in TESTS:
        shutil.copy(ROOT / test, folder / test)
    (folder / "tests" / "conftest.py").write_text(_CONFTEST)
    (folder / "pyproject.toml").write_text(_project(modules))


def _mutmut(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "mutmut", *arguments]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if ran.returncode:
        sys.exit(f"mutmut {' '.join(arguments)} failed:\n{(ran.stdout + ran.stderr)[-4000:]}")
    return ran.stdout


def outcomes(folder: Path, jobs: int) -> dict[str, str]:
    """What became of each mutant, by name."""
    _mutmut(folder, "run", "--max-children", str(jobs))
    lines = re.findall(r"^\s+(\S+): (.+)$", _mutmut(folder, "results", "--all", "true"), re.MULTILINE)
    return dict(lines)


def survivor(folder: Path, name: str) -> str:
    """The change that no test noticed, as a diff of one line."""
    diff = _mutmut(folder, "show", name).splitlines()
    changed = [line for line in diff if re.match(r"[-+](?![-+])", line)]
    return "\n".join([f"  {name}", *(f"    {line}" for line in changed)])


def _by_module(found: dict[str, str]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {}
    for name, status in found.items():
        module = name.partition(".x")[0]
        counts.setdefault(module, Counter())[status] += 1
    return {module: dict(count) for module, count in sorted(counts.items())}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--module", action="append", choices=MODULES, help="repeatable; all without it")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutation-") as name:
        folder = Path(name)
        prepare(folder, given.module or MODULES)
        found = outcomes(folder, given.jobs)
        alive = sorted(name for name, status in found.items() if status not in NOTICED)
        survivors = [survivor(folder, name) for name in alive]
    score = 1 - len(alive) / len(found) if found else 0.0
    result = {
        "mutants": len(found),
        "noticed": len(found) - len(alive),
        "score": round(score, 4),
        "least": LEAST,
        "by_module": _by_module(found),
        "wall_s": round(time.monotonic() - begun),
        **provenance("mutmut", "pytest", "hypothesis"),
    }
    if given.json:
        print(json.dumps({**result, "survivors": survivors}))
    else:
        print("\n".join([*survivors, *(f"{name:12} {value}" for name, value in result.items())]))
    return 0 if score >= LEAST else 1


if __name__ == "__main__":
    sys.exit(main())
