"""Calibration data that must be refused by name, and recordings that must not take the arm down."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wall_edge_export.data.load import load_samples

from examples.tabletop.record_session import record
from tests.patience import patient, patient_file
from wall_edge.bundle import Bundle, Embodiment, ImageGeometry, file_digest, joint_layout
from wall_edge.config import RobotConfig
from wall_edge.errors import ConfigError
from wall_edge.runtime.daemon.daemon import Daemon
from wall_edge.runtime.telemetry.session_recorder import RecordingOptions
from wall_edge.session_format import read_session
from wall_edge.sim.tabletop import arm
from wall_edge.sim.tabletop.render import CAMERAS
from wall_edge.sim.worlds import open_world

ROBOT = Path(__file__).parents[3] / "examples" / "tabletop" / "robot.yaml"
GEOMETRY = dict.fromkeys(CAMERAS, ImageGeometry(84, 84))
MOMENTS = 9
TABLETOP: dict[str, Any] = {
    "embodiment": Embodiment(
        name="tabletop",
        state=joint_layout(arm.JOINTS, (0.0,) * 6, (2.0,) * 6, clip=1.0),
        action=joint_layout(arm.JOINTS, (0.0,) * 6, (0.3,) * 6, reference="state"),
    ),
    "cameras": GEOMETRY,
    "horizon": 24,
    "action_rate_hz": 30.0,
    "count": 8,
}
Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session of the tabletop; read-only."""
    return record(tmp_path_factory.mktemp("recorded") / "session", MOMENTS)


@pytest.fixture
def session(recorded: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(recorded, tmp_path / "session"))


def refused(source: Path, wanted: dict[str, Any] = TABLETOP, **changes: Any) -> str:
    """The one line with which the data is refused."""
    with pytest.raises(ConfigError) as error:
        load_samples(source, **{**wanted, **changes})
    assert "\n" not in str(error.value)
    assert "expected" in str(error.value)
    return str(error.value)


def test_folders_that_hold_no_data(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    reasons = {
        tmp_path: "no session.yaml and no meta/info.json",
        tmp_path / "nowhere": "no such folder",
        tmp_path / "file": "not a folder",
    }
    for source, reason in reasons.items():
        message = refused(source)
        assert message.startswith(f"{source}: {reason}; expected a recorded session or a LeRobot dataset")
        assert "wall-edge run ROBOT.yaml --record DIR" in message


@pytest.mark.parametrize(("count", "noun"), [(7, "samples"), (1, "sample"), (0, "samples"), (-1, "samples")])
def test_too_few_samples_asked_for(recorded: Path, count: int, noun: str) -> None:
    assert refused(recorded, count=count).startswith(f"{count} calibration {noun}; expected at least 8")


@pytest.mark.parametrize(("moments", "noun"), [(1, "sample"), (7, "samples")])
def test_too_few_moments(tmp_path: Path, moments: int, noun: str) -> None:
    message = refused(record(tmp_path / "s", moments))
    assert f"{moments} {noun}; expected at least 8; record longer" in message


def test_just_enough_moments(tmp_path: Path) -> None:
    assert len(load_samples(record(tmp_path / "s", 8), **TABLETOP).samples) == 8


@pytest.mark.parametrize(
    ("names", "named"),
    [
        (arm.JOINTS[:5], "gripper; expected shoulder_pan"),
        (arm.JOINTS[::-1], "expected gripper, wrist_roll"),
        (("waist", *arm.JOINTS[1:]), "expected waist"),
    ],
)
def test_joints_of_another_embodiment(recorded: Path, names: tuple[str, ...], named: str) -> None:
    dof = len(names)
    layout = joint_layout(names, (0.0,) * dof, (2.0,) * dof)
    other = replace(TABLETOP["embodiment"], state=layout, action=layout)
    message = refused(recorded, embodiment=other)
    assert "session.yaml: calibration data of another embodiment" in message
    assert named in message


def test_cameras_of_another_embodiment(recorded: Path) -> None:
    message = refused(recorded, cameras={**GEOMETRY, "top_view": ImageGeometry(84, 84)})
    assert "no camera top_view; expected top_view of 84x84 pixels" in message
    message = refused(recorded, cameras={**GEOMETRY, "wrist_view": ImageGeometry(84, 85)})
    assert "frames of wrist_view are 84x84; expected wrist_view of 84x85" in message


def test_a_camera_that_the_policy_does_not_use_is_no_obstacle(recorded: Path) -> None:
    loaded = load_samples(recorded, **{**TABLETOP, "cameras": {"wrist_view": GEOMETRY["wrist_view"]}})
    assert all(list(sample.observation.frames) == ["wrist_view"] for sample in loaded.samples)


@pytest.mark.parametrize("change", [{"horizon": 23}, {"horizon": 25}, {"action_rate_hz": 29.0}])
def test_chunks_of_another_length(recorded: Path, change: dict[str, Any]) -> None:
    assert "session.yaml: chunks of 24 steps at 30 Hz" in refused(recorded, **change)


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (lambda d: d.update(format_version=3), "format version 3; expected 1 or 2"),
        (lambda d: d.pop("format_version"), "format version None"),
        (lambda d: d["state"].update(gripper="turns"), "state.gripper is 'turns'; expected 'rad' or 'deg'"),
        (lambda d: d.update(horizont=3), "horizont is not a known key"),
        (lambda d: d.pop("cameras"), "cameras is missing"),
        (lambda d: d.update(horizon=0), "horizon is 0"),
        (lambda d: d.update(action_rate_hz=0), "action_rate_hz is 0"),
        (lambda d: d.update(actions={}), "actions is []"),
        (lambda d: d.update(state=["a", "b"]), "state is ['a', 'b']; expected a mapping"),
    ],
)
def test_a_damaged_header(session: Path, edit: Callable[[dict[str, Any]], Any], named: str) -> None:
    path = session / "session.yaml"
    data = yaml.safe_load(path.read_text())
    edit(data)
    path.write_text(yaml.safe_dump(data))
    message = refused(session)
    assert message.startswith(f"{path}: ")
    assert named in message


