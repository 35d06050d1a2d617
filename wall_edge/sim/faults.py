"""Faults on demand: what can go wrong, how it is put into a virtual robot, and what must come of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from wall_edge_bridge.kinds.feetech.codec import build_write
from wall_edge_bridge.kinds.feetech.registers import RADIANS_PER_TICK, STS3215
from wall_edge_bridge.sim import SimulatedServo

from wall_edge.runtime.ipc.mailbox_types import Chunk, ServoCommand, ServoState
from wall_edge.sim.virtual import VirtualRobot

_BAD_FOR_NS = 300_000_000
"""How long chunks are bad; after that the policy is well again."""
_STALL_NS = 50_000_000
_LATE_TICKS = 8
"""More than a reply has lengths (``PendingReplies``): every length has come round when a late one arrives."""


@dataclass(frozen=True)
class Fault:
    """``inject`` puts it into a robot that follows chunks; ``noticed`` says when the robot has reacted.

    ``expected``: the state in which the robot must end up.
    """

    what: str
    inject: Callable[[VirtualRobot], None]
    noticed: Callable[[VirtualRobot], bool]
    expected: ServoState


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


def _silence_motors(robot: VirtualRobot) -> None:
    for servo_id in robot.drive.bus.servos:
        robot.drive.bus.silence(servo_id)


def _loosen_cable(robot: VirtualRobot) -> None:
    robot.drive.bus.silence(_servo(robot).id)


def _servo(robot: VirtualRobot) -> SimulatedServo:
    """The one that fails: of the joint that pans, as every task needs it."""
    return next(iter(robot.drive.bus.servos.values()))


def _lose_offset(radians: float) -> Callable[[VirtualRobot], None]:
    """The servo reports another position, and moves to where its goal is then."""

    def inject(robot: VirtualRobot) -> None:
        _servo(robot).set("homing_offset", -round(radians / RADIANS_PER_TICK))

    return inject


def _lose_torque(robot: VirtualRobot) -> None:
    _servo(robot).set("torque_enable", 0)


def _reboot_servo(robot: VirtualRobot) -> None:
    _servo(robot).reboot(robot.now)


def _another_program(robot: VirtualRobot) -> None:
    """It takes torque and lock off, as LeRobot's bus does when it connects and disconnects."""
    for name in ("torque_enable", "lock"):
        for servo_id in robot.drive.bus.servos:
            robot.drive.bus.intrude(build_write(servo_id, STS3215[name].address, b"\0"), robot.now)


def _narrow_limits(robot: VirtualRobot) -> None:
    """The servos' own: each stays within a degree of where it is."""
    for servo in robot.drive.bus.servos.values():
        servo.set("min_angle", round(servo.ticks) - 11)
        servo.set("max_angle", round(servo.ticks) + 11)


def _lose_force(robot: VirtualRobot) -> None:
    """Of all servos: some task hardly moves the joint that one of them belongs to."""
    for servo in robot.drive.bus.servos.values():
        servo.set("torque_limit", 0)


def _delay_replies(robot: VirtualRobot) -> None:
    robot.drive.bus.latency_ns = _LATE_TICKS * robot.loop.ticker.period_ns


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
    "feedback-stale": Fault("the motors fall silent", _silence_motors, _left_following, ServoState.FAULT),
    "feedback-impossible": Fault(
        "a joint is reported 2 rad away", _lose_offset(2.0), _left_following, ServoState.FAULT
    ),
    "feedback-late": Fault(
        "every reply comes 8 ticks late", _delay_replies, _left_following, ServoState.FAULT
    ),
    "joint-silent": Fault(
        "the cable of one servo is loose", _loosen_cable, _left_following, ServoState.FAULT
    ),
    "joint-jumped": Fault(
        "a servo loses its offset: 0.2 rad", _lose_offset(0.2), _left_following, ServoState.FAULT
    ),
    "force-lost": Fault("the servos follow no more", _lose_force, _left_following, ServoState.FAULT),
    "torque-lost": Fault("a servo lets go", _lose_torque, _left_following, ServoState.FAULT),
    "servo-rebooted": Fault(
        "a servo is silent for 150 ms, then without torque", _reboot_servo, _left_following, ServoState.FAULT
    ),
    "servo-limits": Fault(
        "the servos' own limits are narrower", _narrow_limits, _left_following, ServoState.FAULT
    ),
    "second-program": Fault(
        "another program takes the torque off", _another_program, _left_following, ServoState.FAULT
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
