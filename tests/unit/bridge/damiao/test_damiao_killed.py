"""A host that is killed: the motors let go by themselves, on a real socket and a real port."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from wall_edge_bridge.kinds.damiao import KIND, DamiaoSettings
from wall_edge_bridge.kinds.damiao.registers import LOST_COMMUNICATION
from wall_edge_bridge.sim.stations import serving

from tests.unit.bridge.damiao.damiao_rig import JOINTS

WATCHDOG_S = 2.5
"""A busy machine may stall for two seconds."""
HOST = f"""
import sys, time
import numpy as np
from wall_edge_bridge.drives import Setpoints
from wall_edge_bridge.kinds.damiao import KIND
from wall_edge_bridge.transport.opening import open_wire
from tests.unit.bridge.damiao.damiao_rig import JOINTS

settings = KIND.settings(**eval(sys.argv[1]))
with KIND.open_drive(settings, JOINTS, open_wire(settings)) as drive:
    drive.check()
    drive.arm_watchdog({WATCHDOG_S})
    drive.enable()
    print("enabled", flush=True)
    while True:
        drive.cycle(Setpoints.hold(np.zeros(3)), time.monotonic_ns() + 10**10)
        time.sleep(0.005)
"""


@pytest.mark.parametrize("interface", ["unix", "damiao-usb"])
def test_when_the_host_is_killed_every_motor_lets_go_in_its_time(interface: str) -> None:
    settings = DamiaoSettings(interface=interface)  # type: ignore[arg-type]
    twin = KIND.make_twin(settings, JOINTS, np.zeros(3), timed=False)
    with serving(twin) as (station,):
        keys = repr({"interface": interface, "channel": station.place, "timeout_ms": 1000.0})
        with subprocess.Popen([sys.executable, "-c", HOST, keys], stdout=subprocess.PIPE, text=True) as host:
            assert host.stdout is not None
            try:
                assert host.stdout.readline() == "enabled\n"
                time.sleep(WATCHDOG_S * 1.2)
                assert all(twin.powered(time.monotonic_ns()))
            finally:
                os.kill(host.pid, signal.SIGKILL)
        time.sleep(WATCHDOG_S * 1.05)
        assert not any(twin.powered(time.monotonic_ns()))
    motors = getattr(twin, "bus", twin).motors
    assert {motor.state for motor in motors} == {LOST_COMMUNICATION}
