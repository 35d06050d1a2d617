"""The loading side: engines of another bundle, version, GPU or other settings are refused by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from wall_edge_engines.build.builder import Builder
from wall_edge_engines.build.store import EngineStore, Runtime
from wall_edge_engines.build.targets.selection import Selection
from wall_edge_engines.build.targets.target import named_target
from wall_edge_engines.cuda.driver import DeviceFacts

from tests.unit.build.conftest import ORIN, Compilers
from wall_edge.bundle import Bundle, file_digest
from wall_edge.errors import EngineError

RUNTIME = Runtime("tensorrt", "10.3.0", ORIN)
pytestmark = pytest.mark.usefixtures("compilers")
ON_ORIN = Selection("tensorrt", "10.3.0", named_target("orin-nx-16"), ORIN)
AHEAD = Selection("tensorrt-rtx", "1.7.1", named_target("sm86-check"), None)
RTX_3090 = DeviceFacts("NVIDIA GeForce RTX 3090", 86, 24 << 30, integrated=False, driver="13.0")


@pytest.fixture
def bundle(copy_bundle: Callable[[], Bundle]) -> Bundle:
    return copy_bundle()


@pytest.fixture
def folder(bundle: Bundle, compilers: Compilers) -> Path:
    """Where the bundle's engines for the Orin are."""
    compilers.behave()
    builder = Builder(bundle, ON_ORIN)
    assert all(result.ok for result in builder.build(lambda _: None).values())
    return builder.folder


def refusal(bundle: Bundle, runtime: Runtime = RUNTIME) -> str:
    with pytest.raises(EngineError) as refused:
        EngineStore.open(bundle, runtime)
    text = str(refused.value)
    assert "\n" not in text
    assert text.endswith(f"wall-edge build {bundle.folder} --compiler {runtime.compiler}")
    return text


def test_every_graph_has_its_plan(bundle: Bundle, folder: Path) -> None:
    store = EngineStore.open(bundle, RUNTIME)
    assert store.folder == folder
    assert set(store.plans) == set(bundle.manifest.graphs)
    for graph, plan in store.plans.items():
        assert plan.path == folder / f"{graph}.plan"
        assert plan.bytes == plan.path.stat().st_size
    assert store.record.device_memory_bytes == ORIN.memory_bytes


def test_without_engines(bundle: Bundle) -> None:
    assert "bundle.engines: no engines; expected engines of this bundle" in refusal(bundle)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("runtime", "words"),
    [
        (replace(RUNTIME, version="10.16.2"), "engines by tensorrt 10.3.0, not tensorrt 10.16.2"),
        (replace(RUNTIME, compiler="tensorrt-rtx"), "engines by tensorrt 10.3.0, not tensorrt-rtx 10.3.0"),
        (replace(RUNTIME, device=replace(ORIN, name="Orin AGX")), "engines for GPU Orin, not Orin AGX"),
        (replace(RUNTIME, device=replace(ORIN, sm=110)), "engines for SM 87, not 110"),
        (
            replace(RUNTIME, version="1", device=replace(ORIN, sm=9)),
            "not tensorrt 1, engines for SM 87, not 9",
        ),
    ],
)
def test_whatever_differs_is_named(bundle: Bundle, runtime: Runtime, words: str) -> None:
    assert words in refusal(bundle, runtime)


@pytest.mark.usefixtures("folder")
def test_engines_of_the_bundle_that_was_here_before(bundle: Bundle) -> None:
    path = bundle.folder / "manifest.yaml"
    path.write_text(path.read_text() + "\n")
    (bundle.folder / "manifest.sha256").write_text(f"{file_digest(path)}  manifest.yaml\n")
    changed = Bundle(bundle.folder)
    assert f"engines of bundle {bundle.digest[:12]}, not {changed.digest[:12]}" in refusal(changed)


def test_engines_of_other_settings(bundle: Bundle, folder: Path) -> None:
    path = folder / "engines.yaml"
    record = yaml.safe_load(path.read_text())
    record["settings"]["aux_streams"] = 2
    path.write_text(yaml.safe_dump(record))
    assert "engines of other settings (prompt lengths or streams)" in refusal(bundle)


def test_a_graph_that_was_not_built(bundle: Bundle, compilers: Compilers) -> None:
    compilers.behave(expert="out of luck")
    Builder(bundle, ON_ORIN).build(lambda _: None)
    assert "no engine of graph expert" in refusal(bundle)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "expert.plan: damaged; expected SHA-256"),
        (lambda path: path.write_bytes(b"X" + path.read_bytes()[1:]), "expert.plan: damaged"),
        (lambda path: path.unlink(), "expert.plan: No such file or directory"),
    ],
)
def test_a_damaged_plan(bundle: Bundle, folder: Path, harm: Callable[[Path], object], words: str) -> None:
    harm(folder / "expert.plan")
    assert words in refusal(bundle)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda r: r["key"].update(sm=0), "key.sm is 0"),
        (lambda r: r["key"].update(bundle="x"), "key.bundle is 'x'; expected a SHA-256"),
        (lambda r: r["graphs"]["expert"].update(file="../x.plan"), "graphs.expert.file"),
        (lambda r: r["graphs"]["expert"].update(sha256="0"), "graphs.expert.sha256"),
        (lambda r: r.pop("settings"), "settings is missing"),
        (lambda r: r["settings"]["profiles"]["expert"][0]["axes"].update(past=[3, 2, 1]), "axes.past"),
    ],
)
def test_a_record_that_cannot_be_meant(
    bundle: Bundle, folder: Path, edit: Callable[[dict[str, object]], object], words: str
) -> None:
    path = folder / "engines.yaml"
    record = yaml.safe_load(path.read_text())
    edit(record)
    path.write_text(yaml.safe_dump(record))
    assert words in refusal(bundle)


@pytest.mark.parametrize("harm", ["key: {", "version: 9"])
def test_a_damaged_record_of_others_hides_no_engines(bundle: Bundle, folder: Path, harm: str) -> None:
    other = folder.with_name("a-later-version")
    other.mkdir()
    (other / "engines.yaml").write_text(harm)
    assert EngineStore.open(bundle, RUNTIME).folder == folder
    assert "engines for SM 87, not 110" in refusal(bundle, replace(RUNTIME, device=replace(ORIN, sm=110)))


def test_engines_built_ahead_of_time_run_on_their_compute_capability(bundle: Bundle) -> None:
    Builder(bundle, AHEAD).build(lambda _: None)
    runtime = Runtime("tensorrt-rtx", "1.7.1", RTX_3090)
    assert EngineStore.open(bundle, runtime).record.key.gpu is None
    other = replace(runtime, device=replace(RTX_3090, sm=89))
    assert "engines for SM 86, not 89" in refusal(bundle, other)


def test_of_several_the_right_ones_are_taken_and_the_nearest_named(bundle: Bundle, folder: Path) -> None:
    Builder(bundle, AHEAD).build(lambda _: None)
    assert EngineStore.open(bundle, RUNTIME).folder == folder
    text = refusal(bundle, replace(RUNTIME, version="10.16.2"))
    assert "engines by tensorrt 10.3.0, not tensorrt 10.16.2" in text
    assert "SM 86" not in text
