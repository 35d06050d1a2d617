"""Which compiler builds for which device: the GPU at hand, or ahead of time for a target without one."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from wall_edge.errors import ConfigError, EngineError
from wall_edge_engines.build.compilers import COMPILERS
from wall_edge_engines.build.graph_process import compiler_facts
from wall_edge_engines.build.targets.target import NO_TARGET, Target, named_target, target_of, targets
from wall_edge_engines.cuda.driver import DeviceFacts, device_at_hand

_RTX = "tensorrt-rtx"


@dataclass(frozen=True)
class Selection:
    """What to build with and for; ``device`` is none ahead of time."""

    compiler: str
    version: str
    target: Target
    device: DeviceFacts | None

    @property
    def memory_bytes(self) -> int | None:
        """Of the device that runs the engines; none for a target that stands for no device."""
        return self.target.memory_bytes if self.device is None else self.device.memory_bytes

    @property
    def sm(self) -> int:
        """Of the GPU that the engines are for."""
        sm = self.target.sm if self.device is None else self.device.sm
        assert sm is not None  # select refuses processors
        return sm


def select(target: str | None, compiler: str | None) -> Selection:
    """Raises :class:`ConfigError` or :class:`EngineError` for what cannot be, with what can."""
    if compiler is not None and compiler not in COMPILERS:
        raise ConfigError(f"compiler {compiler!r}", expected=" or ".join(COMPILERS))
    if target is None:
        device = _device_or_targets()
        compiler = compiler or _installed()
        return Selection(compiler, compiler_facts(compiler)[0], target_of(device), device)
    wish = named_target(target)
    if wish.sm is None:
        raise ConfigError(
            f"target {wish.name} is a processor",
            expected="a GPU",
            fix="a processor builds no engines: use policy.engine: onnxruntime",
        )
    if compiler is None:
        compiler = _RTX if wish.memory_gib is None else _installed()
    if compiler != _RTX:
        return _on_its_device(wish, compiler, "builds only for the GPU at hand")
    version, ahead = compiler_facts(_RTX)
    if wish.sm in ahead:
        return Selection(_RTX, version, wish, None)
    offer = ", ".join(f"SM{sm}" for sm in ahead)
    return _on_its_device(wish, _RTX, f"builds ahead of time only for {offer}", version)


def _on_its_device(wish: Target, compiler: str, limits: str, version: str = "") -> Selection:
    """The named target, if it is the GPU at hand."""
    try:
        device = device_at_hand()
        here = _difference(wish, device)
    except EngineError as problem:
        here = str(problem).partition("; ")[0]  # the rest is what to do, were it meant to be here
    if here:
        elsewhere = f"run 'wall-edge build BUNDLE' on the {wish.title}"
        raise EngineError(
            f"target {wish.name} is SM{wish.sm}: {compiler} {limits}",
            expected=f"that GPU at hand ({here})",
            fix=elsewhere if wish.memory_gib is not None else f"use --compiler {_RTX}",
        )
    return Selection(compiler, version or compiler_facts(compiler)[0], wish, device)


def _difference(wish: Target, device: DeviceFacts) -> str:
    """How the GPU at hand is another than a target; empty where it may be the same."""
    actual = target_of(device)
    if device.sm == wish.sm and actual.name in (wish.name, NO_TARGET):
        return ""
    name = "" if actual.name == NO_TARGET else f", {actual.name}"
    return f"it is {device.name}, SM{device.sm}{name}"


def _device_or_targets() -> DeviceFacts:
    try:
        return device_at_hand()
    except EngineError as problem:
        ahead = [name for name, target in targets().items() if target.memory_gib is None]
        raise EngineError(
            str(problem),
            expected=f"a GPU, or what can be built without: --target {' or '.join(ahead)} --compiler {_RTX}",
            fix=f"for {', '.join(name for name in targets() if name not in ahead)} run it on the device",
        ) from None


def _installed() -> str:
    """The first compiler whose module is here: JetPack's own before TensorRT-RTX."""
    for name, entry in COMPILERS.items():
        if find_spec(entry.module) is not None:
            return name
    raise EngineError(
        "no compiler is installed",
        expected=" or ".join(entry.module for entry in COMPILERS.values()),
        fix="; ".join(f"{name}: {entry.fix}" for name, entry in COMPILERS.items()),
    )
