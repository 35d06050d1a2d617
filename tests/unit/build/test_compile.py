"""Compiling by names, against a double of TensorRT as 10.3, 11 and RTX have them; nothing is built."""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from wall_edge_engines.build.compile import Job, compile_graph
from wall_edge_engines.build.compilers import ahead_of_time, network_flags
from wall_edge_engines.build.profiles import Profile

from wall_edge.bundle import TensorSpec
from wall_edge.errors import EngineError

STREAMS_OF_ITS_OWN = 7
PLAN = b"an engine"


class Flag103(enum.IntEnum):
    STRONGLY_TYPED = 1


class Flag11(enum.IntEnum):
    STRONGLY_TYPED = 0


class Severity(enum.IntEnum):
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class Config:
    """Only what was configured; RTX's configuration has compute capabilities too."""

    def __init__(self, test: Tensorrt) -> None:
        self.test = test
        self.max_aux_streams, self.profiling_verbosity = STREAMS_OF_ITS_OWN, "LAYER_NAMES_ONLY"
        self.profiles: list[dict[str, Any]] = []
        self.cache: bytes | None = None
        if test.has_monitor:
            self.progress_monitor: Any = None

    def add_optimization_profile(self, profile: dict[str, Any]) -> int:
        self.profiles.append(profile)
        return -1 if self.test.refuses_profiles else len(self.profiles) - 1

    def create_timing_cache(self, content: bytes) -> Any:
        return SimpleNamespace(content=content, serialize=lambda: content + b"+this build")

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        assert ignore_mismatch is False, "timings of another GPU would be taken for this one's"
        if cache.content.startswith(b"other GPU"):
            return False
        self.cache = cache
        return True

    def get_timing_cache(self) -> Any:
        return self.cache


class RtxConfig(Config):
    num_compute_capabilities = 4
    flag = ""

    def set_flag(self, flag: str) -> None:
        self.flag = flag

    def set_compute_capability(self, capability: str, index: int) -> bool:
        assert self.num_compute_capabilities == 1, "the others would be built for too"
        self.capability, at = capability, index
        return at == 0


class Profiles(dict[str, Any]):
    def set_shape(self, name: str, least: Any, usual: Any, most: Any) -> None:
        self[name] = (least, usual, most)


class Tensorrt(ModuleType):
    """The module; ``config`` is what the last build was configured with."""

    class ILogger:
        pass

    class ProfilingVerbosity:
        DETAILED = "DETAILED"

    def __init__(self, flags: Any = Flag103, *, rtx: bool = False, monitor: bool = True) -> None:
        super().__init__("tensorrt")
        self.NetworkDefinitionCreationFlag = flags
        self.has_monitor, self.rtx = monitor, rtx
        self.refuses_profiles = self.refuses_graph = self.gives_nothing = False
        self.starts_without_a_device = False
        self.says: list[tuple[Severity, str]] = []
        self.network_flags = -1
        if monitor:
            self.IProgressMonitor = type("IProgressMonitor", (), {})
        if rtx:
            self.BuilderFlag = SimpleNamespace(REQUIRE_USER_ALLOCATION="no allocation in a run")
            self.ComputeCapability = SimpleNamespace(
                SM86="SM86", SM120="SM120", NONE="NONE", CURRENT="CURRENT"
            )

    def Builder(self, log: Any) -> Any:
        if self.starts_without_a_device:
            log.log(Severity.WARNING, "CUDA initialization failure with error: 35. Please check")
            raise TypeError("pybind11::init(): factory function returned nullptr")

        def network(flags: int) -> Any:
            self.network_flags = flags
            return SimpleNamespace()

        def config() -> Config:
            self.config = (RtxConfig if self.rtx else Config)(self)
            return self.config

        def build(_network: Any, config: Config) -> bytes | None:
            for severity, message in self.says:
                log.log(severity, message)
            monitor = getattr(config, "progress_monitor", None)
            if monitor is not None:
                monitor.phase_start("Building", None, 2)
                assert monitor.step_complete("Building", 0) is True, "False would cancel the build"
                monitor.phase_finish("Building")
            return None if self.gives_nothing else PLAN

        return SimpleNamespace(
            create_network=network,
            create_builder_config=config,
            create_optimization_profile=Profiles,
            build_serialized_network=build,
        )

    def OnnxParser(self, _network: Any, log: Any) -> Any:
        assert isinstance(log, Tensorrt.ILogger)
        error = SimpleNamespace(desc=lambda: "no importer for MatMulInteger")
        return SimpleNamespace(
            parse_from_file=lambda path: Path(path).is_file() and not self.refuses_graph,
            num_errors=1,
            get_error=lambda _: error,
        )


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Tensorrt]:
    def make(flags: Any = Flag103, *, rtx: bool = False, monitor: bool = True) -> Tensorrt:
        module = Tensorrt(flags, rtx=rtx, monitor=monitor)
        monkeypatch.setitem(sys.modules, "tensorrt_rtx" if rtx else "tensorrt", module)
        return module

    return make


Install = Callable[..., Tensorrt]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    (tmp_path / "expert.onnx").write_bytes(b"graph")
    return Job(
        compiler="tensorrt",
        onnx=str(tmp_path / "expert.onnx"),
        plan=str(tmp_path / "expert.plan"),
        inputs={"past_kv": TensorSpec(("past", 4), "bfloat16"), "time": TensorSpec((), "float32")},
        profiles=(Profile("step", {"past": (1, 2, 3)}),),
        sm=None,
        aux_streams=0,
        timing_cache=str(tmp_path / "orin.timings"),
    )


