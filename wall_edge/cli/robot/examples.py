"""The examples that come with a policy: which folder has the robot and its checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from wall_edge.errors import ConfigError

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
POLICIES: Mapping[str, str] = {"wall-oss": "", "wall-oss-0.5": "_05"}
"""The generations of policies (``bundle.FamilyName``), and what the names of their folders end in."""


def require_policy(policy: str) -> None:
    """Raise ConfigError for a generation that is none."""
    if policy not in POLICIES:
        raise ConfigError(f"policy {policy!r}", expected=" or ".join(POLICIES))


def example_folder(robot: str, policy: str) -> Path:
    """Folder of an example by its robot's name, ``two-handed``, and its policy's generation. The folder's own
    name, ``tabletop_05``, is the robot's too.

    Raises ConfigError for a generation that the robot has no policy of. What is no example at all is a folder
    that does not exist: :func:`require_example` says so.
    """
    name = robot.removesuffix(POLICIES[policy]).replace("_", "-")
    having = [each for each in POLICIES if name in _robots(each)]
    if having and policy not in having:
        raise ConfigError(
            f"{name} has no {policy} policy",
            expected=f"--policy {' or '.join(having)}",
            fix=f"robots with a {policy} policy: {', '.join(_robots(policy)) or 'none is here'}",
        )
    return EXAMPLES / f"{name.replace('-', '_')}{POLICIES[policy]}"


def require_example(path: Path) -> None:
    """A wheel does not have the examples, which the defaults are part of. Raises ConfigError."""
    if not path.exists():
        robots = sorted({robot for policy in POLICIES for robot in _robots(policy)})
        raise ConfigError(
            f"{path} does not exist",
            expected=f"a file, or one of the examples: {', '.join(robots) or 'none is here'}",
            fix="run it in a clone of the repository, or name --checkpoint and --robot",
        )


def _robots(policy: str) -> list[str]:
    """Names of the robots that come with a policy of this generation."""
    ending, others = POLICIES[policy], [each for each in POLICIES.values() if each]
    folders = sorted(path.parent.name for path in EXAMPLES.glob("*/checkpoint"))
    if not ending:
        folders = [name for name in folders if not name.endswith(tuple(others))]
    return [name.removesuffix(ending).replace("_", "-") for name in folders if name.endswith(ending)]