@pytest.mark.parametrize("text", ["", "- 1\n", "a: ["])
def test_a_header_that_is_none(session: Path, text: str) -> None:
    (session / "session.yaml").write_text(text)
    assert "session.yaml" in refused(session)


def rewrite(path: Path, edit: Callable[[Arrays], Any]) -> None:
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    edit(arrays)
    np.savez(path, **arrays)


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (lambda a: a["state"].__setitem__(3, np.nan), "state holds values that are not finite"),
        (lambda a: a["actions"].__setitem__((23, 5), np.inf), "actions holds values that are not finite"),
        (lambda a: a.pop("words"), "expected actions, epoch"),
        (lambda a: a.update(more=np.zeros(1)), "more"),
        (lambda a: a.update(state=np.zeros(5)), "state is float64 [5]; expected float64 [6]"),
        (lambda a: a.update(state=np.zeros(6, np.float32)), "state is float32 [6]"),
        (lambda a: a.update(actions=np.zeros((23, 6))), "actions is float64 [23, 6]"),
        (lambda a: a.update({"frames.face_view": np.zeros((84, 84), np.uint8)}), "frames.face_view is uint8"),
        (lambda a: a.update(words=np.array(b"touch")), "words is |S5 []"),
        (lambda a: a.update(words=np.array({}, dtype=object)), "damaged, or not an npz"),
    ],
)
def test_a_field_that_is_wrong(session: Path, edit: Callable[[Arrays], Any], named: str) -> None:
    path = session / "000004.npz"
    rewrite(path, edit)
    message = refused(session, count=MOMENTS)
    assert message.startswith(f"{path}: ")
    assert named in message


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.99, -1])
def test_a_moment_that_was_cut_off(session: Path, keep: float) -> None:
    path = session / "000002.npz"
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if 0 < keep < 1 else int(keep)])
    assert f"{path}: damaged" in refused(session, count=MOMENTS)


