"""The simulated moteus is as strict as the real one: each test names a trait of mjbots' firmware."""

from __future__ import annotations

import math

import numpy as np
import pytest
from wall_edge_bridge.kinds.moteus import MoteusJoint, MoteusSettings, codec
from wall_edge_bridge.kinds.moteus import registers as reg
from wall_edge_bridge.kinds.moteus.codec import FLOAT, INT8, INT16, INT32
from wall_edge_bridge.kinds.moteus.twin import MoteusTwin
from wall_edge_bridge.transport.base import Frame

MS = 1_000_000
QUERY = bytes.fromhex("11001f01130d")
JOINT = MoteusJoint(name="j1", id=1, lower=-3.0, upper=3.0, max_velocity=1.0)


class Box:
    """One motor, and who talks to it."""

    def __init__(self, position: float = 1.0) -> None:
        self.twin = MoteusTwin(MoteusSettings(), [JOINT], [position])
        self.motor = self.twin.motors[0]
        self.now = 0

    def ask(self, data: bytes, identifier: int = 0x8001) -> list[codec.Part]:
        frames = self.twin.handle(Frame(identifier, data, identifier > 0x7FF, True, True), self.now)
        assert all(frame.id == 0x100 and frame.fd for frame in frames)
        return [part for frame in frames for part in codec.parse(frame.data)]

    def wait(self, ms: float) -> None:
        self.now += round(ms * MS)
        self.twin.advance(self.now)

    def write(self, *parts: bytes) -> list[codec.Part]:
        return self.ask(b"".join(parts))

    def run(self, *parts: bytes, ms: float = 12) -> None:
        """Position mode, until the motor has prepared itself."""
        self.write(codec.write(INT8, reg.MODE, [10]), *parts)
        self.wait(ms)

    def value(self, register: int) -> float:
        [part] = self.ask(codec.read(FLOAT, register))
        return part.values[0]


def test_a_frame_without_the_bit_is_heard_and_not_answered() -> None:
    box = Box()
    assert box.ask(QUERY, 0x0001) == []
    assert box.ask(codec.write(INT8, reg.MODE, [10]), 0x0001) == []
    assert box.value(reg.MODE) in reg.PREPARING


def test_a_question_is_answered_to_the_source_that_asked_in_the_types_it_asked_for() -> None:
    box = Box()
    [frame] = box.twin.handle(Frame(0xA501, QUERY, True, True, True), 0)
    assert frame.id == 0x125
    assert not frame.extended
    assert frame.data[:2].hex() == "2100"
    assert len(frame.data) == 24
    assert frame.data.endswith(b"\x50\x50")
    far = MoteusTwin(
        MoteusSettings(), [MoteusJoint(name="j", id=9, lower=-1, upper=1, max_velocity=1)], [0.0]
    )
    [frame] = far.handle(Frame(0x8009, QUERY, True, True, True), 0)
    assert (frame.id, frame.extended) == (0x900, True)


def test_others_frames_are_not_heard() -> None:
    box = Box()
    assert box.ask(QUERY, 0x8002) == []
    assert box.twin.handle(Frame(0x1_8001, QUERY, True, True, True), 0) == []
    assert box.twin.handle(Frame(0x8001, b"", True, remote=True), 0) == []


def test_an_unspecified_position_is_zero_and_not_here() -> None:
    """Source: register 0x020 of the reference. A client that forgets it makes the arm jump."""
    box = Box(1.0)
    box.run(ms=90)
    assert box.motor.rotor.position < 0.5


def test_no_number_is_here() -> None:
    for data in (
        codec.write(FLOAT, reg.COMMAND_POSITION, [math.nan]),
        codec.write(INT16, reg.COMMAND_POSITION, [-32768]),
        codec.write(INT32, reg.COMMAND_POSITION, [-(1 << 31)]),
    ):
        box = Box(1.0)
        box.run(data, ms=90)
        assert box.value(reg.MODE) == reg.POSITION_MODE
        assert box.motor.rotor.position == pytest.approx(1.0, abs=1e-3)


def test_the_mode_resets_what_was_written_before_it() -> None:
    box = Box(1.0)
    box.write(codec.write(FLOAT, reg.COMMAND_POSITION, [math.nan]), codec.write(INT8, reg.MODE, [10]))
    assert box.value(reg.COMMAND_POSITION) == 0.0


def test_registers_without_the_mode_start_nothing() -> None:
    box = Box(1.0)
    box.write(codec.write(INT16, reg.COMMAND_TIMEOUT, [250]))
    box.wait(100)
    assert box.value(reg.MODE) == reg.STOPPED
    assert box.value(reg.COMMAND_TIMEOUT) == pytest.approx(0.25)


def here(*more: bytes) -> tuple[bytes, ...]:
    return (codec.write(FLOAT, reg.COMMAND_POSITION, [math.nan]), *more)


