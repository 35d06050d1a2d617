"""One robot's map between a policy's values and its joints: units, poses, sinks, and what nobody follows.

The policy has degrees of freedom in units of their own, the motors have joints. Everything in between that
blends motions (schedulers, splices, guidance's targets) works on joint positions, so no rotation is ever
blended by its components.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from wall_edge.array_types import Floats
from wall_edge.body.arm import Arm
from wall_edge.body.entries import still_values
from wall_edge.body.match import commands_joints, require_match
from wall_edge.body.model import RobotModel
from wall_edge.body.poses import PoseColumns
from wall_edge.body.units import JointUnits
from wall_edge.body.workspace import Confinement, Path
from wall_edge.bundle import Layout, Manifest
from wall_edge.config import RobotConfig
from wall_edge.errors import ConfigError, PolicyError


@dataclass(frozen=True, eq=False)
class BodyChunk:
    """``positions [horizon, dof]`` in rad, and by name the values ``[horizon, n]`` that go to ``sinks``.

    ``solved``, ``nearest`` and ``held`` count steps over all poses: those at their pose, those as near as
    limits and speeds allow, and those held where the arm could still be; ``confined``: those that the
    workspace changed before.
    """

    positions: Floats
    sinks: dict[str, Floats] = field(default_factory=dict)
    solved: int = 0
    nearest: int = 0
    held: int = 0
    confined: int = 0
    elapsed_s: float = 0.0


class Body:
    """Made once; see :meth:`of`. One thread at a time."""

    def __init__(self, config: RobotConfig, manifest: Manifest, model: RobotModel | None) -> None:
        state, action = manifest.embodiment.state, manifest.embodiment.action
        self.dof, self._dt_s = config.dof, 1 / manifest.action_rate_hz
        self.model = model
        self.identity = commands_joints(config, manifest)
        """Whether policy values are joint positions: nothing is to do."""
        columns = {joint.name: i for i, joint in enumerate(config.joints)}
        embodiment = config.embodiment
        observed = {} if embodiment is None else embodiment.observed
        commanded = {} if embodiment is None else embodiment.action
        self._state_units = JointUnits.of(state, observed, columns, model)
        self._units = JointUnits.of(action, commanded, columns, model)
        self._still_state: Floats = np.array(still_values(observed, state))
        self._still_action = np.array(still_values(commanded, action))
        self._observed_poses = PoseColumns.all_of(state)
        self._arms = _arms(config, model, action)
        self._confinement = _confinement(config, model)
        self._sinks = {name: action.columns("sink", name) for name in _sinks(action)}
        moved = self._moved_by_one()
        self.unmoved = [i for i in range(config.dof) if i not in moved]
        """Joints that no degree of freedom moves."""

    @classmethod
    def of(cls, config: RobotConfig, manifest: Manifest) -> Body:
        """The body of a robot for a bundle's policy.

        Raises :class:`ConfigError` or :class:`KinematicsError`, in one line, where ROBOT.yaml, its URDF and
        the bundle do not describe one robot.
        """
        require_match(config, manifest)
        return cls(config, manifest, None if config.kinematics is None else RobotModel.of(config))

    def state(self, joints: Floats) -> Floats:
        """Policy values ``[degrees]`` of the state at joint positions ``[dof]``.

        What no joint moves is as ROBOT.yaml says; rotations as :meth:`PoseColumns.write` says.
        """
        if self.identity:
            return joints
        values: Floats = self._still_state.copy()
        self._fill(values, joints, self._state_units, self._observed_poses)
        return values

    def values(self, positions: Floats, others: Floats | None = None) -> Floats:
        """Policy values ``[horizon, degrees]`` of the actions that joint positions ``[horizon, dof]`` are.

        What no joint moves is as in ``others [horizon, degrees]``; without, as ROBOT.yaml says.
        """
        if self.identity:
            return positions
        values = np.empty((len(positions), len(self._still_action)))
        values[:] = self._still_action if others is None else others
        self._fill(values, positions, self._units, [arm.columns for arm in self._arms])
        return values

    def joints(self, values: Floats, start: Floats, previous: Floats | None = None) -> BodyChunk:
        """The joint positions that a chunk of policy values ``[horizon, degrees]`` asks for.

        ``start [dof]``: the joints one step before the first; those that no degree of freedom moves stay
        there. ``previous [horizon, dof]``: what was planned for the same steps, where a chunk went before:
        it keeps arms in the branch that they are in.
        Raises :class:`PolicyError` for what no arm should try: values that are not finite, numbers that are
        no rotation, poses far beyond anything that the arm could reach.
        """
        if not np.isfinite(values).all():
            raise PolicyError("the action chunk holds values that are not finite", expected="finite actions")
        if self.identity:
            return BodyChunk(values)
        begun = perf_counter()
        positions = np.repeat(np.asarray(start, np.float64)[None], len(values), axis=0)
        positions[:, self._units.joints] = self._units.positions(values)
        poses, confined = self._poses(values, start, previous)
        chunks = []
        for arm in self._arms:
            chunk = arm.follow(poses[arm.chain.name], start, self._dt_s, previous)
            positions[:, arm.chain.columns] = chunk.positions
            chunks.append(chunk)
        if not np.isfinite(positions).all():
            raise PolicyError(
                "the action chunk asks for joints that are not finite", expected="finite actions"
            )
        return BodyChunk(
            positions,
            {name: values[:, columns].copy() for name, columns in self._sinks.items()},
            sum(chunk.solved for chunk in chunks),
            sum(chunk.nearest for chunk in chunks),
            sum(chunk.held for chunk in chunks),
            confined,
            perf_counter() - begun,
        )

    def _poses(self, values: Floats, start: Floats, previous: Floats | None) -> tuple[dict[str, Path], int]:
        """The poses of each arm, inside the workspace, and how many steps had to be brought there."""
        poses = {arm.chain.name: arm.poses(values, start, previous) for arm in self._arms}
        if self._confinement is None:
            return poses, 0
        assert self.model is not None
        tips = {name: chain.forward(start)[0] for name, chain in self.model.chains.items()}
        return self._confinement.confine(poses, tips, self._dt_s)

    def _fill(self, values: Floats, joints: Floats, units: JointUnits, poses: list[PoseColumns]) -> None:
        values[..., units.degrees] = units.values(joints)
        for columns in poses:
            assert self.model is not None
            columns.write(values, *self.model.chains[columns.pose].forward(joints))

    def _moved_by_one(self) -> set[int]:
        """The columns of joints that some degree moves. Raises :class:`ConfigError` for one that two move."""
        movers: dict[int, str] = {int(joint): "a joint's degree of freedom" for joint in self._units.joints}
        for arm in self._arms:
            for name, column in zip(arm.chain.chain.joints, arm.chain.columns, strict=True):
                if int(column) in movers:
                    raise ConfigError(
                        f"joint {name} is moved by pose {arm.chain.name} and by {movers[int(column)]}",
                        expected="one of them under embodiment.action",
                        fix="hold one of them (kind: held), or shorten the pose's chain",
                    )
                movers[int(column)] = f"pose {arm.chain.name}"
        return set(movers)


def _arms(config: RobotConfig, model: RobotModel | None, action: Layout) -> list[Arm]:
    poses = PoseColumns.all_of(action)
    if not poses:
        return []
    kinematics = config.kinematics
    assert model is not None
    assert kinematics is not None
    for pose in poses:
        if not pose.position:
            raise ConfigError(
                f"pose {pose.pose} has a rotation and no position among the actions",
                expected="both, or a position alone",
            )
    unreachable = config.policy.unreachable
    return [Arm(model.chains[pose.pose], pose, kinematics, unreachable) for pose in poses]


def _confinement(config: RobotConfig, model: RobotModel | None) -> Confinement | None:
    """None where nothing is to be kept anywhere."""
    if model is None or config.workspace is None:
        return None
    return Confinement.of(config, model)


def _sinks(action: Layout) -> Mapping[str, None]:
    return dict.fromkeys(degree.of for degree in action.degrees if degree.part == "sink")
