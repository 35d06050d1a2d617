"""Recorded sessions: written whole or not at all, read back exactly, and never in the action loop's way."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from examples.tabletop.demonstrations import sample_batch
from examples.tabletop.record_session import RECORD_STREAM, record
from wall_edge.bundle import Unit
from wall_edge.errors import ConfigError
from wall_edge.policies.observation import Observation
from wall_edge.runtime.telemetry.session_recorder import RecordingOptions, SessionRecorder
from wall_edge.session_format import FrameSize, Sample, SessionHeader, SessionWriter, read_session
from wall_edge.sim.blocks import EPISODE_STREAM, TRAIN_STREAM

SECOND = 1_000_000_000
HEADER = SessionHeader(
    robot="two_joints",
    state={"pan": "rad", "grip": "percent"},
    actions={"pan": "rad", "grip": "percent", "base": "own"},
    cameras={"face_view": FrameSize(4, 3), "wrist_view": FrameSize(2, 2)},
    horizon=3,
    action_rate_hz=30.0,
    bundle_sha256="0" * 64,
)


def moment(time_ns: int = SECOND, words: str = "touch the red block.", epoch: int = 7) -> Sample:
    rng = np.random.default_rng(time_ns)
    frames = {
        "face_view": rng.integers(0, 256, (3, 4, 3), dtype=np.uint8),
        "wrist_view": rng.integers(0, 256, (2, 2, 3), dtype=np.uint8),
    }
    observation = Observation(time_ns, frames, rng.normal(size=2), frames_ns=time_ns - 5)
    return Sample(observation, words, rng.normal(size=(3, 3)), epoch)


def add(writer: SessionWriter, moment: Sample) -> Path:
    return writer.add(moment.observation, moment.words, moment.actions, epoch=moment.epoch)


def assert_equal(found: Sample, wanted: Sample) -> None:
    assert (found.words, found.epoch) == (wanted.words, wanted.epoch)
    assert np.array_equal(found.actions, wanted.actions)
    seen, expected = found.observation, wanted.observation
    assert (seen.time_ns, seen.frames_ns) == (expected.time_ns, expected.frames_ns)
    assert np.array_equal(seen.state, expected.state)
    assert list(seen.frames) == list(expected.frames)
    assert all(np.array_equal(seen.frames[name], expected.frames[name]) for name in expected.frames)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    written = [moment(time_ns) for time_ns in (0, 1, 2**62)]
    writer = SessionWriter(tmp_path / "a" / "session", HEADER)
    for one in written:
        add(writer, one)
    session = read_session(writer.folder)
    assert session.header == HEADER
    assert [path.name for path in session.files] == ["000001.npz", "000002.npz", "000003.npz"]
    for path, one in zip(session.files, written, strict=True):
        assert_equal(session.sample(path), one)


@given(words=st.text(st.characters(exclude_characters="\0"), max_size=40))
def test_any_words_survive(tmp_path_factory: pytest.TempPathFactory, words: str) -> None:
    writer = SessionWriter(tmp_path_factory.mktemp("s"), HEADER)
    path = add(writer, moment(words=words))
    assert read_session(writer.folder).sample(path).words == words


def test_the_header_is_plain_yaml_with_its_version_first(tmp_path: Path) -> None:
    add(SessionWriter(tmp_path, HEADER), moment())
    text = (tmp_path / "session.yaml").read_text()
    assert text.startswith("format_version: 2\n")
    assert yaml.safe_load(text)["cameras"]["face_view"] == {"width": 4, "height": 3}


def test_a_session_without_a_moment_leaves_an_empty_folder(tmp_path: Path) -> None:
    """So that a run that failed before its first chunk can be started again with the same --record."""
    SessionWriter(tmp_path / "s", HEADER)
    assert list((tmp_path / "s").iterdir()) == []
    SessionWriter(tmp_path / "s", HEADER)


def test_a_folder_that_holds_anything_is_refused(tmp_path: Path) -> None:
    add(SessionWriter(tmp_path / "s", HEADER), moment())
    with pytest.raises(ConfigError, match="holds another session"):
        SessionWriter(tmp_path / "s", HEADER)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / ".hidden").touch()
    with pytest.raises(ConfigError, match="exists and is not an empty folder"):
        SessionWriter(tmp_path / "other", HEADER)
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigError, match=r"file.*; expected"):
            SessionWriter(path, HEADER)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_leaves_nothing_and_the_next_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    writer = SessionWriter(tmp_path, HEADER)
    add(writer, moment(1))
    with monkeypatch.context() as broken:
        broken.setattr(os if step == "fsync" else Path, step, no_space)
        with pytest.raises(ConfigError, match=r"000002\.npz: No space left"):
            add(writer, moment(2))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000001.npz", "session.yaml"]
    assert add(writer, moment(3)).name == "000002.npz"


def no_space(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_half_written_and_foreign_files_are_no_moments(tmp_path: Path) -> None:
    add(SessionWriter(tmp_path, HEADER), moment())
    for name in (".000002.npz.partial", "notes.txt", "12.npz", "000003.npz.bak"):
        (tmp_path / name).touch()
    assert [path.name for path in read_session(tmp_path).files] == ["000001.npz"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"state": np.zeros(3)}, "state is float64 .3.; expected float64 .2."),
        ({"state": np.array([0.0, np.nan])}, "state holds values that are not finite"),
        ({"actions": np.full((3, 3), -np.inf)}, "actions holds values that are not finite"),
        ({"actions": np.zeros((2, 2))}, "actions is float64 .2, 2."),
        ({"frames": {"face_view": np.zeros((3, 4, 3), np.uint8)}}, "expected .*frames.wrist_view"),
        ({"frames": {"face_view": np.zeros((4, 3, 3), np.uint8)}}, "frames.wrist_view"),
    ],
)
def test_a_moment_that_does_not_fit_is_not_written(
    tmp_path: Path, change: dict[str, object], named: str
) -> None:
    good = moment()
    values = {"frames": good.observation.frames, "state": good.observation.state, "actions": good.actions}
    values.update(change)
    observation = Observation(1, values["frames"], values["state"])  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=named):
        SessionWriter(tmp_path, HEADER).add(observation, "words", values["actions"])  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"robot": "a\0b"}, "robot is 'a"),
        ({"state": {"pan": "rad", "<|action|>": "rad"}}, "state.0. is .<.action"),
        ({"actions": {f"pan_{i}": "rad" for i in range(1000)}}, "actions is"),
        ({"actions": {"pan": "turns"}}, "actions.pan is 'turns'"),
        ({"dof_names": ["pan", "grip"]}, "dof_names is not a known key"),
        ({"cameras": {"../../evil": {"width": 4, "height": 3}}}, "cameras..*evil"),
        ({"cameras": {"face_view": {"width": 10**9, "height": 3}}}, "width is 1000000000"),
        ({"cameras": {}}, "cameras is"),
        ({"horizon": 10**12}, "horizon is 1000000000000"),
        ({"action_rate_hz": 1e300}, "action_rate_hz is 1e.300"),
        ({"bundle_sha256": "no"}, "bundle_sha256 is 'no'"),
        ({"format_version": [1] * 10_000}, "format version .1, 1"),
    ],
)
def test_h10_a_header_that_cannot_be_meant(tmp_path: Path, change: dict[str, object], named: str) -> None:
    """H3, H10, H16: names, sizes and rates of a session that came from elsewhere."""
    add(SessionWriter(tmp_path, HEADER), moment())
    path = tmp_path / "session.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | change))
    with pytest.raises(ConfigError, match=named) as refused:
        read_session(tmp_path)
    assert len(str(refused.value)) < 1000


def test_h9_a_joint_far_beyond_what_a_joint_does(tmp_path: Path) -> None:
    """H9: 4.6e18 rad passed where a mean over the joints was looked at."""
    good = moment()
    good.observation.state[0] = 4.6e18
    with pytest.raises(ConfigError, match=r"state of pan holds 4\.6e.18 rad; expected at most 1000 rad"):
        add(SessionWriter(tmp_path, HEADER), good)
    good.observation.state[:] = 0, 1e4
    good.actions[2, 1] = -10001
    with pytest.raises(ConfigError, match=r"actions of grip holds 10001 percent; expected at most 10000"):
        add(SessionWriter(tmp_path, HEADER), good)


def test_a_session_of_the_first_version_is_read(tmp_path: Path) -> None:
    """It held joint positions in rad, of as many joints as actions."""
    rad: dict[str, Unit] = {"pan": "rad", "grip": "rad"}
    header = replace(HEADER, state=rad, actions=rad)
    one = replace(moment(), actions=np.ones((3, 2)))
    add(SessionWriter(tmp_path, header), one)
    path = tmp_path / "session.yaml"
    data = yaml.safe_load(path.read_text())
    first = {"format_version": 1, "robot": "two_joints", "dof_names": ["pan", "grip"]}
    first |= {key: data[key] for key in ("cameras", "horizon", "action_rate_hz", "bundle_sha256")}
    path.write_text(yaml.safe_dump({**first, "unit": "rad"}, sort_keys=False))
    session = read_session(tmp_path)
    assert session.header == header
    assert tuple(session.header.state) == ("pan", "grip")
    assert_equal(session.sample(session.files[0]), one)
    for change, named in (
        ({"unit": "deg"}, "unit is 'deg'"),
        ({"dof_names": ["pan", "pan"]}, r"dof_names\[1\] is 'pan'"),
        ({"state": rad}, "state is not a known key"),
    ):
        path.write_text(yaml.safe_dump({**first, **change}))
        with pytest.raises(ConfigError, match=named):
            read_session(tmp_path)


def test_h13_a_moment_that_is_no_plain_file(tmp_path: Path) -> None:
    path = add(SessionWriter(tmp_path, HEADER), moment())
    session = read_session(tmp_path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ConfigError, match="a pipe or a device"):
        session.sample(path)


class Bench:
    """A recorder whose disk can be held up, and that is offered moments at given times [s]."""

    def __init__(self, folder: Path, period_s: float = 0.5, max_samples: int = 1000) -> None:
        self.writer = SessionWriter(folder, HEADER)
        self.reports: list[str] = []
        self.taken = 0
        options = RecordingOptions(folder, period_s, max_samples)
        self.recorder = SessionRecorder(self.writer, options, self.reports.append)

    def offer(self, second: float) -> bool:
        """Offer a moment, then let the disk come to rest."""
        taken = self.recorder.offer(moment(round(second * SECOND)))
        self.taken += taken
        while self.writer.count < self.taken and not self.reports:
            time.sleep(0.001)
        return taken


def test_at_most_one_moment_a_period(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    times = (0.0, 0.1, 0.49, 0.5, 0.6, 1.2, 1.6, 1.7, 9.0)
    assert [second for second in times if bench.offer(second)] == [0.0, 0.5, 1.2, 1.7, 9.0]
    bench.recorder.close()
    session = read_session(tmp_path)
    assert [session.sample(path).observation.time_ns / SECOND for path in session.files] == [
        0.0, 0.5, 1.2, 1.7, 9.0,
    ]  # fmt: skip


def test_no_more_moments_than_asked_for(tmp_path: Path) -> None:
    bench = Bench(tmp_path, period_s=0.0, max_samples=3)
    assert [bench.offer(float(second)) for second in range(5)] == [True, True, True, False, False]
    bench.recorder.close()
    assert len(read_session(tmp_path).files) == 3
    assert bench.reports == []


def test_a_disk_that_stalls_costs_moments_not_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = threading.Event()
    monkeypatch.setattr(os, "fsync", lambda _: free.wait(10))
    bench = Bench(tmp_path, period_s=0.0)
    taken = [bench.recorder.offer(moment(second)) for second in range(50)]
    assert 1 <= sum(taken) <= 2  # the one that is being written, and the one that waits
    free.set()
    bench.recorder.close()
    assert len(read_session(tmp_path).files) == sum(taken)


def test_a_disk_that_fills_up_is_reported_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path, period_s=0.0)
    assert bench.offer(1.0)
    monkeypatch.setattr(os, "fsync", no_space)
    assert bench.offer(2.0)
    bench.recorder.close()
    assert not any(bench.offer(float(second)) for second in range(3, 20))
    assert len(bench.reports) == 1
    assert "recording stopped after 1 sample:" in bench.reports[0]
    assert "No space left on device" in bench.reports[0]
    assert len(read_session(tmp_path).files) == 1


def test_a_report_that_nobody_hears_is_not_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def gone(_: str) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(os, "fsync", no_space)
    recorder = SessionRecorder(SessionWriter(tmp_path, HEADER), RecordingOptions(tmp_path), gone)
    assert recorder.offer(moment())
    recorder.close()
    assert capfd.readouterr().err == ""


def test_the_tabletops_session_is_made_from_its_seed(tmp_path: Path) -> None:
    folders = [record(tmp_path / str(n), moments=5, seed=seed) for n, seed in enumerate((3, 3, 4))]
    contents = [[path.read_bytes() for path in sorted(folder.iterdir())] for folder in folders]
    assert contents[0] == contents[1] != contents[2]
    session = read_session(folders[0])
    assert len(session.files) == 5
    first = session.sample(session.files[0])
    assert first.words.startswith("touch the ")
    assert first.actions.shape == (24, 6)
    assert not np.array_equal(first.observation.frames["face_view"], first.observation.frames["wrist_view"])


def test_the_tabletops_session_is_none_that_was_trained_on(tmp_path: Path) -> None:
    assert RECORD_STREAM not in (TRAIN_STREAM, EPISODE_STREAM)
    session = read_session(record(tmp_path / "s", moments=4))
    trained = sample_batch(np.random.default_rng([TRAIN_STREAM, 0]), 4)
    for path, state in zip(session.files, trained.state, strict=True):
        assert not np.allclose(session.sample(path).observation.state, state)