@pytest.mark.parametrize(
    ("timeout", "alive", "expired"), [(0.0, 95, 105), (0.3, 290, 310), (math.nan, 1e4, None)]
)
def test_the_watchdog_is_latched_until_a_stop(timeout: float, alive: float, expired: float | None) -> None:
    box = Box(1.0)
    box.write(codec.write(INT8, reg.MODE, [10]), *here(codec.write(FLOAT, reg.COMMAND_TIMEOUT, [timeout])))
    box.wait(alive)
    box.ask(QUERY)  # a question is no command
    assert box.value(reg.MODE) == reg.POSITION_MODE
    if expired is None:
        return
    box.wait(expired - alive)
    assert box.value(reg.MODE) == reg.TIMED_OUT
    assert box.twin.powered(box.now) == (False,)
    box.run(*here())
    assert box.value(reg.MODE) == reg.TIMED_OUT
    box.write(codec.write(INT8, reg.MODE, [0]))
    box.run(*here())
    assert box.value(reg.MODE) == reg.POSITION_MODE


def test_a_goal_moves_on_with_its_velocity_until_the_next_command() -> None:
    """Source: register 0x021. However often the twin is looked at."""
    ends = []
    for steps in (1, 80):
        box = Box(0.0)
        box.run(*here(codec.write(FLOAT, reg.COMMAND_VELOCITY, [0.5])))
        for _ in range(steps):
            box.wait(80 / steps)
        ends.append(box.motor.rotor.position)
    assert ends[0] == ends[1]
    assert 0.1 < ends[0] < 0.5 * 0.084 * 2 * math.pi


def test_a_fault_obeys_nothing_but_a_stop() -> None:
    box = Box()
    box.run(*here())
    box.twin.set_fault(0, "encoder_fault")
    box.run(*here())
    assert (box.value(reg.MODE), box.value(reg.FAULT)) == (reg.FAULTED, 35)
    box.write(codec.write(INT8, reg.MODE, [0]))
    assert (box.value(reg.MODE), box.value(reg.FAULT)) == (reg.STOPPED, 0)


def test_starting_outside_its_bounds_is_a_fault_and_heat_is_one() -> None:
    box = Box(1.0)
    box.motor.bounds = (-0.1, 0.1)
    box.run(*here())
    assert box.value(reg.FAULT) == 39
    box = Box(1.0)
    box.run(*here())
    box.motor.temperature = 90.0
    box.wait(1)
    assert box.value(reg.FAULT) == 38


def test_limiters_are_told_while_it_works() -> None:
    box = Box(1.0)
    weak = codec.write(FLOAT, reg.COMMAND_MAX_TORQUE, [0.2])
    box.run(codec.write(FLOAT, reg.COMMAND_POSITION, [3.0]), weak)
    assert (box.value(reg.MODE), box.value(reg.FAULT)) == (reg.POSITION_MODE, 102)
    assert abs(box.motor.rotor.effort) <= 0.2 + 1e-6
    box.motor.bounds = (-1.0, 1.0)
    assert box.value(reg.FAULT) == 103
    assert reg.condition(10, 103) == ((), ("position_bounds",))


def test_what_it_does_not_know_is_refused_by_register() -> None:
    box = Box()
    [error] = box.ask(codec.read(INT8, 0x3FF))
    assert (error.action, error.register, error.values) == (codec.Action.READ_ERROR, 0x3FF, (1,))
    [error] = box.ask(codec.write(INT8, reg.VOLTAGE, [1]))
    assert (error.action, error.register, error.values) == (codec.Action.WRITE_ERROR, reg.VOLTAGE, (2,))
    [error] = box.ask(codec.write(INT8, reg.MODE, [99]))
    assert error.action is codec.Action.WRITE_ERROR
    box.motor.unsupported = {reg.TEMPERATURE}
    answer = box.ask(codec.read(INT8, reg.VOLTAGE, 3))
    assert [part.action for part in answer] == [codec.Action.REPLY, codec.Action.READ_ERROR]


def test_integers_saturate_and_their_minimum_is_no_number() -> None:
    box = Box(100.0)
    [part] = box.ask(codec.read(INT16, reg.POSITION))
    assert part.values == (32767,)
    box.motor.voltage = math.nan
    [part] = box.ask(codec.read(INT8, reg.VOLTAGE))
    assert part.values == (-128,)


def test_two_motors_with_one_id_both_answer() -> None:
    box = Box()
    box.twin.extras.append(type(box.motor)(1, 0.0))
    assert len(box.twin.handle(Frame(0x8001, QUERY, True, True, True), 0)) == 2


def test_its_answer_tells_how_things_were_before_the_command() -> None:
    box = Box()
    [mode] = box.write(codec.write(INT8, reg.MODE, [10]), codec.read(INT8, reg.MODE))
    assert mode.values == (reg.STOPPED,)
    np.testing.assert_allclose(box.twin.positions(0), [1.0])
