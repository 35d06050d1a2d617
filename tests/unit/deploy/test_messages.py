"""What workstation and robot tell one another: what is written is read, anything else is one line."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wall_edge.deploy.messages import (
    MARK,
    Activation,
    Awaiting,
    Copied,
    Done,
    Failed,
    FileEntry,
    FromRobot,
    FromWorkstation,
    Hello,
    Offer,
    Progress,
    StageSummary,
    encoded,
    from_robot,
    from_workstation,
)
from wall_edge.errors import RuntimeFault

ACTIVATION = Activation(
    digest="0" * 64,
    folder="/place/bundles/0",
    current="/place/current",
    previous=None,
    engine="onnxruntime",
    device="cpu",
    description="ONNX Runtime",
    recipe="fp32",
    stages={"chunk": StageSummary(1, "relative_l2", 1e-6, 1e-4)},
    built={"expert": 2.5},
    removed=("/place/bundles/1",),
    running=True,
    notes=("a note",),
    date="2026-11-26 14:10 UTC",
)


@pytest.mark.parametrize(
    "message",
    [
        Hello("0.1.0", 3, ""),
        Awaiting("/place/incoming/0", {"expert.data": 12}, ("expert.data",)),
        Progress("copy", 12),
        Done(ACTIVATION),
        Failed("two\nlines"),
    ],
)
def test_the_robots(message: FromRobot) -> None:
    line = encoded(message)
    assert line.startswith(MARK)
    assert line.count("\n") == 1
    assert from_robot(line) == message


@pytest.mark.parametrize("message", [Offer({"manifest.yaml": FileEntry(3, "a" * 64)}), Copied()])
def test_the_workstations(message: FromWorkstation) -> None:
    assert from_workstation(encoded(message)) == message


def test_a_login_may_greet() -> None:
    assert from_robot("Welcome to Ubuntu 22.04.4 LTS (GNU/Linux 5.15.148-tegra aarch64)") is None
    assert from_workstation("\n") is None


@pytest.mark.parametrize(
    "data",
    [
        {},
        [],
        {"kind": "hello"},
        {"kind": "hello", "version": "1", "format_version": "3", "rsync": ""},
        {"kind": "awaiting", "folder": "/x", "missing": {"../x": 0}},
        {"kind": "awaiting", "folder": "/x", "missing": {"a/b": 0}},
        {"kind": "awaiting", "folder": "/x\x1b[2J", "missing": {}},
        {"kind": "awaiting", "folder": "/x", "missing": {f"f{i}": 0 for i in range(99)}},
        {"kind": "done", "activation": {"digest": "x"}},
        {"kind": "offer", "files": {}},
    ],
)
def test_what_no_robot_of_ours_says(data: object) -> None:
    with pytest.raises(RuntimeFault, match="what the robot said"):
        from_robot(MARK + json.dumps(data))


@pytest.mark.parametrize("name", ["-rf", "a\nput /etc/passwd", "../x", "x/y", "", "a*"])
def test_names_become_lines_of_a_batch_file_and_so_are_plain(name: str) -> None:
    with pytest.raises(RuntimeFault):
        from_workstation(json.dumps({"kind": "offer", "files": {name: {"bytes": 1, "sha256": "a" * 64}}}))


@given(st.text(max_size=200))
def test_any_text_is_a_message_or_one_line(text: str) -> None:
    for read, line in ((from_robot, MARK + text), (from_workstation, text)):
        with suppress(RuntimeFault):
            read(line)


def test_a_greeting_without_a_lines_end() -> None:
    """A login that sets the terminal's title, say: the robot's first word was lost, and it seemed silent."""
    hello = Hello("0.1.0", 3, "3.2.7")
    assert from_robot("\x1b]0;robot\x07" + encoded(hello).rstrip("\n")) == hello


def test_a_folder_is_one_line_of_a_batch_file() -> None:
    line = encoded(Awaiting("/place/x", {})).replace("/x", r"\n!touch /tmp/x")
    with pytest.raises(RuntimeFault, match="a path on one line"):
        from_robot(line)
