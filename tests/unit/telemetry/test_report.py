"""The HTML report of a made-up run; run as a script with FILE.html, it writes one to look at."""

from __future__ import annotations

import re
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from tests.reference_trace import Trace
from wall_edge.errors import ConfigError
from wall_edge.runtime.telemetry.run_log import ChunkRecord, EpisodeRecord, FrameRecord, RunLog, SubgoalRecord
from wall_edge.runtime.telemetry.servo.latency import LatencyRecorder

pytest.importorskip("matplotlib")
from wall_edge.report import write_report

S, MS = 1_000_000_000, 1_000_000
JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
FACTS = {"machine": "2 cores <aarch64>", "versions": "wall-edge 0.1.0", "date": "2025-01-02 03:04"}
EVIL = "<script>alert('x')</script> & touch the red block, then $\\frac the blue block."


def _frame(camera: str, time_ns: int, epoch: int, share: float, size: int) -> FrameRecord:
    pixels = np.full((size, size, 3), 205 if camera == "face_view" else 165, np.uint8)
    pixels[size // 4 : size // 3, size // 4 : size // 3] = (200, 40, 40)
    pixels[size // 2 : size // 2 + 8, size // 2 : size // 2 + 8] = (40, 60, 200)
    column = int(share * (size - 12))
    pixels[10 : size - 10, column : column + 6] = (60, 60, 60)
    return FrameRecord(camera, time_ns, epoch, pixels)


def _add_episode(
    record: RunLog, trace: Trace, epoch: int, instruction: str, status: str, seconds: float
) -> None:
    rng = np.random.default_rng(epoch)
    start, length = epoch * 20 * S, int(seconds * S)
    first, second = "touch the red block.", "touch the blue block."
    truths = ((start, first), (start + length // 2, second))
    record.episodes.append(EpisodeRecord(epoch, epoch, instruction, start, start + length, status, truths))
    for n, at in enumerate(range(start, start + length - 300 * MS, 110 * MS)):
        text = first if at < start + length * 0.5 or (status != "success" and n % 7 < 5) else second
        ready = at + int(rng.gamma(20, 4) * MS)
        record.chunks.append(ChunkRecord(len(record.chunks), epoch, at, ready, n, text))
        if n % 4 == 0:
            switched = n > 0 and record.subgoals[-1].text != text
            late = int(rng.gamma(30, 8) * MS)
            record.subgoals.append(SubgoalRecord(n, epoch, at, at + late, text, switched))
    chunks = [chunk for chunk in record.chunks if chunk.epoch == epoch]
    for at in range(start, start + length, 20 * MS):
        t = (at - start) / S
        setpoint = np.array([np.sin(0.6 * t), -0.5 + 0.3 * t % 1, 0.8 * np.cos(t), 1.5 - 0.1 * t, 0, 0.0])
        position = setpoint + rng.normal(0, 0.004, 6) - 0.03
        known = [(chunk.index, chunk.observation_ns) for chunk in chunks if chunk.published_ns <= at]
        trace.add(at, 2 if known else 1, epoch, known[-1] if known else (-1, 0), setpoint, position)
    for at in range(start, start + length, 500 * MS):
        for camera in ("face_view", "wrist_view"):
            record.frames.append(_frame(camera, at + 3 * MS, epoch, (at - start) / length, 84))


def _servo(trace: Trace) -> dict[str, object]:
    lateness, rng = LatencyRecorder(), np.random.default_rng(7)
    for value in np.concatenate([rng.gamma(9, 7_000, 8000), rng.gamma(2, 400_000, 60)]):
        lateness.record(int(value))
    refused = "refused: Operation not permitted; grant CAP_SYS_NICE or raise rtprio"
    return {
        "state": "RELEASED",
        "fault": "",
        "ticks": 8060,
        "seconds": 32.24,
        "waiting_ticks": 41,
        "starved_ticks": 0,
        "overruns": 2,
        "skipped": 3,
        "lateness_us": lateness.summary_us(),
        "chunks": {"taken": 140, "refused": {"epoch": 1, "order": 0, "age": 2}},
        "limiter": {"position": [0] * 6, "velocity": [3, 0, 0, 12, 0, 0], "refused": 0},
        "realtime": {
            "scheduler": {"name": "scheduler", "granted": False, "detail": refused},
            "gc": {"name": "gc", "granted": True, "detail": "frozen and disabled"},
        },
        "trace": trace.columns(),
    }


def _run(statuses: dict[str, str], seconds: float) -> RunLog:
    record, trace = RunLog(joint_names=JOINTS, refused=Counter(jump=2)), Trace(6, 250.0)
    for epoch, (instruction, status) in enumerate(statuses.items(), 1):
        _add_episode(record, trace, epoch, instruction, status, seconds)
    record.servo = _servo(trace)
    return record


def _two() -> RunLog:
    return _run({"touch the red block, then the blue block.": "success", EVIL: "wrong_block"}, 8.0)


def _summary(record: RunLog) -> dict[str, object]:
    good = sum(episode.status == "success" for episode in record.episodes)
    latency = {"p50": 81.2, "p99": 140.0}
    return {
        "episodes": len(record.episodes),
        "successes": good,
        "success_rate": good / max(1, len(record.episodes)),
        "servo": {
            "rate_hz": 249.97,
            "lateness_us": {"p50": 61.0, "p99": 170.0, "p999": 1510.0},
            "starved_ticks": 0,
            "overruns": 2,
        },
        "policy": {"chunks": len(record.chunks), "latency_ms": latency},
        "subgoals": {
            "generated": len(record.subgoals),
            "switches": 3,
            "latency_ms": latency,
            "longest_chunk_interval_ms": record.longest_chunk_interval_ms(),
        },
        "bus": {"cycles_hz": 249.9, "errors": 0},
        "report": "report.html",
    }


class _Balance(HTMLParser):
    """Fails on a tag that is closed out of turn, and counts tags."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.count: dict[str, int] = {}
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count[tag] = self.count.get(tag, 0) + 1
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        for name, value in attrs:
            assert name not in ("src", "href") or str(value).startswith("data:")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ("path", "use", "rect", "image"), tag
        assert all(not name.endswith("href") or str(value).startswith("#") for name, value in attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def _parse(path: Path) -> _Balance:
    parser = _Balance()
    parser.feed(path.read_text(encoding="utf-8"))
    parser.close()
    assert not parser.open
    return parser


def test_report_of_two_episodes(tmp_path: Path) -> None:
    record, path = _two(), tmp_path / "new" / "report.html"
    write_report(record, _summary(record), path, FACTS)
    page = _parse(path)
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]
    assert "1 of 2 episodes succeeded" in page.text
    for episode in record.episodes:
        assert page.text.count(episode.instruction) == 2
    assert "✓ success" in page.text
    assert "✗ wrong block" in page.text
    assert "expected: touch the blue block." in page.text
    assert "2 cores <aarch64>" in page.text
    assert "script" not in page.count
    assert page.count["svg"] == 2 * len(JOINTS) + 4
    assert page.count["img"] == 2 * 6 * 2
    assert "CAP_SYS_NICE" in page.text
    assert "shoulder_pan 3, wrist_flex 12" in page.text
    assert "nothing recorded" not in page.text


def test_nothing_from_outside_and_small_for_twenty_episodes(tmp_path: Path) -> None:
    statuses = {f"touch block {n}.": "timeout" if n % 2 else "success" for n in range(20)}
    record, path = _run(statuses, 12.0), tmp_path / "report.html"
    write_report(record, _summary(record), path, FACTS)
    text = path.read_text(encoding="utf-8")
    assert path.stat().st_size < 3_000_000
    assert set(re.findall(r"https?://[\w./-]+", text)) == {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert "Failed too, not drawn: 10, 12, 14, 16, 18, 20." in text


def test_empty_record(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    for record in (RunLog(), RunLog(joint_names=JOINTS, servo=_servo(Trace(6, 250.0)))):
        write_report(record, {}, path, {})
        page = _parse(path)
        assert "wall-edge demo: nothing recorded" in page.text
        assert page.text.count("nothing recorded") >= 5
        assert "nan" not in page.text.lower().replace("nan or infinite", "")
    empty = {"count": 0, "p50": None, "p99": None, "p999": None, "max": None}
    lateness = LatencyRecorder().summary_us()
    assert lateness.items() >= empty.items()
    write_report(RunLog(servo={"lateness_us": lateness}), {}, path, {})


def test_an_episode_without_trace_frames_or_chunks(tmp_path: Path) -> None:
    episode, path = EpisodeRecord(1, 1, "wait", S, S, "timeout", ()), tmp_path / "report.html"
    write_report(RunLog(episodes=[episode]), {}, path, {})
    page = _parse(path)
    assert "joints: nothing recorded" in page.text
    assert "camera frames: nothing recorded" in page.text


def test_one_of_everything(tmp_path: Path) -> None:
    lateness, trace = LatencyRecorder(), Trace(1, 250.0)
    lateness.record(50_000)
    for at in (S, S + 20 * MS):
        trace.add(at, 2, 1, (0, S), np.array([np.nan]), np.zeros(1))
    record = RunLog(
        chunks=[ChunkRecord(0, 1, S, S + 80 * MS, 0, "go")],
        subgoals=[SubgoalRecord(0, 1, 0, S, "go", False)],
        episodes=[EpisodeRecord(1, 1, "go", S, 2 * S, "success", ((S, "go"),))],
        frames=[_frame("face_view", S, 1, 0.5, 640)],
        servo={"lateness_us": lateness.summary_us(), "trace": trace.columns()},
    )
    path = tmp_path / "report.html"
    write_report(record, {}, path, {})
    page = _parse(path)
    assert page.count["svg"] == 1 + 3
    assert page.count["img"] == 1
    assert "go ×1, not judged" in page.text


def test_a_report_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot write"):
        write_report(RunLog(), {}, tmp_path / "file" / "report.html", {})
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(ConfigError, match="cannot write"):
        write_report(RunLog(), {}, tmp_path / "folder.html", {})
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder.html"]


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("wall_edge.report")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match=r"matplotlib is not installed.*pip install 'wall-edge\[report\]'"):
        import wall_edge.report  # noqa: F401


if __name__ == "__main__":
    _record = _two()
    write_report(_record, _summary(_record), Path(sys.argv[1]), FACTS)
