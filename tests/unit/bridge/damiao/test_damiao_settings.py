"""What ROBOT.yaml may say of Damiao motors."""

from __future__ import annotations

from typing import Any

import pytest
from wall_edge_bridge.kinds.damiao import KIND, DamiaoJoint, DamiaoSettings

from tests.unit.bridge.damiao.damiao_rig import JOINTS
from wall_edge.config_loader import Invalid


def joint(**keys: Any) -> DamiaoJoint:
    return DamiaoJoint(**{"name": "j", "id": 1, "lower": -1.0, "upper": 1.0, "max_velocity": 1.0, **keys})


@pytest.mark.parametrize(
    "keys",
    [
        {"id": 0},
        {"id": 16},
        {"kp": 501.0},
        {"kd": 5.1},
        {"kd": 0.0},
        {"feedback_id": 1},
        {"feedback_id": 0x7FF},
    ],
)
def test_values_that_cannot_be_are_refused(keys: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        joint(**keys)


def test_motors_answer_on_their_id_and_16_where_nothing_else_is_said() -> None:
    assert joint(id=5).reply_id == 0x15
    assert joint(id=5, feedback_id=0).reply_id == 0


def test_the_usb_bridge_is_a_serial_port_without_can_fd() -> None:
    settings = DamiaoSettings(interface="damiao-usb", channel="/dev/ttyACM0", on_loss="recover")
    port = settings.serial_port
    assert port is not None
    assert (port.port, port.baudrate, port.on_loss) == ("/dev/ttyACM0", 921_600, "recover")
    assert DamiaoSettings(channel="can0").serial_port is None
    with pytest.raises(Invalid, match="no CAN FD"):
        DamiaoSettings(interface="damiao-usb", data_bitrate=5_000_000)


@pytest.mark.parametrize(
    ("settings", "ceiling"),
    [
        (DamiaoSettings(), 529),
        (DamiaoSettings(data_bitrate=5_000_000), 1258),
        (DamiaoSettings(interface="damiao-usb"), 439),
    ],
)
def test_ceilings(settings: DamiaoSettings, ceiling: int) -> None:
    seven = [joint(name=f"j{i}", id=i) for i in range(1, 8)]
    assert round(1e9 / KIND.cycle_ns(settings, seven)) == ceiling
    assert 3 * KIND.cycle_ns(settings, seven) == pytest.approx(7 * KIND.cycle_ns(settings, JOINTS), abs=10)
