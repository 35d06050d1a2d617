"""What the user may do: real-time priority, locked memory, devices.

Formats: ``man 5 limits.conf``, ``man 5 group``. What a systemd unit grants (``LimitRTPRIO=``) is not in these
files: 'wall-edge service' writes that.
"""

from __future__ import annotations

from collections.abc import Iterator

from wall_edge.config import ControlConfig
from wall_edge.doctor.finding import Remark, Severity
from wall_edge.doctor.machine import Machine
from wall_edge.files import is_plain_name

_LIMITS = "/etc/security/limits.d"
_RTPRIO = ControlConfig.fifo_priority or 1


def limits(machine: Machine) -> Iterator[Remark]:
    """SCHED_FIFO and mlockall for whoever starts the daemon in a shell."""
    control = None if machine.robot is None else machine.robot.control
    priority = _RTPRIO if control is None else control.fifo_priority
    asked = {"rtprio": priority, "memlock": None if control is not None and not control.lock_memory else -1}
    user = _quoted(machine)
    if machine.user == "root":
        return
    for item, least in asked.items():
        value = _limit(machine, item)
        if least is None or value == -1 or (least > 0 and value is not None and value >= least):
            continue
        wish = "unlimited" if least < 0 else str(max(least, 95))
        now = "the default holds" if value is None else f"it is {value}"
        what = f"user {user} may not have {item} {'unlimited' if least < 0 else least} ({now})"
        fix = f"echo '{user} - {item} {wish}' | sudo tee -a {_LIMITS}/wall-edge.conf  # then log in again"
        yield Remark("warning", what, fix)


def _limit(machine: Machine, item: str) -> int | None:
    """The user's soft limit, -1 for none. The last line of the most particular domain counts."""
    tree, groups = (
        machine.tree,
        {f"@{name}" for name, _, members in _groups(machine) if machine.user in members},
    )
    files = ["/etc/security/limits.conf"]
    files += [f"{_LIMITS}/{name}" for name in tree.names(_LIMITS) if name.endswith(".conf")]
    best: tuple[int, int | None] = (-1, None)
    for line in (line for file in files for line in tree.lines(file)):
        fields = line.partition("#")[0].split()
        if len(fields) != 4 or fields[1] not in ("-", "soft") or fields[2] != item:
            continue
        rank = 2 if fields[0] == machine.user else 1 if fields[0] in groups else 0 if fields[0] == "*" else -1
        value = -1 if fields[3] in ("unlimited", "infinity", "-1") else _number(fields[3])
        if rank >= 0 and rank >= best[0] and value is not None:
            best = (rank, value)
    return best[1]


def groups(machine: Machine) -> Iterator[Remark]:
    """Serial ports belong to dialout, cameras to video; a Jetson's GPU to video and render."""
    if machine.user == "root":
        return
    robot, jetson = machine.real_robot, machine.facts.is_jetson
    needs = {
        "dialout": robot is not None,
        "video": (robot is not None and bool(robot.cameras)) or jetson,
        "render": jetson,
    }
    rows = {name: (number, members) for name, number, members in _groups(machine)}
    user = _quoted(machine)
    for group in (group for group, needed in needs.items() if needed and group in rows):
        number, members = rows[group]
        if machine.user not in members:
            severity: Severity = "error" if robot is not None and group != "render" else "warning"
            what = f"user {user} is not in group {group}"
            yield Remark(severity, what, f"sudo usermod -aG {group} {user}  # then log in again")
        elif machine.session_groups is not None and number not in machine.session_groups:
            what = f"user {user} is in group {group}, but this session began before that"
            yield Remark("warning", what, "log out and in again")


def _groups(machine: Machine) -> list[tuple[str, int, set[str]]]:
    """Name, number and members, those with it as their first group included."""
    first: dict[int, set[str]] = {}
    for line in machine.tree.lines("/etc/passwd"):
        fields = line.split(":")
        if len(fields) == 7 and (number := _number(fields[3])) is not None:
            first.setdefault(number, set()).add(fields[0])
    rows = []
    for line in machine.tree.lines("/etc/group"):
        fields = line.split(":")
        if len(fields) == 4 and (number := _number(fields[2])) is not None:
            rows.append((fields[0], number, set(fields[3].split(",")) | first.get(number, set())))
    return rows


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


def _quoted(machine: Machine) -> str:
    """The user, fit for a command."""
    return machine.user if machine.user is not None and is_plain_name(machine.user) else "$USER"
