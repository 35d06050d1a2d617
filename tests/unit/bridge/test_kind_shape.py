"""Kinds are packages of one shape, light until something of them is used."""

from __future__ import annotations

import dataclasses
import importlib
import subprocess
import sys
from inspect import signature
from types import SimpleNamespace

import pytest
from wall_edge_bridge.drives import Drive
from wall_edge_bridge.kinds import KINDS, Kind, kind_named, registry
from wall_edge_bridge.sim import Twin

from wall_edge.errors import ConfigError

FUNCTIONS = {
    "drive.open_drive": ["settings", "joints", "wire", "clock", "start_slack_rad"],
    "twin.make_twin": ["settings", "joints", "positions", "timed"],
    "timing.cycle_ns": ["settings", "joints"],
    "scan.scan": ["settings", "wire", "ids", "clock"],
    "scan.set_id": ["settings", "wire", "old", "new", "clock"],
}


def kind_or_skip(name: str) -> Kind:
    try:
        return kind_named(name)
    except ConfigError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", KINDS)
def test_its_functions_are_where_kind_looks_for_them(name: str) -> None:
    kind = kind_or_skip(name)
    assert (kind.name, kind.package) == (name, KINDS[name])
    assert kind.settings.__module__ == kind.joint.__module__ == f"{kind.package}.settings"
    for place, parameters in FUNCTIONS.items():
        module, function = place.split(".")
        missing = not kind.sets_id and function == "set_id"
        inside = importlib.import_module(f"{kind.package}.{module}")
        assert hasattr(inside, function) != missing, place
        if not missing:
            assert list(signature(getattr(inside, function)).parameters) == parameters, place
    assert (kind.set_id is None) == (not kind.sets_id)


@pytest.mark.parametrize("name", KINDS)
def test_its_own_keys_have_defaults_and_its_classes_are_what_the_contract_says(name: str) -> None:
    kind = kind_or_skip(name)
    settings = kind.settings(kind=name)
    joint = kind.joint("elbow", kind.ids[1], -1.0, 1.0, 1.0)
    assert (settings.kind, str(joint)) == (name, f"elbow (id {kind.ids[1]})")
    assert isinstance(kind.make_twin(settings, [joint], [0.0]), Twin)
    assert issubclass(type(kind.open_drive(settings, [joint], None)), Drive)  # type: ignore[arg-type]
    assert kind.cycle_ns(settings, [joint]) > 0


def test_what_robot_yaml_says_is_read_without_codecs_drives_or_twins() -> None:
    """Every process reads the configuration; only the servo process needs the rest."""
    heavy = [f"{package}.{module}" for package in KINDS.values() for module in ("drive", "twin", "scan")]
    code = f"""
import sys
from wall_edge_bridge.kinds import KINDS, kind_named
for package in KINDS.values():
    __import__(package)
print([name for name in {heavy} if name in sys.modules], "moteus" in sys.modules, "canopen" in sys.modules)
"""
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert said.strip() == "[] False False"


def test_a_library_that_is_not_installed_is_advised(monkeypatch: pytest.MonkeyPatch) -> None:
    other = dataclasses.replace(kind_named("feetech"), name="other", needs=("json", "no_such_library"))
    monkeypatch.setitem(registry.KINDS, "other", "other_kind")
    monkeypatch.setitem(sys.modules, "other_kind", SimpleNamespace(KIND=other))
    with pytest.raises(
        ConfigError, match=r"other needs no_such_library; run `pip install 'wall-edge\[other\]'`"
    ):
        kind_named("other")
