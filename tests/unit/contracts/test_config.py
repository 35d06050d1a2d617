"""ROBOT.yaml and the generic loader: every mistake is one line with file, key, value and expectation."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from wall_edge_bridge.kinds.feetech import FeetechSettings

from wall_edge import config_loader
from wall_edge.config import AsyncScheduler, load_robot, robot_from_mapping
from wall_edge.config_loader import Invalid, from_mapping
from wall_edge.errors import BundleError, ConfigError

CAMERA = {"kind": "sim", "width": 84, "height": 84, "rate_hz": 30, "timeout_ms": 1000}
ROBOT: dict[str, Any] = {
    "name": "tabletop",
    "bundle": "bundle",
    "instruction": "touch the red block, then the blue block.",
    "control": {"rate_hz": 250, "fifo_priority": 80, "cpu": None, "rest": [0.0, 0.5], "rest_velocity": 0.8},
    "policy": {"threads": 1, "integration_steps": None, "subgoals": True},
    "simulated": True,
    "drives": {"arm": {"kind": "feetech"}},
    "joints": [
        {"name": "pan", "id": 1, "lower": -1.9, "upper": 1.9, "max_velocity": 4},
        {"name": "lift", "id": 2, "lower": -1.0, "upper": 1.0, "max_velocity": 4.0, "direction": -1},
    ],
    "cameras": {"face_view": CAMERA, "wrist_view": CAMERA},
    "simulation": {"world": "tabletop", "seed": 0},
}


def write(tmp_path: Path, **changes: object) -> Path:
    """ROBOT.yaml with some dotted keys (``__`` for the dot) replaced, or removed with ``...``."""
    data = copy.deepcopy(ROBOT)
    for dotted, value in changes.items():
        *parents, key = dotted.split("__")
        section: Any = data
        for parent in parents:
            section = section[int(parent) if parent.isdigit() else parent]
        if value is ...:
            del section[key]
        else:
            section[key] = value
    path = tmp_path / "robot.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


def message(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_robot(path)
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    return text


def test_a_complete_file(tmp_path: Path) -> None:
    config = load_robot(write(tmp_path))
    assert config.dof == 2
    assert config.bundle == (tmp_path / "bundle").resolve()
    assert config.joints[0].max_velocity == 4.0
    assert config.joints[1].direction == -1
    assert [joint.drive for joint in config.joints] == ["arm", "arm"]
    assert config.drives == {"arm": FeetechSettings("feetech", port="", baudrate=1_000_000)}
    assert config.joints_of("arm") == config.joints
    assert config.control.cpu is None
    assert list(config.cameras) == ["face_view", "wrist_view"]
    assert config.per_joint(lambda joint: joint.lower) == (-1.9, -1.0)
    assert pickle.loads(pickle.dumps(config)) == config


def test_what_may_be_left_out(tmp_path: Path) -> None:
    config = load_robot(write(tmp_path, policy=..., instruction=...))
    assert config.policy.subgoals
    assert config.instruction is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"control__rate_hzz": 1}, ["control.rate_hzz", "not a known key", "did you mean 'rate_hz'?"]),
        ({"nmae": "x"}, ["nmae", "did you mean 'name'?"]),
        ({"simulated": ..., "simulation": ...}, ["drives.arm.port is missing", "or simulated: true"]),
        ({"simulated": "yes"}, ["simulated is 'yes'", "true or false"]),
        ({"control__rest": ...}, ["control.rest is missing"]),
        ({"control__rate_hz": "fast"}, ["control.rate_hz", "'fast'", "a finite number"]),
        ({"control__rate_hz": True}, ["control.rate_hz", "True", "a finite number"]),
        ({"control__rate_hz": float("nan")}, ["control.rate_hz", "nan", "a finite number"]),
        ({"control__rate_hz": "1e2"}, ["control.rate_hz", "write 100.0"]),
        ({"control__rate_hz": 9.9}, ["control.rate_hz is 9.9", "10 to 1000 Hz"]),
        ({"control__rate_hz": 1001}, ["control.rate_hz is 1001", "10 to 1000 Hz"]),
        ({"control__lock_memory": 1}, ["control.lock_memory is 1", "true or false"]),
        ({"control__fifo_priority": 100}, ["control.fifo_priority is 100", "1 to 99"]),
        ({"control__rest": [0.0]}, ["control.rest", "2 angles"]),
        ({"control__rest": [0.0, 1.5]}, ["control.rest[1] is 1.5", "-1 to 1", "lift"]),
        ({"control__rest": 3}, ["control.rest is 3", "a list"]),
        ({"control__rest": ["a", 0]}, ["control.rest[0]", "'a'"]),
        ({"control__rest_velocity": 0}, ["control.rest_velocity", "more than 0"]),
        ({"control__feedback_timeout_ms": 1}, ["control.feedback_timeout_ms", "two ticks"]),
        ({"control": None}, ["control is null", "a mapping"]),
        (
            {"drives__arm__timeout_ms": 100},
            ["drives.arm.timeout_ms", "less than control.feedback_timeout_ms"],
        ),
        ({"drives__arm__kind": "feetec"}, ["drives.arm.kind", "'feetech'", "did you mean 'feetech'?"]),
        ({"joints": []}, ["joints", "at least one"]),
        ({"joints__1__id": 1}, ["joints[1].id is 1", "joints[0]"]),
        ({"joints__1__name": "pan"}, ["joints[1].name is 'pan'"]),
        ({"joints__0__lower": 1.9}, ["joints[0].lower is 1.9", "less than upper"]),
        ({"joints__0__direction": 2}, ["joints[0].direction is 2", "1 or -1"]),
        ({"joints__0__direction": True}, ["joints[0].direction is True"]),
        ({"joints__0__id": 254}, ["joints[0].id is 254", "0 to 253"]),
        ({"joints__0__id": 1.0}, ["joints[0].id is 1.0", "a whole number"]),
        ({"cameras__face_view__width": 0}, ["cameras.face_view.width is 0"]),
        ({"cameras__face_view__kind": "usb"}, ["cameras.face_view.kind is 'usb'"]),
        ({"control__blend_ms": 1}, ["control.blend_ms is 1", "two ticks"]),
        ({"control__blend_ms": 100}, ["control.blend_ms is 100", "less than policy.chunk_period_ms (100)"]),
        ({"control__starved_fault_ms": 0}, ["control.starved_fault_ms", "more than 0"]),
        ({"control__first_chunk_ms": 0}, ["control.first_chunk_ms", "more than 0"]),
        ({"control__heartbeat_timeout_ms": 0}, ["control.heartbeat_timeout_ms", "more than 0"]),
        ({"control__fault_hold_ms": -1}, ["control.fault_hold_ms is -1", "0 to 60000"]),
        ({"control__impossible_velocity": 0.5}, ["control.impossible_velocity is 0.5", "1 to 100"]),
        ({"joints__0__max_acceleration": 0}, ["joints[0].max_acceleration", "more than 0 rad/s²"]),
        ({"joints__0__max_velocity": 5e-324}, ["joints[0].max_velocity", "at least 1e-30 rad/s"]),
        ({"joints__0__max_jerk": -1}, ["joints[0].max_jerk", "more than 0 rad/s³"]),
        (
            {"joints__0__max_jerk": 1},  # 4 rad/s · √(4 / 1) s
            ["joint pan: stopping from 4 rad/s", "takes 8.000 rad", "1.9 - -1.9 = 3.800 rad"],
        ),
        (
            {"control__rate_hz": 10, "control__feedback_timeout_ms": 300, "control__blend_ms": 300}
            | {"joints__0__max_jerk": 4000},
            ["joint pan", "4000 · 0.1² / 8 = 5 rad/s", "max_velocity is 4", "raise control.rate_hz"],
        ),
        ({"cameras__face_view__frozen_ms": 0}, ["cameras.face_view.frozen_ms", "more than 0"]),
        ({"cameras__face_view__frozen_rad": 0}, ["cameras.face_view.frozen_rad", "more than 0"]),
        ({"policy__scheduler": "asynch"}, ["policy.scheduler is 'asynch'", "did you mean 'async'?"]),
        ({"policy__max_chunk_age_ms": 50}, ["policy.max_chunk_age_ms", "chunk_period_ms"]),
        ({"simulation": ...}, ["simulation", "simulated"]),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, changes: dict[str, object], words: list[str]) -> None:
    text = message(write(tmp_path, **changes))
    for word in words:
        assert word in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "a\0b"}, [r"name is 'a\x00b'", "1 to 64 printable characters"]),
        ({"name": "x" * 5000}, ["name is 'x", "1 to 64 printable characters"]),
        ({"name": " a"}, ["name is ' a'"]),
        ({"bundle": "a\0b"}, [r"bundle is 'a\x00b'", "printable"]),
        ({"bundle": "b" * 5000}, ["bundle is 'b", "at most 1024 characters"]),
        ({"instruction": "i" * 10**5}, ["instruction is 'i", "at most 4096"]),
        (
            {"drives__arm__baudrate": 10**18},
            ["drives.arm.baudrate is 1000000000000000000", "1200 to 6000000 bit/s"],
        ),
        ({"drives__arm__baudrate": 1}, ["drives.arm.baudrate is 1"]),
        ({"drives__arm__port": "/dev/\x1b[1m"}, ["drives.arm.port"]),
        ({"drives__arm__timeout_ms": 1e300}, ["drives.arm.timeout_ms", "at most 1000 ms"]),
        ({"joints": [ROBOT["joints"][0]] * 1000}, ["joints", "at most 64"]),
        ({"joints__0__name": "<|action|>"}, ["joints[0].name is '<|action|>'"]),
        ({"joints__0__name": "../evil"}, ["joints[0].name"]),
        ({"joints__0__upper": 1e300}, ["joints[0].upper", "-1000 to 1000 rad"]),
        ({"joints__0__max_velocity": 1e300}, ["max_velocity", "at most 1000 rad/s"]),
        ({"joints__0__max_jerk": 1e300}, ["max_jerk", "at most 100000000"]),
        ({"cameras": {"<|action|>": CAMERA}}, ["cameras.<|action|> is", "a name of at most 64"]),
        ({"cameras": {"../../evil": CAMERA}}, ["cameras.../../evil"]),
        ({"cameras": {f"view{n}": CAMERA for n in range(2000)}}, ["cameras is", "0 to 16 entries"]),
        ({"cameras__face_view__width": 16384}, ["cameras.face_view.width is 16384"]),
        ({"cameras__face_view": {**CAMERA, "width": 8192, "height": 8192}}, ["pixels in a frame"]),
        ({"cameras__face_view__rate_hz": 0}, ["cameras.face_view.rate_hz is 0"]),
        ({"cameras__face_view__timeout_ms": 1e300}, ["timeout_ms", "at most"]),
        ({"control__feedback_timeout_ms": 1e300}, ["control.feedback_timeout_ms", "60000"]),
        ({"control__starved_fault_ms": 1e300}, ["control.starved_fault_ms", "at most"]),
        ({"control__rest_velocity": 1e300}, ["control.rest_velocity", "at most"]),
        ({"policy__chunk_period_ms": 1e300}, ["policy.chunk_period_ms", "at most"]),
        ({"policy__rtc_max_guidance": 1e300}, ["policy.rtc_max_guidance", "at most"]),
        ({"model": {"time_grid": [0.0] * 5000}}, ["model.time_grid", "2 to 1001 entries"]),
        ({"simulation__seed": 10**18}, ["simulation.seed"]),
        ({"x" * 5000: 1}, ["is not a known key"]),
    ],
)
def test_h16_values_that_nothing_real_has(
    tmp_path: Path, changes: dict[str, object], words: list[str]
) -> None:
    """H5, H10, H16: bounds, plain names, short messages."""
    text = message(write(tmp_path, **changes))
    assert len(text) < 1500
    assert text.isprintable()
    for word in words:
        assert word in text


def test_a_name_with_a_slash_is_a_name(tmp_path: Path) -> None:
    assert load_robot(write(tmp_path, name="left/arm")).name == "left/arm"


@pytest.mark.parametrize("value", [10**400, "x" * 10**6, list(range(10**6)), {"a" * 10**5: 1}])
def test_h4_values_are_shown_shortened(value: object) -> None:
    """H4: before they are spelt, which alone took seconds."""
    assert len(str(Invalid("key", value, expected="less"))) < 300


def test_limits_that_contradict_each_other_name_the_file_too(tmp_path: Path) -> None:
    """They said the joint and the arithmetic, but not which of two ROBOT.yaml they were in."""
    path = write(tmp_path, joints__0__max_jerk=1)
    assert message(path).startswith(f"{path}: joint pan: ")
    path = write(tmp_path, model={"time_grid": [0.0, 0.5]})
    assert message(path).startswith(f"{path}: model: time grid [0.0, 0.5]; expected ")


@pytest.mark.parametrize("scheduler", ["naive", "async"])
def test_the_baseline_never_moves_a_real_arm(tmp_path: Path, scheduler: str) -> None:
    camera = {**CAMERA, "kind": "opencv", "device": 0}
    path = write(
        tmp_path,
        simulated=False,
        drives__arm__port="/dev/ttyUSB0",
        cameras={"face_view": camera},
        simulation=...,
        policy__scheduler=scheduler,
    )
    if scheduler == "async":
        assert load_robot(path).policy.scheduler == AsyncScheduler()
    else:
        assert "policy.scheduler is 'naive'" in message(path)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("a: [1, 2", "malformed YAML at line"),
        ("a: 1\n\tb: 2", "malformed YAML at line 2"),
        ("control: {rate_hz: 250, rate_hz: 500}", "rate_hz appears twice"),
        ("a: !!python/object/apply:os.system [ls]", "malformed YAML"),
        ("when: 2020-13-45", "malformed YAML"),
        ("[" * 5000, "malformed YAML"),
        ("", "the document is null"),
        ("- 1", "a mapping"),
        ("1: 2", "text as a key"),
    ],
)
def test_damaged_files(tmp_path: Path, text: str, word: str) -> None:
    path = tmp_path / "robot.yaml"
    path.write_text(text)
    assert word in message(path)


def test_unreadable_files(tmp_path: Path) -> None:
    assert "No such file" in message(tmp_path / "none.yaml")
    assert "directory" in message(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9")
    assert "not UTF-8 at byte 9" in message(tmp_path / "latin.yaml")


@dataclass(frozen=True)
class Tensor:
    name: str
    shape: tuple[int | str, ...]
    span: tuple[float, float] = (0.0, 1.0)
    kind: Literal["f16", "f32"] = "f32"
    extra: Any = None

    def __post_init__(self) -> None:
        if not self.shape:
            raise Invalid("shape", list(self.shape), expected="a dimension or more")


@dataclass(frozen=True)
class Manifest:
    graphs: dict[str, Tensor]


def test_other_schemas_and_errors() -> None:
    data: dict[str, Any] = {"graphs": {"vision": {"name": "x", "shape": [1, "n"], "span": [0, 2]}}}
    manifest = from_mapping(Manifest, data, "manifest.yaml", BundleError)
    assert manifest.graphs["vision"].shape == (1, "n")
    assert manifest.graphs["vision"].span == (0.0, 2.0)
    for key, value, words in (
        ("shape", [], "graphs.vision.shape is []; expected a dimension"),
        ("shape", [1.5], "graphs.vision.shape[0] is 1.5; expected a whole number or text"),
        ("span", [1], "graphs.vision.span has 1 entries; expected 2"),
        ("span", [1, 10**400], "graphs.vision.span[1]"),
    ):
        wrong = copy.deepcopy(data)
        wrong["graphs"]["vision"][key] = value
        with pytest.raises(BundleError) as caught:
            from_mapping(Manifest, wrong, "manifest.yaml", BundleError)
        assert str(caught.value).startswith(f"manifest.yaml: {words}")


def test_the_schema_pickles_and_checks_without_a_file() -> None:
    data = {key: value for key, value in ROBOT.items() if key != "simulation"}
    with pytest.raises(ConfigError, match="simulation"):
        robot_from_mapping(data, "here")
    with pytest.raises(ConfigError, match=r"^here: the document is 3; expected a mapping"):
        robot_from_mapping(3, "here")
    assert robot_from_mapping(ROBOT, "here").bundle == Path("bundle")


REAL = {"simulated": ..., "drives__arm__port": "/dev/ttyNONE", "simulation": ...}


def camera(device: object) -> dict[str, object]:
    return {**CAMERA, "kind": "opencv", "device": device}


def test_relative_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A12: one rule for bundle, port and devices, from whatever folder the command is called."""
    monkeypatch.chdir("/")
    devices = {
        "cameras__face_view": camera("video/a.avi"),
        "cameras__wrist_view": camera("rtsp://host/wrist"),
    }
    config = load_robot(write(tmp_path, **{**REAL, "drives__arm__port": "tty"}, **devices))
    assert config.drives["arm"].place == str(tmp_path / "tty")
    assert config.cameras["face_view"].device == str(tmp_path / "video" / "a.avi")
    assert config.cameras["wrist_view"].device == "rtsp://host/wrist"
    pipeline = "v4l2src device=/dev/video0 ! appsink"
    config = load_robot(write(tmp_path, **REAL, cameras={"a": camera(pipeline), "b": camera(2)}))
    assert [camera.device for camera in config.cameras.values()] == [pipeline, 2]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (0, 0),
        (0, "/dev/video0"),
        ("/dev/video7", "/dev/../dev/video7"),
        ("a.avi", "./a.avi"),
        ("link.avi", "a.avi"),
        ("rtsp://host/a", "rtsp://host/a"),
    ],
)
def test_two_cameras_on_one_device(tmp_path: Path, first: object, second: object) -> None:
    """A12: by whatever name."""
    (tmp_path / "link.avi").symlink_to("a.avi")
    devices = {"face_view": camera(first), "wrist_view": camera(second)}
    with pytest.raises(ConfigError, match=r"cameras.wrist_view.device .*; expected another device than that"):
        load_robot(write(tmp_path, **REAL, cameras=devices))


@dataclass(frozen=True)
class Entry:
    size: int


@dataclass(frozen=True)
class Entries:
    entries: dict[str, Entry]


def test_types_are_evaluated_once_not_for_each_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """90,000 cameras in a checkpoint's config.json took 26 s to refuse, most of it for their types."""
    asked: list[type] = []
    read = config_loader.get_type_hints
    monkeypatch.setattr(config_loader, "get_type_hints", lambda cls: (asked.append(cls), read(cls))[1])
    made = from_mapping(Entries, {"entries": {f"entry {n}": {"size": n} for n in range(100)}}, "here")
    assert made.entries["entry 99"] == Entry(99)
    assert len(asked) <= 2
