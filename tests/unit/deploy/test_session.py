"""The robot's side of a deploy, spoken to through a pipe: what it says, and when it ends."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import pytest

from wall_edge.bundle import FORMAT_VERSION, MANIFEST, Bundle
from wall_edge.deploy import session as module
from wall_edge.deploy.engine import EngineChoice, RobotEngine
from wall_edge.deploy.incoming import offered
from wall_edge.deploy.messages import (
    Awaiting,
    Copied,
    Done,
    Failed,
    FromRobot,
    FromWorkstation,
    Hello,
    Offer,
    Progress,
    encoded,
    from_robot,
)
from wall_edge.deploy.place import Place
from wall_edge.deploy.session import Session
from wall_edge.errors import EngineError

PATIENCE_S = 60


def cpu() -> RobotEngine:
    return RobotEngine(EngineChoice("onnxruntime", threads=1))


class Conversation(StringIO):
    """A session in a thread, its lines as messages, and an answer to each in turn."""

    def __init__(self, place: Place, folder: Path, silence_s: float = PATIENCE_S) -> None:
        super().__init__()
        self.place, self.folder = place, folder
        self.gone, self.answers = threading.Event(), dict[type, Callable[[FromRobot], None]]()
        self.heard: list[FromRobot] = []
        source, self._sink = os.pipe()
        self._source, self._closed = source, False
        self.session = Session(source, self, self.gone.set, silence_s)

    def write(self, text: str) -> int:
        message = from_robot(text)
        assert message is not None
        self.heard.append(message)
        self.answers.get(type(message), lambda _: None)(message)
        return len(text)

    def say(self, message: FromWorkstation | str) -> None:
        os.write(self._sink, (message if isinstance(message, str) else encoded(message)).encode())

    def hang_up(self) -> None:
        if not self._closed:
            os.close(self._sink)
            self._closed = True

    def run(self, engine: Callable[[], RobotEngine] = cpu, patience_s: float = 0) -> bool:
        return self.session.run(self.folder, self.place, engine, 2, patience_s)

    def close(self) -> None:
        self.hang_up()
        assert self.gone.wait(PATIENCE_S)
        os.close(self._source)
        super().close()

    def one(self, kind: type) -> FromRobot:
        (message,) = [message for message in self.heard if type(message) is kind]
        return message

    @property
    def error(self) -> str:
        last = self.heard[-1]
        assert isinstance(last, Failed)
        return last.error


@pytest.fixture
def source(shipped_bundle: Path) -> Bundle:
    return Bundle(shipped_bundle)


@pytest.fixture
def talk(source: Bundle, tmp_path: Path) -> Iterator[Conversation]:
    """A workstation that copies what is asked for."""
    place = Place(tmp_path / "place")
    conversation = Conversation(place, place.incoming / source.digest)

    def copy(message: FromRobot) -> None:
        assert isinstance(message, Awaiting)
        for name in message.missing:
            shutil.copy(source.folder / name, message.folder)
        conversation.say(Copied())

    conversation.answers[Hello] = lambda _: conversation.say(Offer(offered(source)))
    conversation.answers[Awaiting] = copy
    yield conversation
    conversation.close()


def test_a_deploy(talk: Conversation, source: Bundle) -> None:
    assert talk.run()
    hello, awaiting, done = talk.one(Hello), talk.one(Awaiting), talk.one(Done)
    assert isinstance(hello, Hello)
    assert hello.format_version == FORMAT_VERSION
    assert isinstance(awaiting, Awaiting)
    assert set(awaiting.missing) == set(offered(source))
    stages = [m.stage for m in talk.heard if isinstance(m, Progress) and m.bytes is None]
    assert stages == ["digests", "engine", "verify", "switch"]
    assert isinstance(done, Done)
    assert done.activation.digest == Bundle(talk.place.current).digest == source.digest
    assert not talk.gone.is_set()


def test_what_lies_there_whole_is_not_copied(talk: Conversation, source: Bundle) -> None:
    shutil.copytree(source.folder, talk.place.bundles / source.digest)
    assert talk.run()
    assert Awaiting not in map(type, talk.heard)


def test_what_arrives_damaged_twice_is_given_up(talk: Conversation, source: Bundle) -> None:
    def copy(message: FromRobot) -> None:
        assert isinstance(message, Awaiting)
        for name in message.missing:
            shutil.copy(source.folder / name, message.folder)
        with (talk.folder / "expert.data").open("r+b") as file:
            file.write(b"\xff\xff\xff")
        talk.say(Copied())

    talk.answers[Awaiting] = copy
    assert not talk.run()
    first, second = (message for message in talk.heard if isinstance(message, Awaiting))
    assert (first.damaged, second.damaged) == ((), ("expert.data",))
    assert second.missing == {"expert.data": 0}
    assert "expert.data: not what the workstation has, twice" in talk.error
    assert not talk.place.current.is_symlink()


def test_a_copy_that_is_not_complete_is_asked_for_again(talk: Conversation) -> None:
    copy, asked = talk.answers[Awaiting], list[FromRobot]()

    def say_too_soon(message: FromRobot) -> None:
        asked.append(message)
        if len(asked) > 1:
            copy(message)
        else:
            talk.say(Copied())

    talk.answers[Awaiting] = say_too_soon
    assert talk.run()
    assert len(asked) == 2


def test_bytes_are_counted_while_they_arrive(talk: Conversation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TELL_S", 0.01)
    copy = talk.answers[Awaiting]

    def slowly(message: FromRobot) -> None:
        def later() -> None:
            while not any(isinstance(m, Progress) and m.bytes == 0 for m in talk.heard):
                time.sleep(0.001)
            copy(message)

        threading.Thread(target=later).start()

    talk.answers[Awaiting] = slowly
    assert talk.run()


def test_a_disk_too_small(talk: Conversation, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil._ntuple_diskusage(10**9, 10**9 - 70_000_000, 70_000_000)  # type: ignore[attr-defined]
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage)
    assert not talk.run()
    assert "70 MB of disk are free; expected 12 MB to copy + 0 MB of engines + 67 MB = 79 MB" in talk.error


def test_an_engine_that_cannot_be_is_said_before_anything_is_copied(talk: Conversation) -> None:
    def absent() -> RobotEngine:
        raise EngineError("no GPU at hand")

    assert not talk.run(absent)
    assert talk.error == "no GPU at hand"
    assert Awaiting not in map(type, talk.heard)


def test_another_deploy_is_at_work(talk: Conversation) -> None:
    with talk.place.alone():
        assert not talk.run(patience_s=0.3)
    assert talk.heard[0] == Progress("waiting for another deploy")
    assert "another deploy or activate is at work there" in talk.error


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (encoded(Copied()), "the workstation offered no bundle"),
        ("GET / HTTP/1.1\n", "what the workstation said"),
        ('{"kind": "offer", "files": {}}\n', "the workstation offered no bundle"),
    ],
)
def test_a_workstation_that_speaks_another_language(words: str, expected: str, talk: Conversation) -> None:
    talk.answers[Hello] = lambda _: talk.say(words)
    assert not talk.run()
    assert expected in talk.error


def test_an_offer_of_another_bundle_than_the_folder_is_for(talk: Conversation) -> None:
    talk.folder = talk.place.incoming / ("0" * 64)
    assert not talk.run()
    assert "no place for a copy" in talk.error


def test_a_workstation_that_hangs_up(tmp_path: Path) -> None:
    conversation = Conversation(Place(tmp_path), tmp_path)
    conversation.say("\n\n")
    conversation.hang_up()
    assert conversation.gone.wait(PATIENCE_S)
    conversation.close()


def test_a_workstation_that_went_away_without_a_word(tmp_path: Path) -> None:
    """A cable that was pulled: nobody closes the connection."""
    conversation = Conversation(Place(tmp_path), tmp_path, silence_s=0.2)
    for _ in range(5):
        conversation.say("\n")
    assert conversation.gone.wait(PATIENCE_S)
    conversation.close()


def test_a_line_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINE_BYTES", 1000)
    conversation = Conversation(Place(tmp_path), tmp_path)
    conversation.say("x" * 2000)
    assert conversation.gone.wait(PATIENCE_S)
    conversation.close()


def test_the_manifest_is_the_bundles_name(source: Bundle) -> None:
    assert offered(source)[MANIFEST].sha256 == source.digest
