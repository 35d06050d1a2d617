"""Rails: names, watts, and monitors that say nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from wall_edge.board.facts import Tree
from wall_edge.board.power import HWMON, rails


def monitor(root: Path, number: int, chip: str, **files: str) -> Path:
    folder = root / HWMON.lstrip("/") / f"hwmon{number}"
    folder.mkdir(parents=True)
    for name, text in {"name": chip, **files}.items():
        (folder / name).write_text(text + "\n")
    return folder


def test_a_channel_is_voltage_times_current(tmp_path: Path) -> None:
    monitor(tmp_path, 3, "ina3221", in1_label="VDD_GPU_SOC", in1_input="19032", curr1_input="232")
    (rail,) = rails(Tree(tmp_path))
    assert rail.label == "VDD_GPU_SOC"
    assert rail.watts() == pytest.approx(19.032 * 0.232)


def test_rails_come_by_label_from_all_monitors_and_from_nothing_else(tmp_path: Path) -> None:
    monitor(tmp_path, 0, "ina3221", in2_label="VDD_IN", in2_input="5000", curr2_input="1000")
    monitor(tmp_path, 1, "tmp451", in1_label="TEMP", in1_input="5000", curr1_input="1000")
    monitor(tmp_path, 2, "ina3221", in1_label="CPU", in1_input="1", curr1_input="1")
    monitor(tmp_path, 4, "ina238", power1_input="23500000")
    assert [(rail.label, rail.watts()) for rail in rails(Tree(tmp_path))] == [
        ("CPU", 1e-6),
        ("VDD_IN", 5.0),
        ("VIN", 23.5),
    ]


def test_what_is_not_wired_is_no_rail(tmp_path: Path) -> None:
    files = {"in1_label": "NC", "in1_input": "0", "curr1_input": "0"}
    total = {"in7_label": "sum of shunt voltages", "in7_input": "3", "curr7_input": "1"}
    monitor(tmp_path, 0, "ina3221", **files, **total, in2_label="VDD_SOC", in2_input="1")
    assert rails(Tree(tmp_path)) == ()
    assert rails(Tree(tmp_path / "nowhere")) == ()


def test_a_driver_that_goes_away_or_says_nonsense_has_no_watts(tmp_path: Path) -> None:
    folder = monitor(tmp_path, 0, "ina3221", in1_label="VDD_IN", in1_input="5000", curr1_input="1000")
    (rail,) = rails(Tree(tmp_path))
    (folder / "curr1_input").write_text("nonsense")
    assert rail.watts() is None
    (folder / "curr1_input").unlink()
    assert rail.watts() is None
