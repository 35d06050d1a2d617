"""The systemd unit of a robot's daemon.

What must hold: whatever ends, hangs or is stopped, the arm comes to rest or its torque goes off before
anything is killed. systemd.service(5) and systemd.kill(5) say what the settings mean; why each has its
value stands in the unit. Core affinity is left alone: ``control.cpu`` ties the servo process to its core,
and real-time priority keeps the policy's threads from it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from wall_edge.config import RobotConfig, can_channels, serial_devices
from wall_edge.errors import ConfigError
from wall_edge.runtime.daemon.service.quoting import command_line, device_unit, plain_text
from wall_edge.runtime.daemon.shutdown import longest_release_s, longest_stop_s

_UNIT = Template("""\
# Printed by 'wall-edge service'; print it again when ROBOT.yaml has changed, as its times follow from that.
#   wall-edge service ROBOT.yaml | sudo tee /etc/systemd/system/wall-edge.service
#   sudo systemctl daemon-reload && sudo systemctl enable --now wall-edge
# Emergency stop: sudo systemctl kill -s USR1 wall-edge
# After a fault, as the user below: wall-edge clear ROBOT.yaml

[Unit]
Description=wall-edge on the robot $name (wall-edge run)
${device}# No network is needed.

[Service]
# Started means that the arm holds: the daemon says so, and nobody else may: not a process that it started.
Type=notify
NotifyAccess=main
${account}# Words reach the journal at once.
Environment=PYTHONUNBUFFERED=1
ExecStart=$start
# For imports and the digests of a large bundle. Then the daemon asks for more itself, as long as the start
# comes on; each of its processes has a limit of its own. Past it: SIGTERM, by which a start is given up.
TimeoutStartSec=600
# Fed by the supervisor's main loop, and only while the servo process ticks. Longer than the daemon takes to
# see that the servo process is silent (2 s), and than torque-off may take on a bus that is away (5 s).
WatchdogSec=10
# SIGTERM: to rest, then torque off. The servo process obeys it by itself when the supervisor hangs. SIGABRT,
# systemd's default, would end both and leave a powered arm that nobody watches.
WatchdogSignal=SIGTERM
KillSignal=SIGTERM
# To all processes: 'mixed' sends SIGKILL to the servo process on its way to rest once the supervisor is gone.
KillMode=control-group
# The longest way to rest, torque-off and the ends of all processes, each with the time that it may take
# when it hangs; SIGKILL comes after that. A stop takes seconds where nothing hangs.
TimeoutStopSec=$stop_s
# Behind the watchdog's signal the supervisor is taken to hang: until the servo process has let the arm go.
TimeoutAbortSec=$abort_s
# What the end of each process means is the daemon's to say: without a policy the arm goes to rest.
OOMPolicy=continue
# Whatever ended it, a person looks before an arm is powered again; a fault is latched besides.
Restart=no
${release}${realtime}# Before logins and updates, where no real-time priority holds: cameras and policy.
Nice=-5

[Install]
WantedBy=multi-user.target
""")
_DEVICE = """\
# An adapter may be there later than services start; without it the daemon says so.
Wants={units}
After={units}
"""
_RELEASE = """\
# Torque off where the supervisor was killed, as nobody may be left to do so. One that ended by itself has
# said what became of the torque, and a start that was refused leaves it as it was.
ExecStopPost={command}
"""
_RELEASE_SCRIPT = 'case "$SERVICE_RESULT $EXIT_CODE" in success*) ;; *killed|*dumped) exec "$@";; esac'
_UNFIT = frozenset("\"'\\\x7f") | frozenset(map(chr, range(32)))
"""What systemd refuses in a program's path, quoted or not."""


@dataclass(frozen=True)
class Account:
    """Whose the daemon's processes are; ``groups``: of its devices, those that this machine has."""

    user: str
    groups: Sequence[str]


def unit_text(
    config: RobotConfig,
    robot: Path,
    account: Account,
    python: str,
    *,
    instruction: str | None = None,
    events: Path | None = None,
) -> str:
    """The unit; ``robot`` is where ``config`` was read from, ``python`` the interpreter that has wall-edge.

    Raises ConfigError for an interpreter that systemd cannot start.
    """
    if unfit := _UNFIT.intersection(python):
        raise ConfigError(
            f"the interpreter {python!r}",
            expected=f"a path without {', '.join(sorted(map(repr, unfit)))}, which systemd refuses",
            fix="install wall-edge into a virtual environment elsewhere",
        )
    wall_edge, place = [python, "-m", "wall_edge"], str(robot.absolute())
    options = [] if instruction is None else [f"--instruction={instruction}"]
    options += [] if events is None else [f"--events={events.absolute()}"]
    release = ["/bin/sh", "-c", _RELEASE_SCRIPT, "sh", *wall_edge, "release", place]
    return _UNIT.substitute(
        name=plain_text(config.name),
        device=_device(config),
        account=_account(account),
        start=command_line([*wall_edge, "run", place, *options]),
        stop_s=math.ceil(longest_stop_s(config)),
        abort_s=math.ceil(longest_release_s(config)),
        release="" if config.simulated else _RELEASE.format(command=command_line(release)),
        realtime=_realtime(config),
    )


def _device(config: RobotConfig) -> str:
    """Serial ports that udev knows, and the kernel's CAN interfaces."""
    if config.simulated:
        return ""
    ports = serial_devices(config.drives).values()
    files = [port for port in ports if port.startswith("/dev/") and not port.startswith("/dev/pts/")]
    files += [f"/sys/subsystem/net/devices/{can.channel}" for can in can_channels(config.drives).values()]
    units = " ".join(map(device_unit, files))
    return _DEVICE.format(units=units) if files else ""


def _account(account: Account) -> str:
    lines = ["# Whose latch 'wall-edge clear' has to find, too.", f"User={account.user}"]
    if account.groups:
        groups = " ".join(account.groups)
        lines += ["# Serial ports; cameras and a Jetson's GPU.", f"SupplementaryGroups={groups}"]
    return _lines(lines)


def _realtime(config: RobotConfig) -> str:
    control, lines = config.control, []
    if control.fifo_priority is not None:
        lines += ["# control.fifo_priority, which only root may ask for otherwise."]
        lines += [f"LimitRTPRIO={control.fifo_priority}"]
    if control.lock_memory:
        lines += ["# control.lock_memory", "LimitMEMLOCK=infinity"]
    return _lines(lines)


def _lines(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