def test_members_that_are_no_arrays(session: Path) -> None:
    path = session / "000002.npz"
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("readme.txt", "hello")
    assert f"{path}: damaged" in refused(session, count=MOMENTS)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_bit_is_found_or_changes_nothing(
    recorded: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("flip")
    shutil.copy(recorded / "session.yaml", folder)
    content = bytearray((recorded / "000001.npz").read_bytes())
    # Half of the flips in what holds no pixels: headers, names, the archive's directory.
    ends = st.one_of(st.integers(0, 200), st.integers(len(content) - 2500, len(content) - 1))
    position = data.draw(st.one_of(ends, st.integers(0, len(content) - 1)))
    content[position] ^= 1 << data.draw(st.integers(0, 7))
    (folder / "000001.npz").write_bytes(bytes(content))
    damaged = read_session(folder)
    try:
        found = damaged.sample(damaged.files[0])
    except ConfigError as error:
        assert "000001.npz" in str(error)  # noqa: PT017 - either is right
        return
    whole = read_session(recorded)
    wanted = whole.sample(whole.files[0])
    assert np.array_equal(found.actions, wanted.actions)
    assert np.array_equal(found.observation.state, wanted.observation.state)
    assert found.words == wanted.words
    for name, frame in wanted.observation.frames.items():
        assert np.array_equal(found.observation.frames[name], frame)


def test_states_in_degrees_are_not_taken_for_rad(session: Path) -> None:
    for path in session.glob("*.npz"):
        rewrite(path, lambda a: a.update(state=np.degrees(a["state"]), actions=np.degrees(a["actions"])))
    message = refused(session)
    assert "the units look wrong" in message
    assert "expected policy values, shoulder_lift in rad" in message


def test_a_session_needs_no_pyarrow(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "av", None)
    assert len(load_samples(recorded, **TABLETOP).samples) == 8


def until_recorded(command: list[str], folder: Path, samples: int) -> tuple[int, str, str]:
    """Runs a command until so many samples are there, however slow the machine: its code and its words."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 240
        while process.poll() is None and len(list(folder.glob("[0-9]*.npz"))) < samples:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=240)
    finally:
        process.kill()
    return process.returncode, output, errors


def test_a_run_is_recorded(shipped_bundle: Path, tmp_path: Path) -> None:
    """D: what the daemon recorded is calibration data of the bundle that acted, on a busy machine too."""
    data = patient_file(yaml.safe_load(ROBOT.read_text()))
    data["bundle"] = str(shipped_bundle)
    robot, folder = tmp_path / "robot.yaml", tmp_path / "rec"
    robot.write_text(yaml.safe_dump(data))
    command = [sys.executable, "-m", "wall_edge", "run", str(robot)]
    command += ["--record", str(folder), "--record-period", "0.2", "--record-moments", "10"]
    code, output, errors = until_recorded(command, folder, 10)
    assert code == 0, errors
    assert f"recorded 10 samples in {folder}" in output
    made = Bundle(shipped_bundle).manifest
    wanted = {name: getattr(made, name) for name in ("embodiment", "cameras", "horizon", "action_rate_hz")}
    loaded = load_samples(folder, **wanted, count=10)
    times = [sample.observation.time_ns for sample in loaded.samples]
    assert min(np.diff(times)) >= 0.2e9
    assert all(sample.words.startswith("touch the ") for sample in loaded.samples)
    assert read_session(folder).header.bundle_sha256 == file_digest(shipped_bundle / "manifest.yaml")

    again = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert again.returncode == 1
    assert "holds another session" in again.stderr
    assert again.stderr.count("\n") == 1


def test_a_recording_that_fails_does_not_take_the_arm_down(
    robot: RobotConfig, shipped_bundle: Path, tmp_path: Path
) -> None:
    """The folder vanishes while the arm works, as a memory stick does: reported once, and the run goes on."""
    options = RecordingOptions(tmp_path / "rec", period_s=0.1)
    world = open_world(robot)
    assert world is not None
    config = replace(patient(robot), bundle=shipped_bundle)
    with Daemon(config, world=world, recording=options) as daemon:
        world.start_episode(0)
        while not list(options.folder.glob("*.npz")):
            daemon.poll()
        options.folder.rename(tmp_path / "gone")
        while not daemon.inbox.recording_trouble:
            daemon.poll()
        chunks = len(daemon.record.chunks)
        while len(daemon.record.chunks) < chunks + 10:
            daemon.poll()
    assert "recording stopped after" in daemon.inbox.recording_trouble
    assert daemon.record.refused["recording"] == 1
    assert daemon.record.servo["state"] == "RELEASED"
    assert daemon.record.servo["fault"] is None
    session = read_session(tmp_path / "gone")
    assert all(session.sample(path) for path in session.files)
