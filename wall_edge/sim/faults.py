"""Faults on demand: what can go wrong, how it is put into a virtual robot, and what must come of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from wall_edge_bridge.kinds import KINDS

from wall_edge.config import RobotConfig
from wall_edge.errors import ConfigError
from wall_edge.runtime.ipc.mailbox_types import Chunk, ServoCommand, ServoState
from wall_edge.sim import feetech_faults, motor_faults
from wall_edge.sim.virtual import VirtualRobot

_BAD_FOR_NS = 300_000_000
"""How long chunks are bad; after that the policy is well again."""
_STALL_NS = 50_000_000


@dataclass(frozen=True)
class Fault:
    """``inject`` puts it into a robot that follows chunks; ``noticed`` says when the robot has reacted.

    ``expected``: the state in which the robot must end up. ``kinds``: of drive, that can have it; empty: all.
    ``unseen``: kinds that cannot notice it.
    """

    what: str
    inject: Callable[[VirtualRobot], None]
    noticed: Callable[[VirtualRobot], bool]
    expected: ServoState
    kinds: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()

    def _others(self, config: RobotConfig) -> list[str]:
        return [
            name
            for name, settings in config.drives.items()
            if settings.kind in self.unseen or (self.kinds and settings.kind not in self.kinds)
        ]

    def fits(self, config: RobotConfig) -> bool:
        """Whether all drives of a robot can have it."""
        return not self._others(config)

    def require(self, config: RobotConfig, name: str) -> None:
        """Raises ConfigError for a robot with drives that cannot have it."""
        if others := self._others(config):
            drives = ", ".join(f"drives.{key} of kind {config.drives[key].kind}" for key in others)
            kinds = self.kinds or [kind for kind in KINDS if kind not in self.unseen]
            expected = f"drives of kind {' or '.join(kinds)} alone"
            raise ConfigError(f"fault {name} on {drives}", expected=expected)


def _left_following(robot: VirtualRobot) -> bool:
    return robot.loop.state is not ServoState.FOLLOWING


def _refused(robot: VirtualRobot) -> bool:
    return sum(robot.loop.pilot.track.refused.values()) > 0


def _chunks(change: Callable[[Chunk, VirtualRobot], Chunk]) -> Callable[[VirtualRobot], None]:
    """Damages every chunk for a while."""

    def inject(robot: VirtualRobot) -> None:
        until = robot.now + _BAD_FOR_NS + round(1e6 * robot.delays.chunk_ms)
        robot.tamper = lambda chunk: change(chunk, robot) if robot.now <= until else chunk

    return inject


def _with_nan(chunk: Chunk, _: VirtualRobot) -> Chunk:
    positions = chunk.positions.copy()
    positions[len(positions) // 2, 0] = np.nan
    return replace(chunk, positions=positions)


def _in_degrees(chunk: Chunk, _: VirtualRobot) -> Chunk:
    return replace(chunk, positions=np.degrees(chunk.positions))


def _empty(chunk: Chunk, _: VirtualRobot) -> Chunk:
    return replace(chunk, positions=chunk.positions[:0])


def _old(chunk: Chunk, robot: VirtualRobot) -> Chunk:
    age_ns = round(1e6 * robot.config.policy.max_chunk_age_ms) + 1
    return replace(chunk, observation_time_ns=robot.now - age_ns)


def _other_epoch(chunk: Chunk, _: VirtualRobot) -> Chunk:
    return replace(chunk, epoch=chunk.epoch - 1)


def _kill_policy(robot: VirtualRobot) -> None:
    robot.policy_alive = False


def _hang_policy(robot: VirtualRobot) -> None:
    robot.policy_hangs = True


def _slow_policy(robot: VirtualRobot) -> None:
    """Every answer takes longer than a chunk lasts, for a while."""
    manifest = robot.actions.manifest
    robot.extra_delay_ms = 1000 * manifest.horizon / manifest.action_rate_hz
    robot.at(robot.now + 4 * _BAD_FOR_NS, lambda: setattr(robot, "extra_delay_ms", 0.0))


def _freeze_camera(robot: VirtualRobot) -> None:
    """The first camera repeats its picture."""
    name = next(iter(robot.config.cameras))
    frozen: list[npt.NDArray[np.uint8]] = []

    def look(pictures: dict[str, npt.NDArray[np.uint8]]) -> dict[str, npt.NDArray[np.uint8]]:
        frozen[:] = frozen or [pictures[name]]
        return {**pictures, name: frozen[0]}

    robot.look = look


def _stall(robot: VirtualRobot) -> None:
    robot.now += _STALL_NS


def _corrupt_memory(robot: VirtualRobot) -> None:
    """Every slot of the chunk mailbox."""
    robot.chunks._bytes[:, 16:] ^= 0x5A


def _kill_supervisor(robot: VirtualRobot) -> None:
    robot.heart_beats = False


def _emergency_stop(robot: VirtualRobot) -> None:
    robot.intent = ServoCommand.EMERGENCY_STOP
    robot.beat()


def _any(_: VirtualRobot) -> bool:
    return True


FAULTS: dict[str, Fault] = {
    "policy-killed": Fault("the policy process dies", _kill_policy, _left_following, ServoState.RELEASED),
    "policy-hung": Fault("it answers no more", _hang_policy, _left_following, ServoState.FAULT),
    "policy-slow": Fault(
        "its answers take longer than a chunk lasts, for 1.2 s",
        _slow_policy,
        _left_following,
        ServoState.FOLLOWING,
    ),
    "chunk-nan": Fault("a chunk with a NaN", _chunks(_with_nan), _refused, ServoState.FOLLOWING),
    "chunk-units": Fault("a chunk in degrees", _chunks(_in_degrees), _refused, ServoState.FOLLOWING),
    "chunk-length": Fault("a chunk without steps", _chunks(_empty), _refused, ServoState.FOLLOWING),
    "chunk-old": Fault("a chunk past max_chunk_age_ms", _chunks(_old), _refused, ServoState.FOLLOWING),
    "chunk-epoch": Fault(
        "a chunk of another instruction", _chunks(_other_epoch), _refused, ServoState.FOLLOWING
    ),
    "camera-frozen": Fault(
        "a camera repeats its picture", _freeze_camera, _left_following, ServoState.RELEASED
    ),
    "feedback-stale": Fault(
        "the motors fall silent", motor_faults.silence_motors, _left_following, ServoState.FAULT
    ),
    "feedback-impossible": Fault(
        "a joint is reported 2 rad away", motor_faults.lose_offset(2.0), _left_following, ServoState.FAULT
    ),
    "feedback-late": Fault(
        "every reply comes 8 ticks late",
        motor_faults.delay_replies,
        _left_following,
        ServoState.FAULT,
        unseen=motor_faults.UNASKED,
    ),
    "joint-silent": Fault(
        "the cable of one motor is loose", motor_faults.loosen_cable, _left_following, ServoState.FAULT
    ),
    "joint-jumped": Fault(
        "a motor loses its offset: 0.2 rad", motor_faults.lose_offset(0.2), _left_following, ServoState.FAULT
    ),
    "force-lost": Fault(
        "the motors follow no more",
        feetech_faults.lose_force,
        _left_following,
        ServoState.FAULT,
        feetech_faults.KINDS,
    ),
    "torque-lost": Fault("a motor lets go", motor_faults.lose_torque, _left_following, ServoState.FAULT),
    "servo-rebooted": Fault(
        "a motor is silent for a moment, then without torque",
        motor_faults.reboot_motor,
        _left_following,
        ServoState.FAULT,
    ),
    "servo-limits": Fault(
        "the servos' own limits are narrower",
        feetech_faults.narrow_limits,
        _left_following,
        ServoState.FAULT,
        feetech_faults.KINDS,
    ),
    "second-program": Fault(
        "another program takes the torque off",
        feetech_faults.another_program,
        _left_following,
        ServoState.FAULT,
        feetech_faults.KINDS,
    ),
    "tick-overrun": Fault(
        "a tick takes 50 ms", _stall, lambda robot: robot.loop.ticker.skipped > 0, ServoState.FOLLOWING
    ),
    "memory-corrupted": Fault(
        "the chunk mailbox is overwritten", _corrupt_memory, _any, ServoState.FOLLOWING
    ),
    "supervisor-killed": Fault(
        "no heartbeat any more", _kill_supervisor, _left_following, ServoState.RELEASED
    ),
    "emergency-stop": Fault("a person stops the arm", _emergency_stop, _left_following, ServoState.FAULT),
}
"""Name → fault, as ``wall-edge eval --fault`` takes it."""
