"""The devices that engines are built for, as files and as the GPU at hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from wall_edge_engines.build.targets import target as module
from wall_edge_engines.build.targets.target import (
    Ceiling,
    Target,
    element_types_of,
    named_target,
    target_folder,
    target_of,
    targets,
)
from wall_edge_engines.cuda.driver import DeviceFacts
from wall_edge_export.quantize.precision import recipe_names

from wall_edge.config_loader import from_mapping
from wall_edge.errors import ConfigError

NAMES = {"orin-agx-64", "orin-agx-32", "orin-nx-16", "orin-nano-8", "thor", "h100", "sm86-check"}
GIB = 1 << 30


def test_every_target_that_was_promised_is_there() -> None:
    assert set(targets()) == NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_targets_types_are_those_of_its_compute_capability(name: str) -> None:
    target = named_target(name)
    assert target.element_types == element_types_of(target.sm)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_recommended_recipes_come_with_wall_edge(name: str) -> None:
    assert set(named_target(name).recipes) <= set(recipe_names())


def test_an_orin_has_no_fp8_and_thor_has() -> None:
    assert not {"fp8", "nvfp4"} & set(named_target("orin-agx-64").element_types)
    assert {"fp8", "nvfp4"} <= set(named_target("thor").element_types)


def test_turing_has_no_bf16() -> None:
    assert element_types_of(75) == ("fp32", "fp16")


def test_a_name_that_no_target_has_is_refused_with_all_names() -> None:
    with pytest.raises(
        ConfigError, match=r"target 'orin'; expected one of h100, orin-agx-32, .*thor, or a target's"
    ):
        named_target("orin")


def test_a_file_is_a_target_of_its_own_name(tmp_path: Path) -> None:
    path = tmp_path / "my robot.yaml"
    path.write_text((target_folder() / "orin-nx-16.yaml").read_text())
    assert named_target(str(path)) == replace(named_target("orin-nx-16"), name="my robot")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        ("- a list", "no target; expected a mapping"),
        ("title: x", "sm is missing"),
        ("sm: !!python/object/apply:os.system [ls]", "malformed YAML"),
    ],
)
def test_a_file_that_is_no_target_is_refused_by_its_path(
    content: str | None, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=rf"mine\.yaml: .*{words}"):
        named_target(str(path))


def test_a_processor_has_no_compute_capability() -> None:
    processor = from_mapping(Target, data(sm=None), "x.yaml")
    assert (processor.kind, named_target("thor").kind) == ("a processor", "SM110")


@pytest.mark.parametrize("name", sorted(NAMES))
def test_what_was_measured_is_below_the_data_sheet(name: str) -> None:
    target = named_target(name)
    for ceiling in (target.bandwidth_gb_s, target.fp32_tflops, target.bf16_tflops, target.int8_tops):
        if ceiling.measured and ceiling.theoretical is not None:
            assert ceiling.measured[1] <= ceiling.theoretical


@pytest.mark.parametrize("name", ["orin-agx-64", "orin-agx-32", "orin-nx-16", "orin-nano-8"])
def test_an_orins_ceilings_follow_from_its_sms_and_one_clock(name: str) -> None:
    """128 cores, 2048 bf16 and 4096 int8 operations an SM and a clock."""
    target = named_target(name)
    assert target.multiprocessors is not None
    clocks = [
        ceiling.theoretical * 1e6 / (target.multiprocessors * each)
        for ceiling, each in (
            (target.fp32_tflops, 256),
            (target.bf16_tflops, 2048),
            (target.int8_tops, 4096),
        )
        if ceiling.theoretical is not None
    ]
    assert len(clocks) == 3
    assert max(clocks) < 1.03 * min(clocks)


def gpu(sm: int, gib: float) -> DeviceFacts:
    return DeviceFacts("some GPU", sm, int(gib * GIB), integrated=True, driver="12.6")


@pytest.mark.parametrize(
    ("sm", "gib", "name"),
    [
        (87, 61.4, "orin-agx-64"),
        (87, 29.8, "orin-agx-32"),
        (87, 15.3, "orin-nx-16"),
        (87, 7.4, "orin-nano-8"),
        (87, 100, "gpu"),
        (110, 122.8, "thor"),
        (90, 79.2, "h100"),
        (90, 139.8, "gpu"),
        (86, 24, "gpu"),
    ],
)
def test_a_gpu_is_the_target_of_its_capability_and_memory(sm: int, gib: float, name: str) -> None:
    assert target_of(gpu(sm, gib)).name == name


def test_a_gpu_that_no_target_describes_is_one_by_itself() -> None:
    target = target_of(gpu(75, 16))
    assert (target.title, target.sm, target.memory_gib) == ("some GPU", 75, 16)
    assert target.recipes == ("fp32",)
    assert target.bandwidth_gb_s.theoretical is None


def data(**changes: Any) -> dict[str, Any]:
    text = (target_folder() / "orin-agx-64.yaml").read_text()
    return {"name": "x", **yaml.safe_load(text), **changes}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sm": 8}, "sm is 8; expected 50 to 200"),
        ({"memory_gib": 0}, "memory_gib is 0"),
        ({"element_types": ["fp32", "fp64"]}, r"element_types\[1\] is 'fp64'; expected fp32 or"),
        ({"element_types": []}, "element_types"),
        ({"recipes": []}, "recipes"),
        ({"tops": 275}, "tops is not a known key"),
        ({"title": "a\0b"}, "title"),
    ],
)
def test_a_target_that_cannot_be_meant_is_refused_by_key(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        from_mapping(Target, data(**changes), "x.yaml")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"measured": (168.0, 92.0)}, "measured"),
        ({"measured": (92.0,)}, "measured"),
        ({"measured": (0.0, 92.0)}, r"measured\[0\] is 0.0; expected 1e-06 to 1000000"),
        ({"theoretical": 0.0}, "theoretical"),
        ({"theoretical_source": ""}, "theoretical_source .*where the figure comes from"),
        ({"measured_source": ""}, "measured_source"),
    ],
)
def test_a_ceiling_has_a_source_and_rises(changes: dict[str, Any], words: str) -> None:
    ceiling = Ceiling(204.8, "data sheet", (92.0, 168.0), "peers")
    with pytest.raises(ConfigError, match=words):
        replace(ceiling, **changes)


def test_targets_lie_inside_of_the_package_in_a_wheel(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "targets").mkdir()
    monkeypatch.setattr(module, "__file__", str(tmp_path / "build" / "targets" / "target.py"))
    assert module.target_folder() == tmp_path / "targets"
