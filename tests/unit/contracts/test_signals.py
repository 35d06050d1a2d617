"""Rows A1, A2, A13: what signals do, in one process."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import pytest

from benchmarks.daemon.supervisor_memory import feed
from wall_edge.runtime.daemon.children import Children
from wall_edge.runtime.daemon.heart import Heart
from wall_edge.runtime.ipc.mailbox import Mailbox
from wall_edge.runtime.ipc.mailbox_types import ServoCommand, command_dtype
from wall_edge.signals import ALL_SIGNALS, ENDING_SIGNALS, Received, blocked, hold, received, unhold


def to_this_thread(number: int) -> None:
    """Not to the process: threads of other tests' libraries do not block it, and it would end them all."""
    signal.pthread_kill(threading.get_ident(), number)


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.fixture
def command() -> Mailbox:
    return Mailbox(command_dtype())


@pytest.fixture
def beating(command: Mailbox) -> Iterator[tuple[Heart, Received]]:
    with received() as signals:
        heart = Heart(command, signals)
        heart.start()
        yield heart, signals
        heart.close()


def wanted(command: Mailbox) -> ServoCommand:
    record: Any = command.read()
    return ServoCommand(int(record["command"])) if record is not None else ServoCommand.HOLD


def test_an_emergency_stop_passes_a_main_thread_that_hangs(
    command: Mailbox, beating: tuple[Heart, Received]
) -> None:
    """A1: the main thread waits in one call of C (a lock here), where no handler in Python ever runs."""
    heart, _ = beating
    heart.want(ServoCommand.FOLLOW, 3)
    wait_for(lambda: wanted(command) is ServoCommand.FOLLOW)
    seen: list[float] = []
    stuck = threading.Lock()
    stuck.acquire()

    def press() -> None:
        begun = time.monotonic()
        os.kill(os.getpid(), signal.SIGUSR1)
        wait_for(lambda: wanted(command) is ServoCommand.EMERGENCY_STOP)
        seen.append(time.monotonic() - begun)
        stuck.release()

    # Handlers in Python run when an acquire is interrupted: the note is held back, as a call of C would.
    signal.signal(signal.SIGUSR1, lambda *_: None)
    threading.Thread(target=press, daemon=True).start()
    assert stuck.acquire(timeout=60)
    assert seen[0] < 5


def test_the_heart_beats_whatever_the_main_thread_does(
    command: Mailbox, beating: tuple[Heart, Received]
) -> None:
    """A1"""
    heart, _ = beating
    beats = set()

    def beaten() -> bool:
        record: Any = command.read()
        beats.add(int(record["heartbeat_ns"]))
        return len(beats) >= 3

    wait_for(beaten)
    assert heart.beats


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, *ENDING_SIGNALS])
def test_every_signal_that_would_end_us_is_a_stop(
    command: Mailbox, beating: tuple[Heart, Received], number: int
) -> None:
    """A2"""
    _, signals = beating
    os.kill(os.getpid(), number)
    wait_for(lambda: wanted(command) is ServoCommand.STOP)
    assert signals.interrupted
    assert not signals.emergency


def test_an_emergency_stop_comes_before_a_stop_and_stays(
    command: Mailbox, beating: tuple[Heart, Received]
) -> None:
    """A1: never the way to rest, whatever else is wanted later."""
    heart, _ = beating
    os.kill(os.getpid(), signal.SIGTERM)
    wait_for(lambda: wanted(command) is ServoCommand.STOP)
    os.kill(os.getpid(), signal.SIGUSR1)
    wait_for(lambda: wanted(command) is ServoCommand.EMERGENCY_STOP)
    heart.stop()
    heart.want(ServoCommand.FOLLOW, 9)
    time.sleep(0.12)
    assert wanted(command) is ServoCommand.EMERGENCY_STOP


def test_a_stop_is_not_taken_back(command: Mailbox, beating: tuple[Heart, Received]) -> None:
    heart, _ = beating
    heart.stop()
    heart.want(ServoCommand.FOLLOW, 2)
    time.sleep(0.12)
    assert wanted(command) is ServoCommand.STOP


def test_a_terminal_suspends_nobody(beating: tuple[Heart, Received]) -> None:
    """A1: Ctrl-Z, or output in the background, would leave a powered arm unwatched."""
    _, signals = beating
    for number in (signal.SIGTSTP, signal.SIGTTOU, signal.SIGTTIN):
        os.kill(os.getpid(), number)
    assert not signals.interrupted


def test_a_signal_that_waited_is_received() -> None:
    """A13: what came during the imports is not lost and raises nothing."""
    with blocked():
        hold()
        to_this_thread(signal.SIGINT)
        to_this_thread(signal.SIGUSR1)
        with received() as signals:
            unhold()
            signals.read()
            assert (signals.interrupted, signals.emergency) == (True, True)


def test_handlers_and_mask_are_given_back() -> None:
    before = {number: signal.getsignal(number) for number in ALL_SIGNALS}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with received():
        assert signal.getsignal(signal.SIGTERM) != before[signal.SIGTERM]
    assert {number: signal.getsignal(number) for number in ALL_SIGNALS} == before
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask
    assert signal.set_wakeup_fd(-1) == -1


def test_a_command_that_holds_signals_holds_them_again_afterwards() -> None:
    """H15: between its handlers and the end of the process nothing gets through."""
    with blocked():
        hold()
        with received():
            pass
        to_this_thread(signal.SIGTERM)
        assert signal.SIGTERM in signal.sigpending()
        with received() as signals:  # so that it does not end the test
            unhold()
            signals.read()
            assert signals.interrupted
    unhold()


def held_back(pid: int) -> int:
    """The signals that a process blocks or ignores, as a mask."""
    status = Path(f"/proc/{pid}/status").read_text()
    masks = [int(found, 16) for found in re.findall(r"Sig(?:Blk|Ign):\s*(\w+)", status)]
    return masks[0] | masks[1]


def test_a_process_of_ours_is_deaf_from_its_first_instruction(monkeypatch: pytest.MonkeyPatch) -> None:
    """A2, A13: also the first one, before which Python starts its resource tracker and unblocks SIGINT."""
    monkeypatch.setattr("wall_edge.runtime.daemon.children.EXIT_S", 120.0)  # it may still be importing
    resource_tracker._resource_tracker._stop()  # type: ignore[attr-defined]
    everything = sum(1 << (number - 1) for number in ALL_SIGNALS)
    children = Children()
    pid = children.spawn("idle", feed, 0)
    try:
        tracker = resource_tracker._resource_tracker._pid  # type: ignore[attr-defined]
        for process in (pid, tracker):
            assert held_back(process) & everything == everything
            for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGTERM, signal.SIGUSR2, signal.SIGTSTP):
                os.kill(process, number)
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
        time.sleep(0.2)
        assert children.alive("idle")
    finally:
        children.end("idle")
    assert children._children["idle"].process.exitcode == 0


def test_the_main_thread_gets_its_priority_back(command: Mailbox) -> None:
    before = os.sched_getscheduler(0)
    heart = Heart(command, None, 5)
    heart.start()
    heart.hurry()
    heart.close()
    assert os.sched_getscheduler(0) == before
