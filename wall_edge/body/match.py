"""Whether ROBOT.yaml and a bundle's manifest mean the same by every slot of the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from wall_edge.body.entries import entry_of
from wall_edge.bundle import Degree, Layout, Manifest, Reference
from wall_edge.config import Entry, RobotConfig, expand
from wall_edge.errors import ConfigError

_FIX = "export the bundle for this robot with --robot"


def commands_joints(config: RobotConfig, manifest: Manifest) -> bool:
    """Whether a policy commands exactly the joints of ROBOT.yaml by their names, in order and in rad."""
    names = [joint.name for joint in config.joints]
    return all(
        [(d.part, d.of, d.unit) for d in layout.degrees] == [("joint", name, "rad") for name in names]
        for layout in (manifest.embodiment.state, manifest.embodiment.action)
    )


def require_match(config: RobotConfig, manifest: Manifest) -> None:
    """Raise :class:`ConfigError` where the bundle is another robot's, naming the first slot that differs.

    Or where it was exported with other settings than ROBOT.yaml's section ``model`` has by now.
    """
    _require_settings(config, manifest)
    embodiment, robot = config.embodiment, manifest.embodiment
    if embodiment is None:
        _require_joints(config, robot.action)
        _require_joints(config, robot.state)
        return
    sides = (("state", embodiment.observed, robot.state), ("action", embodiment.action, robot.action))
    for side, entries, layout in sides:
        degrees, rotations = expand(entries, [(d.name, d.slot) for d in layout.degrees], _reference(config))
        for mine, theirs in zip(degrees, layout.degrees, strict=True):
            if side == "state" or _left_open(config, entries, mine.name):
                mine = replace(mine, reference=theirs.reference)
            if mine != theirs:
                raise ConfigError(
                    f"embodiment: {side} slot {theirs.slot} ({theirs.name}) is {_words(mine)}",
                    expected=f"{_words(theirs)}, as in the bundle",
                    fix=_FIX,
                )
        for pose, form in layout.rotations.items():
            if rotations[pose] != form:
                raise ConfigError(
                    f"embodiment: the {side}'s rotation of {pose} is written as {rotations[pose]}",
                    expected=f"{form}, as in the bundle",
                    fix=_FIX,
                )
        _require_poses(config, manifest, layout)


def _require_settings(config: RobotConfig, manifest: Manifest) -> None:
    """What is corrected under ``model`` changes nothing before the next export."""
    if config.model is None:
        return
    text, action = manifest.state_text, manifest.embodiment.action.degrees[0]
    stored: dict[str, object] = {
        "horizon": manifest.horizon,
        "action_rate_hz": manifest.action_rate_hz,
        "integration_steps": manifest.actions.integration_steps,
        "state_bins": None if text is None else text.bins,
        "prompt_action_space": manifest.prompt_action_space,
    }
    if config.embodiment is None:  # which says these two entry by entry
        stored |= {"unit": action.unit, "action_reference": action.reference}
    for key, value in stored.items():
        asked = getattr(config.model, key)
        if value is not None and asked is not None and asked != value:
            fix = f"export the bundle again, or leave model.{key} out"
            raise ConfigError(f"model.{key} is {asked}", expected=f"{value}, as in the bundle", fix=fix)


def _left_open(config: RobotConfig, entries: Mapping[str, Entry], name: str) -> bool:
    """Whether ROBOT.yaml leaves to the checkpoint what a value is relative to."""
    entry, _ = entry_of(entries, name)
    asked = None if config.model is None else config.model.action_reference
    return asked is None and getattr(entry, "reference", None) is None


def _reference(config: RobotConfig) -> Reference:
    asked = None if config.model is None else config.model.action_reference
    return asked or "absolute"


def _require_joints(config: RobotConfig, layout: Layout) -> None:
    joints = tuple(joint.name for joint in config.joints)
    theirs = tuple(degree.of for degree in layout.degrees)
    if any(degree.part != "joint" for degree in layout.degrees):
        first = next(degree for degree in layout.degrees if degree.part != "joint")
        raise ConfigError(
            f"ROBOT.yaml has no embodiment, and the bundle's slot {first.slot} ({first.name}) is "
            f"{_words(first)}",
            expected="the section embodiment that it was exported with",
            fix=_FIX,
        )
    if joints != theirs:
        expected = f"the bundle's {', '.join(theirs)}, in this order"
        raise ConfigError(f"ROBOT.yaml's joints {', '.join(joints)}", expected=expected, fix=_FIX)


def _require_poses(config: RobotConfig, manifest: Manifest, layout: Layout) -> None:
    poses = {} if config.kinematics is None else config.kinematics.poses
    for name in dict.fromkeys(d.of for d in layout.degrees if d.part in ("position", "rotation")):
        theirs = manifest.embodiment.poses[name]
        if name not in poses:
            raise ConfigError(
                f"kinematics.poses has no {name}", expected=f"{theirs}, as in the bundle", fix="describe it"
            )
        if poses[name] != theirs:
            raise ConfigError(
                f"kinematics.poses.{name} is {poses[name]}", expected=f"{theirs}, as in the bundle", fix=_FIX
            )


def _words(degree: Degree) -> str:
    if degree.part == "held":
        return "held"
    what = f"{degree.part} of {degree.of}" if degree.part != "joint" else f"joint {degree.of}"
    which = f" [{degree.index}]" if degree.part != "joint" else ""
    reference = (
        "" if degree.reference == "absolute" else f", an offset from the {_REFERENCES[degree.reference]}"
    )
    return f"{what}{which} in {degree.unit}{reference}"


_REFERENCES = {"state": "state", "first": "chunk's first step"}
