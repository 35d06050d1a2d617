"""Several buses in one tick: none waits for another longer than its own timeout, none grows old with it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from wall_edge_bridge.drives import Drive, Feedback, Setpoints
from wall_edge_bridge.drives.group import DriveGroup
from wall_edge_bridge.kinds.feetech import FeetechJoint, FeetechSettings
from wall_edge_bridge.kinds.feetech.drive import FeetechDrive
from wall_edge_bridge.kinds.feetech.twin import FeetechTwin
from wall_edge_bridge.sim import VirtualClock, wire_to

from wall_edge.errors import BusError, BusTimeout, DriveError

MS = 1_000_000
START = np.array([0.1, -0.2, 0.3, -0.4, 0.5, -0.6])
BUSES = {"left": [0, 3, 4], "right": [5, 1], "hand": [2]}
"""Indices of each bus's joints, in the order of its drive. Ids are each bus's own."""
JOINTS = [
    FeetechJoint(f"joint{i}", indices.index(i) + 1, -1.0, 1.0, 6.0, drive=bus)
    for i, (bus, indices) in sorted(
        (index, (bus, indices)) for bus, indices in BUSES.items() for index in indices
    )
]
TIMEOUTS_MS = {"left": 3.0, "right": 5.0, "hand": 4.0}
PERIOD_NS = 10 * MS


class Robot:
    """Three timed buses of Feetech servos, in virtual time."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.twins, self.wires, drives = {}, {}, {}
        for name, indices in BUSES.items():
            joints = [JOINTS[i] for i in indices]
            twin = FeetechTwin(joints, START[indices], timed_baudrate=1_000_000)
            wire = wire_to(twin, self.clock, self.clock.sleep)
            settings = FeetechSettings(timeout_ms=TIMEOUTS_MS[name])
            self.twins[name], self.wires[name] = twin, wire
            drives[name] = FeetechDrive(settings, joints, wire, clock=self.clock)  # type: ignore[arg-type]
        self.group = DriveGroup(JOINTS, drives, TIMEOUTS_MS, self.clock)

    def cycle(self, position: np.ndarray | None = None) -> tuple[Feedback, int]:
        """What a tick brings, and how long it took [ns]."""
        self.clock.sleep(self.clock() // PERIOD_NS * PERIOD_NS + PERIOD_NS)
        begin = self.clock()
        setpoints = None if position is None else Setpoints.hold(position)
        feedback = self.group.cycle(setpoints, begin + PERIOD_NS)
        return feedback, self.clock() - begin

    def powered(self) -> dict[str, list[bool]]:
        return {name: list(twin.powered(self.clock())) for name, twin in self.twins.items()}

    def unplug(self, bus: str) -> None:
        def gone(*_: object) -> bytes:
            raise BusError(f"{bus} vanished")

        self.wires[bus].send = self.wires[bus].receive = gone  # type: ignore[method-assign, assignment]

    def silence(self, bus: str, silent: bool = True) -> None:
        for index in range(len(BUSES[bus])):
            self.twins[bus].silence(index, silent)


@pytest.fixture
def robot() -> Robot:
    robot = Robot()
    with robot.group as group:
        group.check()
    return robot


def test_joints_are_in_the_robots_order_whatever_bus_they_are_on(robot: Robot) -> None:
    feedback, _ = robot.cycle()
    np.testing.assert_allclose(feedback.position, START, atol=1e-3)
    robot.group.enable()
    assert robot.group.torque() == (True,) * 6
    goal = START + 0.05 * np.arange(6)
    for _ in range(60):
        feedback, _ = robot.cycle(goal)
    np.testing.assert_allclose(feedback.position, goal, atol=2e-3)
    robot.twins["right"].set_fault(0, "overload")
    robot.twins["left"].lose_torque(2)
    for _ in range(4):
        feedback, _ = robot.cycle(goal)
    assert [index for index, faults in enumerate(feedback.faults) if faults] == [5]
    assert feedback.limp == ("joint4",)
    zeros = robot.group.ticks(np.array([0, 0, np.nan, 0, 0, 0]))
    assert zeros == (2048, 2048, None, 2048, 2048, 2048)
    assert robot.group.arm_watchdog(0.1) is None
    assert robot.group.arm_watchdogs(0.1) == {"left": None, "right": None, "hand": None}
    assert robot.group.drives["hand"].joints == (JOINTS[2],)


def test_requests_go_out_on_all_buses_before_any_reply_is_awaited(robot: Robot) -> None:
    _, all_buses = robot.cycle()
    three_servos = (8 + 3 + 3 * 8) * 10_000
    assert all_buses == three_servos  # the longest bus, and not the sum


def test_the_longest_line_is_begun_first_and_collected_last(robot: Robot) -> None:
    """What the other buses compute passes while it is busy; the order of the joints stays."""
    calls: list[str] = []

    def noted(drive: Drive, name: str) -> None:
        start, finish = drive.start_cycle, drive.finish_cycle
        drive.start_cycle = lambda *a: (calls.append(f"start {name}"), start(*a))  # type: ignore[method-assign, assignment]
        drive.finish_cycle = lambda *a: (calls.append(f"finish {name}"), finish(*a))[1]  # type: ignore[method-assign]

    drives = robot.group.drives
    times_ns = {"left": 300, "right": 500, "hand": 400}
    robot.group = DriveGroup(JOINTS, drives, TIMEOUTS_MS, robot.clock, times_ns)
    for name, drive in drives.items():
        noted(drive, name)
    feedback, _ = robot.cycle()
    assert calls == [
        "start right", "start hand", "start left", "finish left", "finish hand", "finish right",
    ]  # fmt: skip
    np.testing.assert_allclose(feedback.position, START, atol=1e-3)


@pytest.mark.parametrize("stalled", BUSES)
def test_a_bus_that_stalls_delays_the_others_by_its_own_timeout_at_most(robot: Robot, stalled: str) -> None:
    _, healthy_ns = robot.cycle()
    robot.twins[stalled].replies.latency_ns = 200 * MS
    others = [i for name, indices in BUSES.items() for i in indices if name != stalled]
    old = BUSES[stalled]
    for _ in range(20):
        now = robot.clock()
        feedback, took_ns = robot.cycle()
        assert took_ns <= TIMEOUTS_MS[stalled] * MS + healthy_ns
        assert (feedback.received_ns[others] > now).all()
        assert (feedback.received_ns[old] <= now).all()
    np.testing.assert_allclose(feedback.position, START, atol=1e-3)


@pytest.mark.parametrize("dead", BUSES)
def test_a_bus_that_is_gone_takes_no_time_and_leaves_the_others_fresh(robot: Robot, dead: str) -> None:
    before, healthy_ns = robot.cycle()
    robot.unplug(dead)
    for _ in range(10):
        now = robot.clock()
        feedback, took_ns = robot.cycle()
        assert took_ns <= healthy_ns
        fresh = feedback.received_ns > now
        assert np.flatnonzero(~fresh).tolist() == sorted(BUSES[dead])
        np.testing.assert_array_equal(feedback.received_ns[~fresh], before.received_ns[~fresh])
    look = robot.group.look(robot.clock() + PERIOD_NS)
    assert np.isfinite(look.temperature).tolist() == [i not in BUSES[dead] for i in range(6)]


def test_when_every_bus_fails_a_cycle_raises_the_first_trouble(robot: Robot) -> None:
    robot.silence("right")
    robot.unplug("hand")
    robot.silence("left")
    with pytest.raises(BusError):
        robot.cycle()
    robot.silence("left", silent=False)
    robot.cycle()
    for name in BUSES:
        robot.unplug(name)
    for access in (lambda: robot.cycle(), lambda: robot.group.look(robot.clock() + PERIOD_NS)):
        with pytest.raises(BusError, match="left vanished"):
            access()


def test_a_forbidden_setpoint_is_sent_on_no_bus(robot: Robot) -> None:
    robot.group.enable()
    robot.cycle(START)
    for joint in range(6):
        bad = START.copy()
        bad[joint] = 1.2
        counts = [twin.replies.count for twin in robot.twins.values()]
        with pytest.raises(DriveError, match=f"joint{joint}"):
            robot.cycle(bad)
        robot.clock.sleep(robot.clock() + PERIOD_NS)
        for twin in robot.twins.values():
            twin.advance(robot.clock())
        assert [twin.replies.count for twin in robot.twins.values()] == counts
    with pytest.raises(DriveError, match="shape"):
        robot.cycle(np.zeros(5))


@pytest.mark.parametrize("bus", BUSES)
def test_when_one_bus_refuses_none_stays_enabled(robot: Robot, bus: str) -> None:
    robot.twins[bus].set_fault(0, "overload")
    with pytest.raises(DriveError, match=f"joint{BUSES[bus][0]}.*overload"):
        robot.group.enable()
    assert robot.powered() == {name: [False] * len(indices) for name, indices in BUSES.items()}


def test_a_bus_that_held_before_holds_still_when_another_refuses(robot: Robot) -> None:
    """An arm that a crash left under torque must not fall because a hand has a fault."""
    robot.group.drives["left"].enable()
    robot.twins["hand"].set_fault(0, "overload")
    with pytest.raises(DriveError, match="joint2"):
        robot.group.enable()
    assert robot.powered() == {"left": [True] * 3, "right": [False] * 2, "hand": [False]}
    np.testing.assert_allclose(robot.cycle()[0].position, START, atol=1e-3)


@pytest.mark.parametrize("bus", BUSES)
def test_disable_and_close_reach_the_other_buses_when_one_is_gone(robot: Robot, bus: str) -> None:
    robot.group.enable()
    robot.unplug(bus)
    with pytest.raises(BusError, match=f"{bus} vanished"):
        robot.group.disable()
    expected = {name: [name == bus] * len(indices) for name, indices in BUSES.items()}
    assert robot.powered() == expected
    closed: list[str] = []

    def close(name: str) -> None:
        closed.append(name)
        raise OSError(name)

    for name, drive in robot.group.drives.items():
        drive.close = lambda name=name: close(name)  # type: ignore[method-assign, misc]
    with pytest.raises(OSError, match="left"):
        robot.group.close()
    assert closed == list(BUSES)


def test_counters_are_the_sum(robot: Robot) -> None:
    before = robot.group.counters
    robot.twins["left"].replies.drop(2)
    robot.cycle()
    robot.twins["right"].replies.drop(1)
    robot.cycle()
    after = robot.group.counters
    assert after.timeouts == before.timeouts + 2
    assert after.cycles == before.cycles + 6


def test_the_least_watchdog_counts_and_one_without_is_without(robot: Robot) -> None:
    for name, drive in robot.group.drives.items():
        drive.arm_watchdog = lambda _, name=name: TIMEOUTS_MS[name]  # type: ignore[method-assign, misc]
    assert robot.group.arm_watchdog(0.1) == 3.0
    robot.group.drives["hand"].arm_watchdog = lambda _: None  # type: ignore[method-assign]
    assert robot.group.arm_watchdog(0.1) is None


def test_one_bus_that_times_out_in_the_first_half_is_not_waited_for(robot: Robot) -> None:
    def full(*_: object) -> None:
        raise BusTimeout("takes no bytes")

    robot.wires["left"].send = full  # type: ignore[method-assign]
    now = robot.clock()
    feedback, took_ns = robot.cycle()
    assert took_ns < MS
    assert (feedback.received_ns > now).tolist() == [False, True, True, False, False, True]


def test_a_group_is_a_drive_and_its_setpoints_are_each_buss_share(robot: Robot) -> None:
    assert isinstance(robot.group, Drive)
    share = replace(Setpoints.hold(START), velocity=START * 2, due_ns=7).of(np.array([5, 1]))
    np.testing.assert_array_equal(share.position, START[[5, 1]])
    np.testing.assert_array_equal(share.velocity, 2 * START[[5, 1]])
    assert share.due_ns == 7


@pytest.mark.parametrize("bus", BUSES)
def test_a_bus_that_comes_back_goes_on_from_where_it_stopped(robot: Robot, bus: str) -> None:
    """Lost once: after a replug its joints jumped to where the others were by then, as fast as motors go."""
    robot.group.enable()
    goal, own = START.copy(), BUSES[bus]
    for _ in range(5):
        robot.cycle(goal)
    wire = robot.wires[bus]
    send, receive = wire.send, wire.receive
    robot.unplug(bus)
    for _ in range(20):
        goal = goal + 0.02
        robot.cycle(goal)
    np.testing.assert_allclose(robot.cycle(goal)[0].position[own], START[own], atol=2e-3)
    wire.send, wire.receive = send, receive  # type: ignore[method-assign]
    path = [START[own]]
    for _ in range(30):
        robot.cycle(goal)
        path.append(robot.twins[bus].positions(robot.clock()))
    fastest = np.abs(np.diff(path, axis=0)).max() / (PERIOD_NS * 1e-9)
    assert fastest <= JOINTS[0].max_velocity * 1.1
    np.testing.assert_allclose(path[-1], goal[own], atol=5e-3)


@pytest.mark.parametrize("name", ["velocity", "effort"])
def test_feed_forward_that_is_no_number_reaches_no_bus(robot: Robot, name: str) -> None:
    robot.group.enable()
    robot.cycle(START)
    standing = [twin.positions(robot.clock()).copy() for twin in robot.twins.values()]
    setpoints = replace(Setpoints.hold(START + 0.2), **{name: np.full(6, np.nan)})
    with pytest.raises(DriveError, match=r"feed-forward .*nan.* nothing was sent"):
        robot.group.start_cycle(setpoints, robot.clock() + PERIOD_NS)
    robot.clock.sleep(robot.clock() + 10**8)
    for twin, before in zip(robot.twins.values(), standing, strict=True):
        np.testing.assert_allclose(twin.positions(robot.clock()), before, atol=1e-3)


def test_every_bus_that_keeps_its_torque_is_named(robot: Robot) -> None:
    robot.group.enable()
    robot.unplug("left")
    robot.unplug("hand")
    with pytest.raises(BusError, match=r"left vanished; and hand vanished"):
        robot.group.disable()
    assert robot.powered()["right"] == [False, False]