def quiet(_: str) -> None: ...


@pytest.mark.parametrize(
    ("flags", "number"), [(Flag103, 0b10), (Flag11, 0b1), (SimpleNamespace(), 0)], ids=["10.3", "11", "none"]
)
def test_networks_are_strongly_typed_by_name(install: Install, job: Job, flags: Any, number: int) -> None:
    module = install(flags)
    assert network_flags(module) == number
    compile_graph(job, quiet)
    assert module.network_flags == number


def test_what_every_engine_is_configured_with(install: Install, job: Job) -> None:
    module = install()
    compiled = compile_graph(job, quiet)
    config = module.config
    assert (config.max_aux_streams, config.profiling_verbosity) == (0, "DETAILED")
    assert config.profiles == [{"past_kv": ((1, 4), (2, 4), (3, 4)), "time": ((), (), ())}]
    assert not hasattr(config, "capability")
    assert Path(job.plan).read_bytes() == PLAN
    assert compiled.bytes == len(PLAN)


def test_a_graph_of_fixed_shapes_gets_no_profile(install: Install, job: Job) -> None:
    module = install()
    compile_graph(replace(job, profiles=(Profile("frames", {}),)), quiet)
    assert module.config.profiles == []


@pytest.mark.parametrize(
    ("before", "after"),
    [(None, b"+this build"), (b"timings", b"timings+this build"), (b"other GPU", b"+this build")],
)
def test_timings_are_kept(install: Install, job: Job, before: bytes | None, after: bytes) -> None:
    install()
    path = Path(str(job.timing_cache))
    if before is not None:
        path.write_bytes(before)
    compile_graph(job, quiet)
    assert path.read_bytes() == after


def test_ahead_of_time_for_one_compute_capability(install: Install, job: Job) -> None:
    module = install(rtx=True)
    assert ahead_of_time(module) == [86, 120]
    compile_graph(replace(job, compiler="tensorrt-rtx", sm=86, timing_cache=None), quiet)
    assert isinstance(module.config, RtxConfig)
    assert module.config.capability == "SM86"
    assert module.config.flag == "no allocation in a run"
    assert module.config.cache is None
    assert ahead_of_time(install()) == []


@pytest.mark.parametrize(
    ("monitor", "heard"),
    [(True, ["parsing", "Building 1/2", "writing"]), (False, ["parsing", "writing"])],
)
def test_progress_where_a_version_has_a_monitor(
    install: Install, job: Job, monitor: bool, heard: list[str]
) -> None:
    install(monitor=monitor)
    phases: list[str] = []
    compile_graph(job, phases.append)
    assert phases == heard


def refusal(job: Job) -> str:
    with pytest.raises(EngineError) as refused:
        compile_graph(job, quiet)
    assert not Path(job.plan).exists()
    return str(refused.value)


def test_a_graph_that_the_parser_refuses(install: Install, job: Job) -> None:
    install().refuses_graph = True
    assert refusal(job) == "the parser refused expert.onnx: no importer for MatMulInteger"


def test_no_engine_with_the_compilers_own_errors(install: Install, job: Job) -> None:
    module = install()
    module.gives_nothing = True
    assert refusal(job) == "the compiler gave no engine of expert.onnx: no reason was given"
    module.says = [(Severity.WARNING, "slow"), (Severity.ERROR, "first"), (Severity.INTERNAL_ERROR, "second")]
    assert refusal(job) == "the compiler gave no engine of expert.onnx: first; second"


def test_a_missing_driver_is_an_error_on_a_device_only(install: Install, job: Job) -> None:
    driver = "[checkMacros.cpp::catchCudaError::250] Error Code 1: Cuda Runtime (x (cudaError 35: old))"
    module = install()
    module.gives_nothing, module.says = True, [(Severity.ERROR, driver)]
    assert "cudaError 35" in refusal(job)
    module = install(rtx=True)
    module.gives_nothing, module.says = True, [(Severity.ERROR, driver), (Severity.ERROR, f"real {driver}")]
    ahead = replace(job, compiler="tensorrt-rtx", sm=86, timing_cache=None)
    assert refusal(ahead) == "the compiler gave no engine of expert.onnx: real"


def test_a_compiler_that_does_not_start(install: Install, job: Job) -> None:
    install().starts_without_a_device = True
    reason = "CUDA initialization failure with error: 35. Please check"
    assert refusal(job) == f"the compiler did not start for expert.onnx: {reason}"


def test_a_profile_that_is_refused(install: Install, job: Job) -> None:
    install().refuses_profiles = True
    assert refusal(job).startswith("the profile 'step' was refused; expected {'past': (1, 2, 3)}")


@pytest.mark.parametrize(("layers", "expected"), [(True, ("Name: a", "Name: b")), (False, ())])
def test_layers_when_asked_for(install: Install, job: Job, layers: bool, expected: tuple[str, ...]) -> None:
    message = "Layers:\nName: a\nName: b\n\nI/O Tensors:\n Name: time, IOMode: Input"
    install().says = [(Severity.VERBOSE, "Tactic: 1"), (Severity.VERBOSE, message)]
    assert compile_graph(replace(job, layers=layers), quiet).layers == expected
