"""What a service manager is told, word by word; and that nothing of it can hurt the daemon."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from wall_edge.runtime.daemon.service.manager import ServiceManager


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours:
        ours.bind(str(tmp_path / "notify"))
        ours.setblocking(False)
        yield ours


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def messages(inbox: socket.socket) -> list[str]:
    texts = []
    while True:
        try:
            texts.append(inbox.recv(4096).decode())
        except BlockingIOError:
            return texts


def manager_of(
    inbox: socket.socket, watchdog_s: float | None = 8.0, clock: Clock | None = None
) -> ServiceManager:
    return ServiceManager(os.fsencode(inbox.getsockname()), watchdog_s, clock or Clock())


def test_its_words_leave_the_environment(inbox: socket.socket) -> None:
    """What is started later inherits none of them."""
    words = {
        "NOTIFY_SOCKET": inbox.getsockname(),
        "WATCHDOG_USEC": "8000000",
        "WATCHDOG_PID": str(os.getpid()),
    }
    environment = {**words, "HOME": "/"}
    manager = ServiceManager.of(environment)
    assert environment == {"HOME": "/"}
    manager.ready()
    manager.alive(1)
    assert messages(inbox) == ["READY=1", "WATCHDOG=1"]


def test_an_abstract_address(tmp_path: Path) -> None:
    name = f"wall-edge{tmp_path}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as inbox:
        inbox.bind(f"\0{name}")
        inbox.setblocking(False)
        ServiceManager.of({"NOTIFY_SOCKET": f"@{name}"}).ready()
        assert messages(inbox) == ["READY=1"]


@pytest.mark.parametrize(
    "address", [None, "", "notify", "vsock:2:1234", "/nowhere/notify", "@nobody", "/" + "x" * 500, "/a\udcff"]
)
def test_without_a_manager_nothing_happens(address: str | None) -> None:
    manager = ServiceManager.of({} if address is None else {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1"})
    manager.starting("the policy process")
    manager.ready()
    manager.alive(1)
    manager.status("following")
    manager.stopping(10)
    manager.ended("released")


@pytest.mark.parametrize("pid", ["", str(os.getpid())], ids=["anybody's", "ours"])
def test_the_watchdog_is_ours(inbox: socket.socket, pid: str) -> None:
    words = {"NOTIFY_SOCKET": inbox.getsockname(), "WATCHDOG_USEC": "1", "WATCHDOG_PID": pid}
    ServiceManager.of(words).alive(1)
    assert messages(inbox) == ["WATCHDOG=1"]


@pytest.mark.parametrize(
    ("usec", "pid"),
    [
        ("1000000", "1"),
        ("1000000", "x"),
        ("", ""),
        ("0", ""),
        ("-5", ""),
        ("soon", ""),
        ("٣", ""),
        ("9" * 400, ""),
    ],
)
def test_no_watchdog_of_ours(inbox: socket.socket, usec: str, pid: str) -> None:
    """Another's, or none (sd_watchdog_enabled(3)): the other words are said all the same."""
    address = {"NOTIFY_SOCKET": inbox.getsockname()}
    manager = ServiceManager.of({**address, "WATCHDOG_USEC": usec, "WATCHDOG_PID": pid})
    manager.ready()
    manager.alive(1)
    assert messages(inbox) == ["READY=1"]


def test_a_sign_of_life_needs_another_tick(inbox: socket.socket) -> None:
    """Four times in the watchdog's time, and not once for a servo process that stands."""
    clock = Clock()
    manager = manager_of(inbox, 8.0, clock)
    for tick in range(1, 100):
        manager.alive(tick)
        clock.now += 0.1
    assert messages(inbox) == ["WATCHDOG=1"] * 5
    for _ in range(1000):
        manager.alive(99)
        clock.now += 0.1
    assert len(messages(inbox)) == 1
    manager.alive(98)
    assert messages(inbox) == []
    manager.alive(100)
    assert messages(inbox) == ["WATCHDOG=1"]


def test_a_start_asks_for_more_time_while_it_comes_on(inbox: socket.socket) -> None:
    clock = Clock()
    manager = manager_of(inbox, clock=clock)
    for _ in range(30):
        manager.starting("waiting for the policy process")
        clock.now += 0.1
    assert messages(inbox) == ["EXTEND_TIMEOUT_USEC=60000000\nSTATUS=waiting for the policy process"] * 3


def test_a_status_now_and_then(inbox: socket.socket) -> None:
    clock = Clock()
    manager = manager_of(inbox, clock=clock)
    for chunks in range(12):
        manager.status(f"following: {chunks} chunks")
        clock.now += 1
    assert messages(inbox) == [f"STATUS=following: {chunks} chunks" for chunks in (0, 5, 10)]


def test_a_subgoal_is_no_word_to_the_manager(inbox: socket.socket) -> None:
    """The model may say anything: a line break in it would be read as another assignment."""
    manager_of(inbox).status("touch\nMAINPID=1\nREADY=1 \udcff" + "x" * 1000)
    (message,) = messages(inbox)
    assert message.startswith("STATUS=touch\\nMAINPID=1\\nREADY=1 ")
    assert "\n" not in message
    assert len(message) < 300


def filled(inbox: socket.socket) -> int:
    """Until the queue takes no more; how much there is in it."""
    fillers = 0
    while True:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:  # each with a buffer of its own
            other.setblocking(False)
            try:
                other.sendto(b"full", inbox.getsockname())
            except BlockingIOError:
                return fillers
        fillers += 1


def test_words_that_a_full_queue_did_not_take_are_said_again(inbox: socket.socket) -> None:
    """READY first: systemd would take a sign of life before it for nothing."""
    manager = manager_of(inbox)
    fillers = filled(inbox)
    manager.ready()
    manager.alive(1)
    assert messages(inbox) == ["full"] * fillers
    manager.alive(2)
    assert messages(inbox) == ["READY=1", "WATCHDOG=1"]
    manager.alive(3)
    assert messages(inbox) == []


def test_a_stop_is_the_last_sign_of_life(inbox: socket.socket) -> None:
    manager = manager_of(inbox)
    manager.stopping(25.5)
    manager.alive(1)
    manager.ended("the servo process died")
    assert messages(inbox) == [
        "STOPPING=1\nEXTEND_TIMEOUT_USEC=25500000\nSTATUS=stopping",
        "STATUS=the servo process died",
    ]
