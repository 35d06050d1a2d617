"""What a user may do: groups, limits, and names that reach no command."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.recorded import beside_kernel, change, copied, machine, robot_file
from wall_edge.doctor import diagnose, this_machine


def test_a_user_without_any_limit_has_two_findings(tmp_path: Path) -> None:
    root = copied("agx-orin-64", tmp_path)
    change(root, "/etc/security/limits.d/wall-edge.conf", None)
    assert [one.check for one in beside_kernel(machine(root))] == ["limits", "limits"]


@pytest.mark.parametrize(
    "lines", ["@video - rtprio 99\n@robot soft memlock -1", "* - rtprio 80\n* - memlock infinity"]
)
def test_limits_come_from_groups_and_from_everybody_too(tmp_path: Path, lines: str) -> None:
    root = copied("agx-orin-64", tmp_path)
    change(root, "/etc/security/limits.d/wall-edge.conf", lines)
    assert beside_kernel(machine(root)) == []


def test_the_more_particular_line_of_a_limit_counts(tmp_path: Path) -> None:
    root = copied("agx-orin-64", tmp_path)
    change(
        root,
        "/etc/security/limits.d/wall-edge.conf",
        "robot - rtprio 5\nrobot - memlock unlimited\n* - rtprio 99",
    )
    assert "it is 5" in beside_kernel(machine(root))[0].what


def test_root_needs_no_groups_and_no_limits(tmp_path: Path) -> None:
    root = copied("agx-orin-64-faults", tmp_path)
    checks = {one.check for one in diagnose(replace(machine(root), user="root")).findings}
    assert not checks & {"groups", "limits"}


def test_a_robot_that_asks_for_no_real_time_needs_no_limits(tmp_path: Path) -> None:
    root = copied("agx-orin-64", tmp_path)
    change(root, "/etc/security/limits.d/wall-edge.conf", None)
    robot = robot_file(tmp_path, control={"fifo_priority": None, "lock_memory": False})
    assert beside_kernel(machine(root, robot)) == []


def test_a_session_older_than_its_group(tmp_path: Path) -> None:
    before = replace(machine(copied("agx-orin-64", tmp_path)), session_groups=frozenset({44, 1000}))
    (one,) = beside_kernel(before)
    assert (one.severity, one.check) == ("warning", "groups")
    assert "render" in one.what


def test_a_hostile_user_name_reaches_no_command(tmp_path: Path) -> None:
    root = copied("agx-orin-64-faults", tmp_path)
    seen = diagnose(replace(machine(root), user="x; rm -rf /")).findings
    assert all("rm -rf" not in one.fix for one in seen)
    assert any("$USER" in one.fix for one in seen)


def test_under_sudo_the_rights_are_those_of_whoever_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "robot")
    subject = this_machine(None, None)
    assert (subject.user, subject.session_groups) == ("robot", None)
    monkeypatch.delenv("SUDO_USER")
    assert this_machine(None, None).session_groups is not None
    assert this_machine(None, "somebody").session_groups is None
