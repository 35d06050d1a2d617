"""Our ODrive frames against ODrive's public DBC files, read by cantools.

The files come with odrive-can (MIT), which took them from ODrive's documentation.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from wall_edge_bridge.kinds.odrive import KIND, ODriveJoint, ODriveSettings, codec
from wall_edge_bridge.kinds.odrive.codec import Command
from wall_edge_bridge.kinds.odrive.errors import ERRORS_05, ERRORS_06, State
from wall_edge_bridge.transport import Frame

pytest.importorskip("cantools")
get_dbc = pytest.importorskip("odrive_can.utils").get_dbc


@pytest.fixture(scope="module")
def dbc() -> Any:
    return get_dbc("odrive-cansimple-0.6.10")


@pytest.fixture(scope="module")
def old_dbc() -> Any:
    return get_dbc("odrive-cansimple-0.5.6")


def bits(value: float) -> int:
    return struct.unpack("<I", struct.pack("<f", value))[0]


@pytest.mark.parametrize(
    ("made", "name", "signals"),
    [
        (codec.set_state(3, 8), "Set_Axis_State", {"Axis_Requested_State": "CLOSED_LOOP_CONTROL"}),
        (codec.set_state(3, 1), "Set_Axis_State", {"Axis_Requested_State": "IDLE"}),
        (
            codec.controller_mode(3),
            "Set_Controller_Mode",
            {"Control_Mode": "POSITION_CONTROL", "Input_Mode": "PASSTHROUGH"},
        ),
        (
            codec.input_pos(3, 1.5, codec.saturated(0.25, 0.001), codec.saturated(-0.5, 0.001)),
            "Set_Input_Pos",
            {"Input_Pos": 1.5, "Vel_FF": 0.25, "Torque_FF": -0.5},
        ),
        (codec.limits(3, 2.5, 10.0), "Set_Limits", {"Velocity_Limit": 2.5, "Current_Limit": 10.0}),
        (codec.clear_errors(3), "Clear_Errors", {"Identify": 0}),
        (codec.reboot(3, 1), "Reboot", {"Action": 1}),
    ],
)
def test_commands_are_those_of_the_dbc(dbc: Any, made: Frame, name: str, signals: dict[str, Any]) -> None:
    message = dbc.get_message_by_name(f"Axis3_{name}")
    assert made == Frame(message.frame_id, message.encode(signals))


def test_setpoints_of_a_drive_are_decoded_as_what_they_mean(dbc: Any) -> None:
    rng = np.random.default_rng(5)
    message = dbc.get_message_by_name("Axis3_Set_Input_Pos")
    for _ in range(200):
        turns, velocity, torque = rng.uniform(-30, 30, 3)
        made = codec.input_pos(3, turns, codec.saturated(velocity, 0.001), codec.saturated(torque, 0.001))
        decoded = message.decode(made.data)
        assert decoded["Input_Pos"] == pytest.approx(turns, rel=1e-6)
        assert (decoded["Vel_FF"], decoded["Torque_FF"]) == pytest.approx((velocity, torque), abs=6e-4)


def test_parameter_access_is_that_of_the_dbc(dbc: Any) -> None:
    write = dbc.get_message_by_name("Axis3_RxSdo")
    decoded = write.decode(codec.sdo_write(3, 391, "f", 0.1).data)
    assert write.frame_id == codec.sdo_write(3, 391, "f", 0.1).id
    assert (str(decoded["Opcode"]), decoded["Endpoint_ID"], decoded["Value"]) == ("WRITE", 391, bits(0.1))
    reply = dbc.get_message_by_name("Axis3_TxSdo")
    data = reply.encode({"Reserved0": 0, "Endpoint_ID": 391, "Reserved1": 0, "Value": bits(0.25)})
    assert codec.parse_sdo(data, "f") == (391, 0.25)
    address = dbc.get_message_by_name("Axis3_Address").decode(codec.address(9, 0x385500000003).data + b"\0")
    assert (address["Node_ID"], address["Serial_Number"]) == (9, 0x385500000003)


def test_error_names_are_those_of_the_dbcs(dbc: Any, old_dbc: Any) -> None:
    for file, table in ((dbc, ERRORS_06), (old_dbc, ERRORS_05)):
        heartbeat = file.get_message_by_name("Axis0_Heartbeat")
        choices = heartbeat.get_signal_by_name("Axis_Error").choices
        assert {bit: fault.name for bit, fault in table.items()} == {
            bit: str(name) for bit, name in choices.items() if bit
        }


def test_heartbeats_of_both_files_are_parsed(dbc: Any, old_dbc: Any) -> None:
    new = dbc.get_message_by_name("Axis3_Heartbeat").encode(
        {
            "Axis_Error": "SPINOUT_DETECTED",
            "Axis_State": "IDLE",
            "Procedure_Result": "DISARMED",
            "Trajectory_Done_Flag": 1,
        }
    )
    parsed = codec.parse_heartbeat(new)
    assert (parsed.state, [fault.name for fault in parsed.faults]) == (State.IDLE, ["SPINOUT_DETECTED"])
    flags = {f"{part}_Error_Flag": 0 for part in ("Motor", "Encoder", "Controller")}
    for part in ("Motor", "Encoder", "Controller"):
        data = old_dbc.get_message_by_name("Axis0_Heartbeat").encode(
            flags
            | {
                "Axis_Error": 0,
                "Axis_State": "CLOSED_LOOP_CONTROL",
                f"{part}_Error_Flag": 1,
                "Trajectory_Done_Flag": 1,
            }
        )
        parsed = codec.parse_heartbeat(data, old=True)
        assert (parsed.state, [f.name for f in parsed.faults]) == (8, [f"{part.upper()}_ERROR"])


def test_all_that_the_twin_says_is_in_the_dbc(dbc: Any) -> None:
    joint = ODriveJoint("j", id=3, lower=-1, upper=1, max_velocity=1.0)
    twin = KIND.make_twin(ODriveSettings(), [joint], np.array([0.5]))
    said = {}
    for command in (*Command, Command.ADDRESS):
        for frame in twin.handle(codec.request(3, command), 1_000_000_000):
            message = dbc.get_message_by_frame_id(frame.id)
            data = frame.data + bytes(message.length - len(frame.data))
            said[message.name.removeprefix("Axis3_")] = message.decode(data)
    assert said["Get_Encoder_Estimates"]["Pos_Estimate"] == pytest.approx(0.5 / (2 * np.pi))
    assert str(said["Heartbeat"]["Axis_State"]) == "IDLE"
    assert (said["Get_Version"]["Fw_Version_Minor"], said["Get_Version"]["Fw_Version_Revision"]) == (6, 10)
    assert said["Get_Bus_Voltage_Current"]["Bus_Voltage"] == 24.0
    assert said["Get_Temperature"]["Motor_Temperature"] == 31.0
    assert said["Get_Torques"]["Torque_Estimate"] == 0.0
